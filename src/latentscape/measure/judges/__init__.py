"""Our own classifiers, in whose features samples are compared with real data; re-made by ``benchmark.judges``."""

from latentscape.measure.judges.judge import Judge, JudgeName, judge_of

__all__ = ["Judge", "JudgeName", "judge_of"]

"""After training: the latent map, the figures, the verdict, sounds to hear, and the page that shows them."""

from dataclasses import dataclass
from pathlib import Path

from latentscape.core.storage import save_json
from latentscape.data.sounds import SoundExamples
from latentscape.experiment.evaluate import Figures, measure, moved
from latentscape.experiment.run import Prepared, Say, open_run
from latentscape.experiment.second_stage import forget_stages
from latentscape.experiment.showcase import chart_of, compose, image_sections, sound_sections
from latentscape.instrument.instrument import Instrument
from latentscape.measure.latent import Examination, examine
from latentscape.report.page import write_page
from latentscape.train.loop import Outcome
from latentscape.train.verdict import Verdict, judge

FIGURE_CLIPS = 24
ITEMS = 10_000


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        run: its folder.
        outcome: how training ended.
        verdict: in plain words; ``None`` for an interrupted run.
        figures: on the test part.
    """

    run: Path
    outcome: Outcome
    verdict: Verdict | None = None
    figures: Figures | None = None

    def lines(self) -> list[str]:
        """Return what the shell prints."""
        lines = [self.outcome.message]
        if self.figures is not None and self.verdict is not None:
            lines += ["", *self.verdict.lines(), "", *self.figures.lines(), "", f"open {self.run / 'index.html'}"]
        return lines

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "run": str(self.run),
            "outcome": self.outcome.reason,
            "steps": self.outcome.step,
            "seconds": self.outcome.seconds,
            "verdict": None if self.verdict is None else self.verdict.lines(),
            "figures": None if self.figures is None else self.figures.to_json(),
        }


def finish(run: Path, outcome: Outcome, say: Say, device: str = "auto") -> Summary:
    """Map, measure and judge a trained run, and write its sounds, pictures and page.

    Raises:
        LatentscapeError: the run is damaged, or could not be written to.
    """
    forget_stages(run)
    prepared = open_run(run, units=False)
    with prepared.examples as examples:
        say("measuring")
        instrument = Instrument.load(run, device)
        unseen = examine(instrument.model, moved(examples.held("test", 1024, ITEMS), instrument.device))
        verdict = judge_run(prepared, outcome, unseen)
        numbers = measure(instrument, examples, "test", train=examples, clips=FIGURE_CLIPS)
        figures = Figures(f"{run.name}, test part ({examples.count('test')} items):", numbers)
        save_json(run / "verdict.json", {"lines": verdict.lines(), "figures": figures.to_json()})
        say("drawing the map and the page")
        chart, test = chart_of(instrument, examples)
        chart.save(run)
        instrument = Instrument.load(run, device)
        if isinstance(examples, SoundExamples):
            sections = sound_sections(run, instrument, examples, chart, test)
        else:
            sections = image_sections(run, instrument, examples, chart, test)
        write_page(compose(run, prepared, outcome, verdict, numbers, unseen, sections), run / "index.html")
    return Summary(run, outcome, verdict, figures)


def judge_run(prepared: Prepared, outcome: Outcome, unseen: Examination) -> Verdict:
    """Return the verdict on a run from its curves and what its latents carry."""
    config = prepared.config
    settings = {
        "max_steps": outcome.settled.max_steps,
        "learning_rate": config.train.learning_rate,
        "beta": getattr(config.objective, "beta", None),
        "free_bits": getattr(config.objective, "free_bits", None),
        "augmented": not config.data.augment.still,
    }
    rates = None if unseen.dimension_rate is None else unseen.dimension_rate.tolist()
    steady = prepared.objective.steady
    return judge(outcome.history, monitor=steady, rates=rates, reason=outcome.reason, settings=settings)

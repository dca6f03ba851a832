"""ESC-10 by its five official folds and three nets, through the shell, one after the other.

    python benchmarks/tagger.py --out runs/taggers [--folds 1 2 3 4 5] [--nets chunk mel raw]

Every cell is ``latentscape train tags --recipe tagger-NET --set data.split.fold=F``; one that is there already is not
made again. Writes ``taggers.json`` and a table: accuracy, macro ROC-AUC and PR-AUC, minutes of training, each as mean
and deviation over the folds; then ``imagine`` of every class (see --imagine): how often the net itself and a second net
agree, with and without priors, from noise and from a clip of the next class.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

NETS = ("chunk", "mel", "raw")
NAMES = ("accuracy", "macro_roc_auc", "macro_pr_auc", "calibration_error")


def cell(out: Path, net: str, fold: int, sets: list[str]) -> dict[str, float]:
    """Train where it is not there yet, and return the figures."""
    run = out / f"{net}-{fold}"
    if not (run / "verdict.json").exists():
        words = ["train", "tags", "--recipe", f"tagger-{net}", "--run", run, "--overwrite"]
        settings = [f"data.split.fold={fold}", "train.threads=1", "train.tensorboard=false", *sets]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        shell(*words, *(word for one in settings for word in ("--set", one)))
        spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        (run / "cpu_seconds.json").write_text(json.dumps(spent))
    numbers = json.loads((run / "verdict.json").read_text())["figures"]["numbers"]
    found = {name: numbers[name]["value"] for name in NAMES}
    seconds = run / "cpu_seconds.json"
    return found | {"cpu_minutes": json.loads(seconds.read_text()) / 60 if seconds.exists() else float("nan")}


def shell(*words: object) -> None:
    """Run the shell; stop where it fails."""
    command = [sys.executable, "-m", "latentscape", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")


def imagined(out: Path, own: str, second: str, fold: int, steps: int) -> dict[str, dict[str, float]]:
    """Imagine every class by one net from noise and from a clip of another class, judged by a second one."""
    clips = {}
    root = Path(os.environ["LATENTSCAPE_DATA"]) / "tags"
    for line in (root / "metadata.csv").read_text().splitlines()[1:]:
        path, tag, _, _, _, its_fold = line.split(",")[:6]
        if its_fold == str(fold):
            clips.setdefault(tag, root / path)
    tags = sorted(clips)
    table: dict[str, dict[str, float]] = {}
    for begin in ("noise", "clip"):
        for priors in ("no-priors", "priors"):
            rows = []
            for index, tag in enumerate(tags):
                target = out / "imagined" / f"{own}-{begin}-{priors}-{tag}.wav"
                if not target.with_suffix(".json").exists():
                    other = ["--begin", clips[tags[(index + 1) % len(tags)]]] if begin == "clip" else []
                    words = [
                        "imagine",
                        out / f"{own}-{fold}",
                        tag,
                        "--out",
                        target,
                        "--judge",
                        out / f"{second}-{fold}",
                    ]
                    shell(*words, "--steps", steps, f"--{priors}", *other)
                rows.append(json.loads(target.with_suffix(".json").read_text()) | {"tag": tag})
            table[f"from {begin}, {priors}"] = {
                "own": sum(row["heard"] == row["tag"] for row in rows),
                "second": sum(max(row["judge"], key=row["judge"].get) == row["tag"] for row in rows),
                "of": len(rows),
                "flatness": statistics.median(row["flatness"] for row in rows),
            }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=NETS)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    parser.add_argument("--imagine", type=int, default=0, metavar="STEPS", help="also imagine, on the first fold")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, object] = {}
    for net in given.nets:
        rows = [cell(given.out, net, fold, given.sets) for fold in given.folds]
        found[net] = {
            name: {"mean": statistics.mean(row[name] for row in rows), "folds": [row[name] for row in rows]}
            for name in (*NAMES, "cpu_minutes")
        }
        cells = []
        for name in (*NAMES, "cpu_minutes"):
            values = [row[name] for row in rows]
            deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
            cells.append(f"{name} {statistics.mean(values):.3f} +- {deviation:.3f}")
        print(f"{net:6}", ", ".join(cells), flush=True)
        (given.out / "taggers.json").write_text(json.dumps(found, indent=1))
    if given.imagine and {"mel", "chunk"} <= set(given.nets):
        for own, second in (("mel", "chunk"), ("chunk", "mel")):
            table = imagined(given.out, own, second, given.folds[0], given.imagine)
            found[f"imagine {own}, judged by {second}"] = table
            for name, row in table.items():
                print(f"{own:6} {name}: own {row['own']}/{row['of']}, second {row['second']}/{row['of']}, ", end="")
                print(f"flatness {row['flatness']:.1f} dB", flush=True)
        (given.out / "taggers.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

"""The page of a run of a tagger: its verdict, its figures, and tags one by one."""

from pathlib import Path

from latentscape import __version__
from latentscape.core.storage import load_json, name_of
from latentscape.experiment.tagging import TagFigures, shown
from latentscape.instrument.tagging import Listener
from latentscape.report.items import Commands, Item, Page, Picture, Section, Table, Text
from latentscape.report.page import write_page
from latentscape.report.pictures import learning_curves
from latentscape.train.loop import Outcome
from latentscape.train.verdict import Verdict


def show_tags(run: Path, listener: Listener, outcome: Outcome, verdict: Verdict, figures: TagFigures) -> None:
    """Write the page of a run."""
    facts = load_json(run / "run.json")
    rows = tuple((name, f"{number.value:.4g}", number.unit) for name, number in figures.numbers.items())
    tags = tuple((name, count, shown(roc), shown(pr)) for name, count, roc, pr in figures.table())
    calibration = figures.tagging.calibration
    said = tuple(
        (f"{said:.2f}", f"{so:.2f}", count)
        for said, so, count in zip(calibration.said, calibration.so, calibration.count, strict=True)
    )
    curves = learning_curves(outcome.history, {"distortion": "cross-entropy (nats)"})
    figure_items: tuple[Item, ...] = (
        Table("on the test part", ("measure", "value", "unit"), rows),
        Table("tag by tag", ("tag", "sounds", "ROC-AUC", "PR-AUC"), tags, numeric=(2, 3)),
        Table("calibration", ("said", "so", "scores"), said, "Mean score, and how often it was so.", numeric=(0, 1)),
    )
    leading = "accuracy" if "accuracy" in figures.numbers else "macro_pr_auc"
    page = Page(
        title=name_of(run),
        lead=f"A tagger of {facts['source'].rstrip('/').rpartition('/')[2]}, recipe {facts['recipe']}.",
        facts=(
            (f"{figures.numbers[leading].value:.3f}", leading.replace("_", " ") + ", test part"),
            (f"{figures.numbers['macro_roc_auc'].value:.3f}", "macro ROC-AUC"),
            (f"{outcome.step:,}", "training steps"),
        ),
        sections=(
            Section("Verdict", (Text("\n\n".join(verdict.lines()), "warning" if verdict.warns else "good"),)),
            Section("Figures", figure_items, f"{len(listener.classes)} tags, segments averaged to sounds."),
            Section("Training", (Picture("learning curves", curves),)),
            Section("Make it again", (Commands.of("this run", facts["command"]),)),
        ),
        footer=f"latentscape {__version__}, {facts['started'][:10]}",
    )
    write_page(page, run / "index.html")

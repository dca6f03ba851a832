"""After training: the latent map and its axes, the figures, the verdict, sounds to hear, and the page of it all."""

from dataclasses import dataclass
from pathlib import Path

from latentscape.core.storage import save_json
from latentscape.data.sounds import SoundExamples
from latentscape.experiment.evaluate import Figures, measure, moved
from latentscape.experiment.factors import factor_figures
from latentscape.experiment.layers import layer_sections
from latentscape.experiment.run import Prepared, Say, open_run
from latentscape.experiment.second_stage import forget_stages
from latentscape.experiment.showcase import chart_of, compose, image_sections, sound_sections
from latentscape.experiment.waves import measure_waves, show
from latentscape.instrument.axes import name_axes
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load_waves
from latentscape.instrument.waves import Waves
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
        if (waves := load_waves(run, device)) is not None:
            return _finish_waves(run, waves, prepared, outcome, say)
        instrument = Instrument.load(run, device)
        unseen = examine(instrument.model, moved(examples.held("test", 1024, ITEMS), instrument.device))
        verdict = judge_run(prepared, outcome, unseen)
        numbers = measure(instrument, examples, "test", train=examples, clips=FIGURE_CLIPS)
        say("drawing the map and naming its axes")
        chart, codes = chart_of(instrument, examples)
        chart.save(run)
        numbers |= factor_figures(chart)
        figures = Figures(f"{run.name}, test part ({examples.count('test')} items):", numbers)
        save_json(run / "verdict.json", {"lines": verdict.lines(), "figures": figures.to_json()})
        name_axes(Instrument.load(run, device), codes).save(run)
        instrument = Instrument.load(run, device)
        say("drawing the page")
        if isinstance(examples, SoundExamples):
            sections = sound_sections(run, instrument, examples, chart)
        else:
            sections = image_sections(run, instrument, examples, chart)
        sections += layer_sections(run, instrument, examples)
        write_page(compose(run, prepared, outcome, verdict, numbers, unseen, sections), run / "index.html")
    return Summary(run, outcome, verdict, figures)


def _finish_waves(run: Path, waves: Waves, prepared: Prepared, outcome: Outcome, say: Say) -> Summary:
    """Measure and judge a run without a latent space, and write its sounds and page."""
    verdict = judge_run(prepared, outcome)
    numbers = measure_waves(waves, prepared.examples, "test", prepared.examples)
    figures = Figures(f"{run.name}, test part ({prepared.examples.count('test')} items):", numbers)
    save_json(run / "verdict.json", {"lines": verdict.lines(), "figures": figures.to_json()})
    say("making sounds and the page")
    show(run, waves, prepared, outcome, verdict, numbers)
    return Summary(run, outcome, verdict, figures)


def judge_run(prepared: Prepared, outcome: Outcome, unseen: Examination | None = None) -> Verdict:
    """Return the verdict on a run from its curves and what its latents carry."""
    config = prepared.config
    settings = {
        "max_steps": outcome.settled.max_steps,
        "learning_rate": config.train.learning_rate,
        "beta": getattr(config.objective, "beta", None),
        "free_bits": getattr(config.objective, "free_bits", None),
        "warmup": getattr(config.objective, "warmup", None),
        "augmented": not config.data.augment.still,
    }
    rates = None if unseen is None or unseen.dimension_rate is None else unseen.dimension_rate.tolist()
    steady = prepared.objective.steady
    return judge(outcome.history, monitor=steady, rates=rates, reason=outcome.reason, settings=settings)

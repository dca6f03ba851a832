"""After training: the latent map and its axes, the figures, the verdict, sounds to hear, and the page of it all."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from latentscape.core.heap import passing
from latentscape.core.storage import name_of, save_json
from latentscape.data.examples import Batch, Examples
from latentscape.data.sounds import SoundExamples
from latentscape.experiment.evaluate import measure, moved
from latentscape.experiment.factors import factor_figures
from latentscape.experiment.figures import Figures
from latentscape.experiment.joined import Prepared, gather
from latentscape.experiment.layers import layer_sections
from latentscape.experiment.run import Say
from latentscape.experiment.second_stage import forget_stages
from latentscape.experiment.showcase import chart_of, compose, image_sections, sound_sections
from latentscape.experiment.tag_page import show_tags
from latentscape.experiment.tagging import part_figures
from latentscape.experiment.use import some, use_of_labels, words_on_labels
from latentscape.experiment.wave_page import show_waves
from latentscape.experiment.waves import measure_waves
from latentscape.instrument.loading import is_listener, load, load_listener, load_waves
from latentscape.instrument.naming import name_axes
from latentscape.instrument.waves import Waves
from latentscape.measure.latent import Examination, examine
from latentscape.measure.measure import Number
from latentscape.models.model import LatentModel
from latentscape.report.page import write_page
from latentscape.train.config import learning_rate
from latentscape.train.loop import Outcome
from latentscape.train.verdict import Verdict, judge

FIGURE_CLIPS = 24
ITEMS = 10_000


@passing()
def finish(run: Path, outcome: Outcome, trained: Prepared, say: Say, device: str = "auto") -> tuple[Verdict, Figures]:
    """Map, measure and judge a trained run, and write its sounds, pictures and page.

    Args:
        run: its folder.
        outcome: how training ended.
        trained: what it was trained on; its source may look otherwise by now.
        say: told what is done.
        device: where to compute.

    Raises:
        LatentscapeError: the run is damaged, or could not be written to.
    """
    forget_stages(run)
    again = gather(trained.config, trained.corpus, trained.split, trained.vectors)  # training closed its own
    prepared = replace(trained, examples=again.examples)
    with prepared.examples as examples:
        say("measuring")
        if (waves := load_waves(run, device)) is not None:
            return _finish_waves(run, waves, prepared, outcome, say)
        if is_listener(run):
            return _finish_tagger(run, prepared, outcome, device)
        instrument = load(run, device)
        unseen = examine(instrument.model, moved(_items(instrument.model, examples), instrument.device))
        verdict = judge_run(prepared, outcome, unseen)
        labels = use_of_labels(instrument.model, examples, "test", instrument.device)
        verdict = replace(verdict, notes=words_on_labels(labels))
        numbers = measure(instrument, examples, "test", train=examples, clips=FIGURE_CLIPS) | labels
        verdict = replace(verdict, notes=(*verdict.notes, *words_on_linear(numbers)))
        say("drawing the map and naming its axes")
        chart, codes = chart_of(instrument, examples)
        chart.save(run)
        numbers |= factor_figures(chart)
        figures = Figures(f"{name_of(run)}, test part ({examples.count('test')} items):", numbers)
        save_json(run / "verdict.json", {"lines": verdict.lines(), "figures": figures.to_json()})
        name_axes(load(run, device), codes).save(run)
        instrument = load(run, device)
        say("drawing the page")
        if isinstance(examples, SoundExamples):
            sections = sound_sections(run, instrument, examples, chart)
        else:
            sections = image_sections(run, instrument, examples, chart)
        sections += layer_sections(run, instrument, examples)
        write_page(compose(run, prepared, outcome, verdict, numbers, unseen, sections), run / "index.html")
    return verdict, figures


def _items(model: LatentModel, examples: Examples) -> Iterator[Batch]:
    """Yield test items: all, of a model that is cheap to ask."""
    return some(model, examples, "test") if model.sequential else examples.held("test", model.rows, ITEMS)


def words_on_linear(numbers: Mapping[str, Number]) -> tuple[str, ...]:
    """Return a sentence where a linear model of as many numbers comes nearer to sounds that neither has heard."""
    ratio = numbers.get("lsd_features_ratio")
    if ratio is None or ratio.value <= 1:
        return ()
    return (f"Worse than linear: {ratio.value:.2f} of the spectral error of PCA; give it more time, or more sounds.",)


def _finish_waves(run: Path, waves: Waves, prepared: Prepared, outcome: Outcome, say: Say) -> tuple[Verdict, Figures]:
    """Measure and judge a run without a latent space, and write its sounds and page."""
    labels = use_of_labels(waves.model, prepared.examples, "test", waves.device)
    vectors = () if prepared.vectors is None else tuple(f"{line}." for line in prepared.vectors.lines())
    verdict = replace(judge_run(prepared, outcome), notes=(*words_on_labels(labels), *vectors))
    numbers = measure_waves(waves, prepared.examples, "test", prepared.examples) | labels
    figures = Figures(f"{name_of(run)}, test part ({prepared.examples.count('test')} items):", numbers)
    save_json(run / "verdict.json", {"lines": verdict.lines(), "figures": figures.to_json()})
    say("making sounds and the page")
    show_waves(run, waves, prepared, outcome, verdict, numbers)
    return verdict, figures


def _finish_tagger(run: Path, prepared: Prepared, outcome: Outcome, device: str) -> tuple[Verdict, Figures]:
    """Measure and judge a tagger, and write its page."""
    listener = load_listener(run, device)
    verdict = judge_run(prepared, outcome)
    figures = part_figures(listener, prepared, "test", f"{name_of(run)}, test part")
    save_json(run / "verdict.json", {"lines": verdict.lines(), "figures": figures.to_json()})
    show_tags(run, listener, outcome, verdict, figures)
    return verdict, figures


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
    steady, settled = prepared.objective.steady, outcome.settled

    def rate(step: int) -> float:
        return learning_rate(settled.config, step, settled.max_steps)

    return judge(outcome.history, monitor=steady, rates=rates, reason=outcome.reason, settings=settings, rate=rate)

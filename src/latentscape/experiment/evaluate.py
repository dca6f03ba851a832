r"""Every measure that applies to a run, beside the best linear model on the same data.

Letters: x items, d latent width, W principal directions.

The linear baseline is probabilistic PCA with as many latents as the model, fitted on the same training sounds (with or
without augmentation, whichever is better), its reconstruction the orthogonal projection onto its directions,
:math:`\hat x = \mu + W (W^\top W)^{-1} W^\top (x - \mu)`: the best that a linear auto-encoder can do in squared error.
Both reconstructions are kept above the representation's floor, which both know.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.heap import passing
from latentscape.core.storage import digest_of, name_of
from latentscape.data.corpus import ImageCorpus, SoundCorpus
from latentscape.data.examples import Examples
from latentscape.data.sounds import SoundExamples
from latentscape.data.sources import open_source
from latentscape.data.split import PARTS, PartName, undivided
from latentscape.experiment.config import fit_to
from latentscape.experiment.factors import factor_figures
from latentscape.experiment.figures import Figures
from latentscape.experiment.joined import Opened, build_examples, open_run
from latentscape.experiment.tagging import part_figures, tag_figures
from latentscape.experiment.use import sequential_figures
from latentscape.experiment.waves import measure_waves
from latentscape.geometry.paths import load_path
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.journeys import survey
from latentscape.instrument.loading import is_listener, load, load_listener, load_waves
from latentscape.instrument.reference import PAIRS
from latentscape.instrument.survey import Survey
from latentscape.measure.latent import examine, negative_log_likelihood
from latentscape.measure.measure import Number
from latentscape.measure.reconstruction import FeatureDistance, LogSpectralDistance, SignalToNoise
from latentscape.models.linear import Ppca, PpcaConfig
from latentscape.models.model import LatentModel
from latentscape.signal.stft import LogStft

BATCH = 1024
PPCA_ITEMS = 40_000
PPCA_WIDTH = 4096
LIKELIHOOD_ITEMS = 10_000
SOUND_SECONDS = 10.0
"""A longer clip is sent through the model in stretches of this length, so that memory does not grow with it."""


@passing()
def evaluate(
    run: Path,
    source: str | None = None,
    *,
    part: str = "test",
    samples: int = 0,
    items: int = LIKELIHOOD_ITEMS,
    device: str = "auto",
) -> Figures:
    """Measure a run on a part of its own corpus, or on all of another source.

    Args:
        run: the run folder.
        source: other sounds or images; ``None`` takes the run's own.
        part: train, valid or test, of the run's own corpus.
        samples: importance samples K of the likelihood; 0 leaves it out.
        items: that this likelihood is the mean of, at most; spread evenly over the part.
        device: where to compute.
    """
    if part not in PARTS:
        raise UsageError(f"--part got '{part}', expected one of {', '.join(PARTS)}")
    chosen_part = cast("PartName", part)
    if is_listener(run):
        return _evaluate_tagger(run, source, chosen_part, samples, device)
    waves = load_waves(run, device)
    if waves is not None and samples:
        raise UsageError(f"--samples is of models with latents, and {run} has none: its likelihood is exact")
    instrument = None if waves is not None else load(run, device)
    prepared = open_run(run)
    heard, left_out = prepared.examples, []
    if source is not None:
        corpus = _other(source, prepared)
        left_out = corpus.leaves_out() if isinstance(corpus, SoundCorpus) else []
        # labels of another corpus have other codes, so they count as unknown
        told = {"vectors": prepared.vectors}  # words mean the same anywhere
        heard, chosen_part = build_examples(prepared.config, corpus, undivided(corpus), **told), "test"
        if heard.event_shape != prepared.examples.event_shape:
            arrived, expected = (" x ".join(map(str, one.event_shape)) for one in (heard, prepared.examples))
            raise UsageError(f"{source} holds items of {arrived}, but {run} takes {expected}")
    with prepared.examples, heard:
        if waves is not None:
            numbers = measure_waves(waves, heard, chosen_part, prepared.examples)
        else:
            assert instrument is not None
            numbers = measure(instrument, heard, chosen_part, train=prepared.examples, samples=samples, items=items)
        if instrument is not None and source is None:
            numbers |= factor_figures(instrument.chart)
        count = heard.count(chosen_part)
    return Figures(f"{name_of(run)}, {source or part + ' part'} ({count} items):", numbers, left_out=left_out)


def _other(source: str, prepared: Opened) -> SoundCorpus | ImageCorpus:
    """Open another source as a run's own is read.

    Raises:
        ConfigError: it holds images where the run is of sounds, or the reverse.
    """
    rate = getattr(prepared.corpus, "sample_rate", None)
    corpus = open_source(source, prepared.config.source.model_copy(update={"sample_rate": rate}))
    fit_to(prepared.config, corpus)
    return corpus


def _evaluate_tagger(run: Path, source: str | None, part: PartName, samples: int, device: str) -> Figures:
    if samples:
        raise UsageError(f"--samples is of models with latents, and {run} holds a tagger")
    listener, prepared = load_listener(run, device), open_run(run)
    if source is None:
        return part_figures(listener, prepared, part, f"{name_of(run)}, {part} part")
    corpus = _other(source, prepared)
    assert isinstance(corpus, SoundCorpus)
    found = tag_figures(listener, corpus, undivided(corpus).clips(corpus, "test"), f"{name_of(run)}, {source}", {})
    return replace(found, left_out=corpus.leaves_out())


def evaluate_paths(
    run: Path,
    *,
    pairs: int | None = None,
    files: Sequence[Path] = (),
    standard: bool = True,
    device: str = "auto",
    labels: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Survey:
    """Measure how a run of sound fares along paths; see :mod:`latentscape.instrument.journeys`.

    Args:
        run: the run folder.
        pairs: of held-out sounds that paths lead between; ``None`` takes the standard's.
        files: paths that were saved as JSON.
        standard: measure the standard paths, too.
        device: where to compute.
        labels: what a model with conditions is told.
        say: gets a line when something begins.

    Raises:
        UsageError: the run makes images, or two files have one name.
        LatentscapeError: the run or a file is damaged, or the corpus can't be read.
    """
    names = [file.stem for file in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"--path got two files named '{twice}', which is what their rows are called; rename one")
    instrument = load(run, device)
    weights = digest_of(run / "weights.safetensors")
    saved = {file.stem: load_path(file, weights=weights) for file in files}
    if instrument.representation is None:
        raise UsageError(f"{run} makes images, not sound; --paths listens to what is met on the way")
    with open_run(run).examples as examples:
        assert isinstance(examples, SoundExamples)
        chosen = {} if standard else {"between": (), "walks": ()}
        pairs = PAIRS if pairs is None else pairs
        return survey(instrument, examples, pairs=pairs, saved=saved, labels=labels, say=say, **chosen)


def measure(
    instrument: Instrument,
    examples: Examples,
    part: PartName,
    *,
    train: Examples,
    samples: int = 0,
    items: int = LIKELIHOOD_ITEMS,
    clips: int | None = None,
) -> dict[str, Number]:
    """Return all numbers of an instrument on a part of some examples.

    With ``samples`` the importance-weighted likelihood of so many ``items``; at most so many ``clips`` are synthesised.
    """
    model = instrument.model
    if model.sequential:
        numbers = sequential_figures(instrument, examples, part)
    else:
        numbers = examine(model, moved(examples.held(part, BATCH, 50_000), instrument.device)).numbers()
    if samples:
        held = moved(examples.held(part, 200, items), instrument.device)
        numbers |= negative_log_likelihood(model, held, samples, chunk=min(2000, model.rows))
    if isinstance(examples, SoundExamples) and not model.sequential:
        baseline = linear_baseline(model, train, (x for x, _ in examples.held(part, BATCH, BATCH)))
        numbers |= sound_figures(instrument, examples, part, baseline, clips)
    return numbers


def moved(batches: Iterator, device: torch.device) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Move batches to a device."""
    for x, context in batches:
        yield x.to(device), {name: value.to(device) for name, value in context.items()}


def linear_baseline(model: LatentModel, train: Examples, part: Iterator[Tensor]) -> Callable[[Tensor], Tensor] | None:
    """Return x -> its best linear reconstruction; ``None`` where x is too wide, or too rare, for it.

    It is fitted twice, on training items as they are and as augmentation varies them; the fit that is better on the
    part is returned, so that a model is never compared with the weaker one.
    """
    width = math.prod(train.event_shape)
    latent = sum(math.prod(shape) for shape in model.latent_shapes)
    if width > PPCA_WIDTH or latent >= width or train.count("train") <= 2 * latent:
        return None
    plain = (x for x, _ in train.held("train", BATCH, PPCA_ITEMS))
    varied = (train.batch(step * 10, BATCH)[0] for step in range(-(-PPCA_ITEMS // BATCH)))
    fits = [_projection(Ppca(PpcaConfig(latent=latent), train.event_shape).fit(items)) for items in (plain, varied)]
    train.close()  # the pool that was drawn from is not asked for again, and takes as much memory as all the rest
    sample = torch.cat(list(part))
    return min(fits, key=lambda project: float((project(sample) - sample).square().mean()))


def _projection(ppca: Ppca) -> Callable[[Tensor], Tensor]:
    basis = torch.linalg.qr(ppca.loadings.detach().double()).Q
    mean = ppca.mean.detach().double()

    def project(x: Tensor) -> Tensor:
        flat = x.flatten(1).double() - mean
        return (mean + flat @ basis @ basis.T).float().reshape(x.shape)

    return project


def sound_figures(
    instrument: Instrument,
    examples: SoundExamples,
    part: PartName,
    baseline: Callable[[Tensor], Tensor] | None,
    most: int | None,
) -> dict[str, Number]:
    """Compare sounds with their reconstructions: as features where these are levels in dB, and as sound.

    Every way back to sound uses the same inversion; ``round_trip`` is what that inversion alone costs.
    """
    representation = examples.representation
    spectral, features_distance, ratio = LogSpectralDistance(), FeatureDistance(), SignalToNoise()
    sums: dict[str, list[float]] = {}

    def note(name: str, value: float, weight: float) -> None:
        total = sums.setdefault(name, [0.0, 0.0])
        total[0] += value * weight
        total[1] += weight

    for clip in examples.pieces(part, SOUND_SECONDS, most):
        wave = torch.from_numpy(examples.corpus.wave(clip).copy())
        if not bool(wave.any()):
            continue
        x = instrument.windows(wave)
        frames = representation.frames(wave.shape[1])
        found = {"model": instrument.decode(instrument.encode(wave))[:, :frames]}
        truth = _joined(instrument, x)[:, :frames]
        if baseline is not None:
            linear = _joined(instrument, baseline(x.float()))[:, :frames]
            found["linear"] = linear if representation.floor is None else linear.clamp_min(representation.floor)
        if isinstance(representation, LogStft):
            for kind, value in found.items():
                note(f"lsd_features_{kind}", features_distance.metric(truth, value), frames)
        for kind, value in {**found, "round_trip": truth}.items():
            sound = representation.synthesise(value[None], wave.shape[1])[0]
            note(f"lsd_sound_{kind}", spectral.metric(wave, sound), frames)
            if not representation.drops_phase:
                note(f"snr_{kind}", ratio.metric(wave, sound), frames)
    numbers = {name: Number(total / weight, "dB") for name, (total, weight) in sums.items()}
    for what in ("lsd_features", "lsd_sound"):
        linear = numbers.get(f"{what}_linear")
        if linear is not None and linear.value > 0:  # what lies below the floor is given back exactly
            numbers[f"{what}_ratio"] = Number(numbers[f"{what}_model"].value / linear.value, "")
    return numbers


def _joined(instrument: Instrument, windows: Tensor) -> Tensor:
    """Join windows ``[m, *event]`` to features ``[f, t]``, as the instrument does."""
    joiner = instrument.joiner(moving=False)
    rest = [part for part in (joiner.push(windows), joiner.flush()) if part is not None]
    return torch.cat(rest, 1)

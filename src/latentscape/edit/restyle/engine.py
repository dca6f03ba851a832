r"""Restyling: the sound nearest to a style's statistics that still goes the way of its content.

Letters: c channels, n samples of the content, m of the style.

Both sounds are brought to one level and to one number of channels (frames of all channels are one set: a stereo image
stays, as each channel keeps to its own content). The search begins with the content carried towards the style
(:mod:`.beginning`) and goes down the loss of :mod:`.objective`. What comes out has the loudness of the content
(:mod:`.loudness`), nothing below hearing, and passes -1 dBFS nowhere.

The search sees the content with a window of its own sound more before and after it, which is cut off in the end. The
first and last samples of a sound are in fewer frames than all others, and an abrupt border gives all bins one phase
there: with the style's magnitudes that is a click. (A mirror image does the same, being symmetric.) The last 3 ms fade
out: a sound that is cut off as loud as it goes clicks as well. The first 3 ms fade in where those of the content are
quiet: a style without silence lifts the breath before a tone to its own level. An attack stays as sudden as it is.

A long content is restyled in pieces of 20 s that overlap by one, all towards the same statistics; they are cross-faded
at constant power, whatever their correlation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError, UsageError, nearest
from latentscape.edit.restyle.beginning import begin, coefficients, noise
from latentscape.edit.restyle.descent import WAYS
from latentscape.edit.restyle.loudness import levelled
from latentscape.edit.restyle.methods import DEFAULT, Method, method_of
from latentscape.edit.restyle.networks import Bins, Deaf, Network, Scales, WideConvolution
from latentscape.edit.restyle.objective import RHYTHM_SECONDS, Objective, Weights
from latentscape.edit.restyle.optimise import Minimum, minimise
from latentscape.edit.restyle.sounds import LEVEL, PLACES, Given, Place, Spectrum
from latentscape.edit.restyle.statistics import STATISTICS, autocorrelation
from latentscape.measure.silence import silent_share, with_pauses
from latentscape.measure.style import without_rumble

PIECE_SECONDS = 20.0
OVERLAP_SECONDS = 1.0
SHORTEST_SECONDS = 0.25
FADE_SECONDS = 0.003
ATTACK = 0.1
"""Share of a content's peak that its first 3 ms reach where it begins with an attack."""
TEXTURE_EVALUATIONS = 2
"""Times as many evaluations where there is no content: the way from noise is longer."""


@dataclass(frozen=True)
class Wish:
    """What is asked for; ``None`` is the method's own.

    Attributes:
        method: a name of :data:`latentscape.edit.restyle.methods.METHODS`.
        strength: 0 (content's statistics) to 1 (style's).
        content: weight of the content; 0 lets it go.
        evaluations: of the loss.
        seed: of nets and noise.
        way: of the search, where the method has several (:data:`latentscape.edit.restyle.descent.WAYS`).
        likelihood: weight of a WaveNet's own likelihood.

    Raises:
        UsageError: a value is out of bounds, or there is no such method.
    """

    method: str = DEFAULT
    strength: float = 1.0
    content: float | None = None
    evaluations: int | None = None
    seed: int = 0
    way: str | None = None
    likelihood: float = 0.0

    def __post_init__(self) -> None:
        method_of(self.method)
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength got {self.strength:g}, expected 0 to 1")
        if self.content is not None and not (0 <= self.content < math.inf):
            raise UsageError(f"--content-weight got {self.content:g}, expected at least 0")
        if self.evaluations is not None and self.evaluations < 1:
            raise UsageError(f"--steps got {self.evaluations}, expected at least 1")
        if not (0 <= self.likelihood < math.inf):
            raise UsageError(f"--likelihood got {self.likelihood:g}, expected at least 0")
        if method_of(self.method).place != "waves" and (self.way or self.likelihood):
            raise UsageError(f"--way and --likelihood go with --method wavenet; got --method {self.method}")
        if self.way is not None and self.way not in WAYS:
            raise UsageError(f"--way got '{self.way}'{nearest(self.way, WAYS)}")


Each = Callable[[float, float, Callable[[], np.ndarray]], None]
"""Told the share of the work that is done, the loss, and what makes the sound so far (of a WaveNet, of one channel)."""


@dataclass(frozen=True)
class Restyled:
    """A restyled sound.

    Attributes:
        wave: ``[c, n]``.
        losses: of every evaluation, piece after piece.
        turned_down: dB by which it was scaled so as not to pass -1 dBFS; 0 where it was not.
    """

    wave: np.ndarray
    losses: tuple[float, ...]
    turned_down: float = 0.0


def restyle(
    content: Float[np.ndarray, "c n"] | None,
    style: Float[np.ndarray, "d m"],
    sample_rate: int,
    wish: Wish = Wish(),
    *,
    seconds: float | None = None,
    network: Network | None = None,
    method: Method | None = None,
    each: Each | None = None,
) -> Restyled:
    """Restyle a sound.

    Args:
        content: full scale 1; ``None`` makes the style's texture out of noise.
        style: what it shall sound like, at the same rate.
        sample_rate: Hz.
        wish: how.
        seconds: length of a texture without content; default the style's.
        network: what hears, where the method needs a trained one.
        method: takes the place of the wish's own row of the table.
        each: told of the progress.

    Raises:
        DataError: a sound is silent, too short or not finite.
        UsageError: the method needs a run, or the texture would be too short.
    """
    method = method or method_of(wish.method)
    if method.place in ("codes", "waves"):
        raise UsageError(f"method {wish.method} works on codes; see latentscape.edit.restyle.{method.place}")
    told = usable(style, "style", sample_rate)
    spectrum = Spectrum(sample_rate)
    heard = None if content is None else usable(content, "content", sample_rate)
    if content is not None and wish.strength == 0:
        return unchanged(content, sample_rate, each)
    whole, wanted = (_unit(one) for one in (told, style_for(told, heard, sample_rate)))
    if heard is None:
        if seconds is not None and not SHORTEST_SECONDS <= seconds < math.inf:
            raise UsageError(f"restyle got {seconds:g} s of texture to make, expected at least {SHORTEST_SECONDS} s")
        length = style.shape[1] if seconds is None else round(seconds * sample_rate)
        given = noise(spectrum, len(wanted), length, wish.seed)
    else:
        given = _unit(heard)
    work = _Work(spectrum, wanted, whole, wish, method, network, textured=heard is None)
    made, losses = work.all(given, each)
    return finished(made.numpy().astype(np.float64), content, style, sample_rate, losses)


def finished(
    made: Float[np.ndarray, "c n"],
    content: Float[np.ndarray, "c n"] | None,
    style: Float[np.ndarray, "d m"],
    sample_rate: int,
    losses: tuple[float, ...] = (),
) -> Restyled:
    """Return what was made without rumble, with both ends as they should be, as loud as its content."""
    wave = bordered(without_rumble(made, sample_rate), content, sample_rate)
    wave, down = levelled(wave, style if content is None else content, sample_rate)
    return Restyled(wave, losses, down)


def unchanged(content: Float[np.ndarray, "c n"], sample_rate: int, each: Each | None = None) -> Restyled:
    """Return what strength 0 asks for: the content, of which a search for itself would only lose something."""
    wave, down = levelled(content, content, sample_rate)
    if each is not None:
        each(1.0, 0.0, lambda: wave)
    return Restyled(wave, (), down)


class _Work:
    """All that is the same for every piece."""

    def __init__(
        self,
        spectrum: Spectrum,
        style: Tensor,
        whole: Tensor,
        wish: Wish,
        method: Method,
        network: Network | None,
        *,
        textured: bool,
    ) -> None:
        self.spectrum, self.style, self.wish, self.method, self.textured = spectrum, style, wish, method, textured
        _, self.style_levels = coefficients(spectrum, style)
        self.network = network or network_of(method, spectrum, style, wish.seed)
        self.statistic = STATISTICS[method.statistic]
        with torch.no_grad():
            self.target = self._statistics(style)
            bands = spectrum.bands(spectrum.analyse(whole).abs())  # a rhythm is one of notes and pauses
            lags = round(RHYTHM_SECONDS * spectrum.sample_rate / spectrum.hop)
            self.rhythm = autocorrelation(bands, min(lags, bands.shape[1] // 2)).mean(0)
        weight = method.content if wish.content is None else wish.content
        self.weights = Weights(0.0 if textured else weight, method.rhythm)
        self.evaluations = wish.evaluations or method.evaluations * (TEXTURE_EVALUATIONS if textured else 1)
        if (wish.evaluations or wish.content is not None) and not method.evaluations:
            raise UsageError(f"--method {wish.method} searches nothing; leave --steps and --content-weight out")

    def all(self, given: Tensor, each: Each | None) -> tuple[Tensor, tuple[float, ...]]:
        """Return the whole sound, made in pieces."""
        given, margin = extended(given, self.spectrum.window, self.spectrum.hop)
        found, levels = coefficients(self.spectrum, given)
        levels = begin(levels, self.style_levels, self.method.start, self.wish.strength)
        spans = pieces(given.shape[1], self.spectrum.sample_rate, self.spectrum.hop)
        own = slice(margin, given.shape[1] - margin)
        waves: list[Tensor] = []
        losses: list[float] = []
        for number, (low, high) in enumerate(spans):
            frames = slice(low // self.spectrum.hop, self.spectrum.grid.count(high))
            place = PLACES[self.method.place](self.spectrum, high - low, found[:, frames])

            def told(share: float, loss: float, variable: Tensor, done: int = number, place: Place = place) -> None:
                def so_far() -> np.ndarray:
                    return joined([*waves[:done], place.finish(variable)], spans[: done + 1])[:, own].numpy()

                if each is not None:
                    each((done + share) / len(spans), loss, so_far)

            best = self._sought(place, place.begin(levels[:, frames]), given[:, low:high], told)
            waves.append(place.finish(best.variable))
            losses.extend(best.losses)
        return joined(waves, spans)[:, own], tuple(losses)

    def _sought(
        self, place: Place, variable: Tensor, given: Tensor, told: Callable[[float, float, Tensor], None]
    ) -> Minimum:
        """Return what the search finds of a piece; where there is none, where it would begin."""
        if not self.evaluations:
            return Minimum(variable, ())
        aim = self._aim(given)
        objective = Objective(place, self.network, self.statistic, self.weights, aim, variable, self.rhythm)

        def each(count: int, loss: float, variable: Tensor) -> None:
            told(count / self.evaluations, loss, variable)

        return minimise(objective, variable, self.evaluations, optimiser=self.method.optimiser, each=each)

    def _aim(self, given: Tensor) -> list:
        """Return the statistics to reach: the style's, or what lies at the strength's share of the way."""
        if self.wish.strength == 1.0 or self.textured:
            return self.target
        with torch.no_grad():
            pairs = zip(self._statistics(given), self.target, strict=True)
            return [self.statistic.between(own, style, self.wish.strength) for own, style in pairs]

    def _statistics(self, wave: Tensor) -> list:
        place = Given(self.spectrum, wave.shape[1])
        return [self.statistic.of(layer) for layer in self.network(place, wave)]


def network_of(method: Method, spectrum: Spectrum, style: Float[Tensor, "r n"], seed: int) -> Network:
    """Return the net that hears, for a style."""
    match method.network:
        case "":
            return Deaf()
        case "bins":
            return Bins()
        case "wide":
            bands = spectrum.bands(spectrum.analyse(style).abs())
            centre, scale = float(bands.mean()), float(bands.std().clamp_min(1e-3))
            return WideConvolution(method.filters, method.kernel, centre, scale, seed)
        case "scales":
            return Scales(spectrum.sample_rate, method.filters, seed=seed)
    raise UsageError(f"the method hears by a {method.network}; hand its network over")


def bordered(
    wave: Float[np.ndarray, "c n"], content: Float[np.ndarray, "c n"] | None, sample_rate: int
) -> Float[np.ndarray, "c n"]:
    """Return a sound whose last 3 ms fall to 0 by half a cosine, and whose first rise unless its content attacks."""
    fade = max(1, round(FADE_SECONDS * sample_rate))
    fall = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / fade)
    gain = np.ones(wave.shape[1])
    gain[-fade:] = fall
    if content is None or np.abs(content[:, :fade]).max() < ATTACK * np.abs(content).max():
        gain[:fade] *= fall[::-1]
    return wave * gain


def extended(wave: Float[Tensor, "r n"], window: int, hop: int) -> tuple[Float[Tensor, "r _"], int]:
    """Return a sound with more of its own before and after it, and how many samples that is; a hop is cross-faded."""
    n = wave.shape[1]
    margin = min(window, (n - hop) // (2 * hop) * hop)
    before, after = wave[:, margin : 2 * margin + hop], wave[:, n - 2 * margin - hop : n - margin]
    share = torch.linspace(0, 1, hop)
    begin = torch.lerp(before[:, margin:], wave[:, :hop], share)
    end = torch.lerp(wave[:, n - hop :], after[:, :hop], share)
    return torch.cat((before[:, :margin], begin, wave[:, hop : n - hop], end, after[:, hop:]), 1), margin


def pieces(length: int, sample_rate: int, hop: int, seconds: float = PIECE_SECONDS) -> list[tuple[int, int]]:
    """Return overlapping spans of about 20 s, or of ``seconds``, that begin on frames and cover a sound."""
    overlap = round(OVERLAP_SECONDS / PIECE_SECONDS * seconds * sample_rate / hop) * hop
    count = max(1, math.ceil((length - overlap) / (seconds * sample_rate - overlap)))
    step = math.ceil((length - overlap) / count / hop) * hop
    return [(number * step, min(length, (number + 1) * step + overlap)) for number in range(count)]


def joined(waves: list[Float[Tensor, "c _"]], spans: list[tuple[int, int]]) -> Float[Tensor, "c n"]:
    """Cross-fade pieces at constant power: gains over the root of their sum's power at the overlap's correlation."""
    whole = waves[0].clone()
    for wave, (low, _) in zip(waves[1:], spans[1:], strict=True):
        overlap = whole.shape[1] - low
        old, new = whole[:, low:], wave[:, :overlap]
        size = (old.square().mean() * new.square().mean()).sqrt().clamp_min(1e-12)
        alike = float(((old * new).mean() / size).clamp(0, 1))
        share = torch.linspace(0, 1, overlap)
        power = share.square() + (1 - share).square() + 2 * alike * share * (1 - share)
        whole = torch.cat((whole[:, :low], (old * (1 - share) + new * share) / power.sqrt(), wave[:, overlap:]), 1)
    return whole


def style_for(
    style: Float[np.ndarray, "d m"], content: Float[np.ndarray, "c n"] | None, sample_rate: int
) -> Float[np.ndarray, "d k"]:
    """Return what counts of a style: it is silent for no larger a share than its content; all of it for a texture."""
    if content is None:
        return style
    return with_pauses(style, sample_rate, silent_share(content, sample_rate))


def _unit(wave: Float[np.ndarray, "c n"]) -> Float[Tensor, "c n"]:
    """Return a sound as it is optimised."""
    return torch.from_numpy(wave * (LEVEL / _size(wave))).float()


def usable(wave: Float[np.ndarray, "c n"], what: str, sample_rate: int) -> Float[np.ndarray, "c n"]:
    """Return a sound without rumble.

    Raises:
        DataError: it is silent, too short or not finite; named by ``what`` it is.
    """
    if wave.ndim != 2 or wave.shape[1] < SHORTEST_SECONDS * sample_rate:
        raise DataError(
            f"restyle got a {what} of {wave.shape[-1] / sample_rate:.3f} s, expected at least {SHORTEST_SECONDS} s"
        )
    if not np.isfinite(wave).all():
        raise DataError(f"restyle got a {what} that holds NaN or infinity")
    found = without_rumble(wave, sample_rate)
    if _size(found) < 1e-6:
        raise DataError(f"restyle got a {what} that is silent")
    return found


def _size(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))

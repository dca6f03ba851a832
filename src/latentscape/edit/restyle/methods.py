"""The ways to restyle, as a table: each row says where the sound is looked for, who hears it, and what is matched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from latentscape.core.errors import UsageError, nearest
from latentscape.edit.restyle.optimise import Optimiser

Start = Literal["content", "mean", "ranks", "transport"]


@dataclass(frozen=True)
class Method:
    """A way to restyle.

    Attributes:
        says: in a line.
        place: magnitudes, coefficients, samples; ``codes`` are latent, ``waves`` are codes of samples.
        network: bins, wide, scales, tagger; empty where none hears, and the sound is where the search would begin.
        statistic: gram or gaussian.
        start: see :func:`latentscape.edit.restyle.beginning.begin`.
        content: weight of the content.
        rhythm: weight of the rhythm.
        evaluations: of the loss and its gradient; 0 where nothing is searched.
        optimiser: lbfgs or adam.
        filters: of the network.
        kernel: of the network, frames.
        recipe: that trains the run it needs; empty where it needs none.
    """

    says: str
    place: str = "magnitudes"
    network: str = ""
    statistic: Literal["gram", "gaussian"] = "gram"
    start: Start = "ranks"
    content: float = 0.03
    rhythm: float = 0.0
    evaluations: int = 60
    optimiser: Optimiser = "lbfgs"
    filters: int = 0
    kernel: int = 0
    recipe: str = ""

    @property
    def draws(self) -> bool:
        """Whether a seed changes what comes out of a content."""
        return self.network in ("wide", "scales") or self.place == "waves"


METHODS: Mapping[str, Method] = {
    "stft-gram": Method(
        "Gram matrix of the spectrum itself, the baseline of 2016",
        network="bins",
        start="content",
        content=0.01,
        evaluations=100,
    ),
    "transport": Method(
        "no search: frames carried to the style's Gaussian in closed form, levels to its own",
        start="transport",
        evaluations=0,
    ),
    "random-cnn": Method(
        "Gram matrix of one wide random convolution over levels", network="wide", filters=512, kernel=11
    ),
    "texture": Method(
        "optimal transport of random convolutions over the complex spectrum, and rhythm; samples are optimised",
        place="samples",
        network="scales",
        statistic="gaussian",
        start="transport",
        content=0.01,
        rhythm=0.3,
        evaluations=30,
        filters=24,
    ),
    "tagger": Method(
        "Gram matrices of the layers of a trained tagger; samples are optimised",
        place="samples",
        network="tagger",
        content=0.01,
        evaluations=60,
        recipe="tagger-chunk",
    ),
    "wavenet": Method(
        "Gram matrices of the hidden values of a trained WaveNet; its codes are looked for",
        place="waves",
        content=0.03,
        evaluations=40,
        recipe="wavenet",
    ),
    "latent": Method(
        "the content's path through a model of the style, its codes carried to the style's",
        place="codes",
        evaluations=0,
        recipe="frames",
    ),
}
DEFAULT = "random-cnn"


def method_of(name: str) -> Method:
    """Return a method by name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in METHODS:
        raise UsageError(f"--method got '{name}'{nearest(name, METHODS)}")
    return METHODS[name]

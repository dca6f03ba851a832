r"""The law of an image pixel by pixel: p(x | y) as a product over pixels in raster order, made by a PixelCNN.

.. math:: \log p(x \mid y) = \sum_{i} \log p(x_i \mid x_{<i}, y)

y is a map ``[b, e, h, w]``, such as what a net makes of a latent code. The colours of a pixel are independent given the
pixels before it. As :mod:`.autoregressive` is for waves: ``log_prob`` sees all pixels at once, ``sample`` goes one by
one.

Where a part was seen (a mask, 1 there), the product is over the hidden values alone: what came before a value is known
or drawn, so it is a law of what is hidden.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor
from torch.distributions import Distribution

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import Conditional, Context, point
from latentscape.dist.likelihoods import BernoulliConfig, Codes, LikelihoodConfig, build_likelihood
from latentscape.dist.masked import parts
from latentscape.dist.radial import RadialConfig
from latentscape.dist.units import Affine
from latentscape.models.autoencoder import full_precision
from latentscape.nets.pixelcnn import PixelCnn, PixelCnnConfig


class PixelsConfig(Record):
    """A PixelCNN that is told something.

    Attributes:
        net: sizes of the PixelCNN.
        heard: channels of the map that it hears.
    """

    net: PixelCnnConfig = PixelCnnConfig()
    heard: PositiveInt = 16


class PixelLawConfig(PixelsConfig):
    """A PixelCNN and the law of a pixel.

    Attributes:
        likelihood: law of one value; one that is learnt for each, as ``scale: element``, where it has a scale.
    """

    kind: Literal["pixelcnn"] = "pixelcnn"
    likelihood: LikelihoodConfig = BernoulliConfig()


class PixelLaw(Distribution):
    """p(x | y), batch ``[b]``, event ``[c, h, w]``; of the hidden values where some were seen.

    Args:
        net: the conditional that made it.
        heard: y.
        seen: where values were seen and what they are, ``[b, c, h, w]`` each; ``None``: none were.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self, net: "PixelConditional", heard: Float[Tensor, "b e h w"], seen: tuple[Tensor, Tensor] | None = None
    ) -> None:
        self.net, self.heard = net, heard
        self.seen = None if seen is None else (seen[0].bool(), seen[1])
        super().__init__(torch.Size((len(heard),)), torch.Size(net.event_shape), validate_args=False)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """That of one pixel."""
        return self.net.law(next(self.net.parameters()).new_zeros(1, self.net.outputs)).support

    @property
    def mean(self) -> Tensor:
        """None is known: its samples are."""
        raise NotImplementedError

    def told(self, value: Tensor) -> Tensor:
        """Return the mean of every value given those of ``value [b, c, h, w]`` before it."""
        law = self._laws(value)
        return point(law).reshape(len(value), *value.shape[2:], -1).movedim(-1, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density ``[..., b]``, nats an item; ``value [..., b, c, h, w]``."""
        if value.ndim > 4:
            return torch.stack([self.log_prob(one) for one in value])
        law, pixels = self._laws(value), value.movedim(1, 3).flatten(0, 2)[..., None, None]
        if self.seen is None:
            return law.log_prob(pixels).reshape(len(value), -1).sum(1)
        values = parts(law)
        assert values is not None  # what has none is refused when the model is built
        logs = values.log_prob(pixels).reshape(len(value), *value.shape[2:], -1).movedim(-1, 1)
        return logs.masked_fill(self.seen[0], 0.0).flatten(1).sum(1)

    def _laws(self, value: Float[Tensor, "b c h w"]) -> Distribution:
        """Return the laws of all pixels given those before them, batch ``[b * h * w]``, event ``[c, 1, 1]``."""
        net = self.net
        raw = full_precision(net.net(net.likelihood.units.standardise(value.to(self.heard.dtype)), self.heard))
        return net.law(raw.movedim(1, 3).flatten(0, 2))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draw ``[*sample_shape, b, c, h, w]``; the draws follow torch's global stream. Seen values do not vary."""
        net, count = self.net, torch.Size(sample_shape).numel()
        heard = self.heard.repeat(count, 1, 1, 1)
        c, h, w = net.event_shape
        dtype = torch.int64 if isinstance(net.likelihood, Codes) else heard.dtype
        x = torch.zeros(len(heard), c, h, w, dtype=dtype, device=heard.device)
        kept = None
        if self.seen is not None:
            kept, known = (one.repeat(count, 1, 1, 1) for one in self.seen)
            x = torch.where(kept, known.to(dtype), x)
        before = net.likelihood.units.standardise(x.to(heard.dtype))
        with torch.no_grad():
            for row in range(h):
                for column in range(w):
                    if kept is not None and bool(kept[:, :, row, column].all()):
                        continue
                    drawn = net.law(full_precision(net.net.at(before, row, column, heard))).sample()[..., 0, 0]
                    if kept is not None:
                        drawn = torch.where(kept[:, :, row, column], x[:, :, row, column], drawn.to(dtype))
                    x[:, :, row, column] = drawn
                    before[:, :, row, column] = net.likelihood.units.standardise(
                        drawn[..., None, None].to(before.dtype)
                    )[..., 0, 0]
        return x.reshape(*sample_shape, *self.batch_shape, c, h, w)


class PixelConditional(Conditional[Tensor]):
    """p(x | y).

    Args:
        config: what it is made of.
        event_shape: of x, ``(c, h, w)``.
        units: mean and scale of x, one number each; discrete likelihoods have their own.
        where: of the configuration, for what is said of it.

    Raises:
        ConfigError: x is no image, or the likelihood can't be a pixel's.
    """

    def __init__(
        self,
        config: PixelLawConfig,
        event_shape: tuple[int, ...],
        units: tuple[float, float],
        where: str = "model.decoder",
    ) -> None:
        super().__init__()
        if len(event_shape) != 3:
            raise ConfigError(f"{where}: a pixelcnn makes images (c, h, w), x has shape {event_shape} an item")
        scale = getattr(config.likelihood, "scale", "element")
        if isinstance(config.likelihood, RadialConfig) or scale not in ("element", "fixed", "scalar"):
            raise ConfigError(
                f"{where}: a pixelcnn needs the law of one value at a time: a discrete one, or with "
                f"scale: element, scalar or fixed (got '{config.likelihood.kind}', scale '{scale}')"
            )
        self.config, self.event_shape = config, event_shape
        shape = (event_shape[0], 1, 1)
        self.likelihood = build_likelihood(config.likelihood, shape, Affine(shape, *units))
        self.outputs = self.likelihood.outputs
        self.net = PixelCnn(config.net, event_shape[0], self.outputs, config.heard)

    def forward(self, given: Tensor, context: Context = {}) -> PixelLaw:
        """Return p(x | y); the map y is what is given."""
        return PixelLaw(self, given)

    def law(self, raw: Float[Tensor, "n o"]) -> Distribution:
        """Return the laws of n pixels, event ``[c, 1, 1]``."""
        return self.likelihood(raw)

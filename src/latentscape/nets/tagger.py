r"""Nets that listen: convolutional layers with names, whose activations can be looked into, and one vector at the end.

Letters: b rows, f features a frame (bands, or 1 for a wave), t frames, w width of the vector.

Two families, one of them with and without layers in front:

* *temporal* (Dieleman and Schrauwen 2014, section 3): convolutions along time, the features of a frame as channels,
  each followed by a rectifier and max-pooling, then dense layers. Over log-mels it is their spectrogram net; with a
  ``front``, a strided convolution that learns its own frames, it is their end-to-end net on the raw wave. With
  ``patches``, its first layer sees a few bands and frames at a time, by filters that are alike at every pitch (as
  the shared filters of Pons et al. 2017), and gives the places along the bands to the layers along time as channels.
* *chunk* (the short-chunk CNN with residual blocks of Won et al. 2020): features and time as a picture, blocks

.. math:: h \leftarrow \mathrm{pool}_2\big(\mathrm{relu}(N W_2\, \mathrm{relu}(N W_1 h) + N S h)\big)

  with N batch normalisation and S the identity (a 1 x 1 convolution where the number of channels changes), then the
  mean and the greatest value over what is left of the picture.

Layers up to the last picture take sound of any length. A temporal net with ``pooling: flat`` reads every place of its
last layer with weights of its own, as in 2014, so that its vector needs the length it was built for.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.nets.conv import draw_weights
from latentscape.nets.mlp import initialise


class FrontConfig(Record):
    """The layer that learns its own frames of a raw wave.

    Attributes:
        channels: filters.
        length: of a filter, samples.
        stride: samples from frame to frame.
    """

    channels: PositiveInt = 128
    length: PositiveInt = 256
    stride: PositiveInt = 256


class PatchesConfig(Record):
    """A layer of filters that see a few bands and frames of a spectrogram, alike wherever they lie.

    Attributes:
        channels: filters.
        bands: of a filter.
        frames: of a filter.
        stride: bands and frames from place to place.
    """

    channels: PositiveInt = 24
    bands: PositiveInt = 8
    frames: PositiveInt = 5
    stride: tuple[PositiveInt, PositiveInt] = (4, 2)


class TemporalConfig(Record):
    """A net along time; see the module.

    Attributes:
        front: of a raw wave; ``None`` where x has frames already.
        patches: of a spectrogram; ``None`` where the first convolution sees all bands at once.
        channels: of each convolution.
        kernel: frames.
        pool: frames that become one after each convolution.
        pooling: ``flat`` reads every place of the last layer, ``global`` its mean and greatest value over time.
        dense: width of the vector.
        dropout: before the dense layer, in training.
    """

    kind: Literal["temporal"] = "temporal"
    front: FrontConfig | None = None
    patches: PatchesConfig | None = None
    channels: tuple[PositiveInt, ...] = Field((32, 32), min_length=1)
    kernel: PositiveInt = 8
    pool: PositiveInt = 4
    pooling: Literal["flat", "global"] = "flat"
    dense: PositiveInt = 100
    dropout: float = Field(0.0, ge=0, lt=1)


class ChunkConfig(Record):
    """Residual blocks over a picture; see the module.

    Attributes:
        channels: of each block; every block halves both axes, as far as there is anything to halve.
        dense: width of the vector.
        dropout: before the dense layer, in training.
    """

    kind: Literal["chunk"] = "chunk"
    channels: tuple[PositiveInt, ...] = Field((16, 32, 64, 96), min_length=1)
    dense: PositiveInt = 128
    dropout: float = Field(0.0, ge=0, lt=1)


TaggerNetConfig = Annotated[TemporalConfig | ChunkConfig, Field(discriminator="kind")]


class TaggerNet(nn.Module):
    """Named layers, then one vector.

    Args:
        stages: layers by name, one after the other; they take any length of time.
        flat: whether the vector needs the length that the net was built for.
        example: zeros of x's shape with one row, to find sizes by.
        dense: w.
        dropout: before the dense layer.
    """

    def __init__(
        self, stages: dict[str, nn.Module], flat: bool, example: Float[Tensor, "1 f t"], dense: int, dropout: float
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(stages)
        self.flat, self.width = flat, dense
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            inputs = self._pooled(list(self.eval().activations(example).values())[-1]).shape[1]
        self.train()
        self.dense = initialise(nn.Linear(inputs, dense), gain=2**0.5)

    def activations(self, x: Float[Tensor, "b f t"]) -> dict[str, Tensor]:
        """Return what every named layer gives, ``[b, c, t]`` or ``[b, c, f, t]``, of any length of sound."""
        found: dict[str, Tensor] = {}
        h = x
        for name, stage in self.stages.items():
            h = found[name] = stage(h)
        return found

    def forward(self, x: Float[Tensor, "b f t"]) -> Float[Tensor, "b w"]:
        """Return the vector."""
        h = x
        for stage in self.stages.values():
            h = stage(h)
        return torch.relu(self.dense(self.dropout(self._pooled(h))))

    def _pooled(self, h: Tensor) -> Float[Tensor, "b i"]:
        if self.flat:
            return h.flatten(1)
        places = h.flatten(2)
        return torch.cat((places.mean(2), places.amax(2)), 1)


class Block(nn.Module):
    """A residual block that halves the picture (see the module)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv2d(inputs, channels, 3), _conv2d(channels, channels, 3)
        self.skip = _conv2d(inputs, channels, 1) if inputs != channels else nn.Identity()

    def forward(self, h: Float[Tensor, "b c f t"]) -> Float[Tensor, "b d g u"]:
        """Return the picture at half the size; an axis of one place stays."""
        h = torch.relu(self.second(torch.relu(self.first(h))) + self.skip(h))
        return nn.functional.max_pool2d(h, [min(2, size) for size in h.shape[2:]])


class Picture(nn.Module):
    """Features and time as a picture of one channel, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Float[Tensor, "b f t"]) -> Float[Tensor, "b 1 f t"]:
        """Return the picture."""
        return self.norm(x.unsqueeze(1))


class Patches(nn.Module):
    """Filters over a picture, normalised and rectified; its bands become channels."""

    def __init__(self, config: PatchesConfig) -> None:
        super().__init__()
        self.picture = Picture()
        shape = (config.bands, config.frames)
        conv = nn.Conv2d(1, config.channels, shape, config.stride, (config.bands // 2, config.frames // 2))
        self.conv = nn.Sequential(draw_weights(conv, 1), nn.BatchNorm2d(config.channels))

    def forward(self, x: Float[Tensor, "b f t"]) -> Float[Tensor, "b c u"]:
        """Return the frames that are left."""
        return torch.relu(self.conv(self.picture(x))).flatten(1, 2)


class Pooled(nn.Module):
    """A convolution along time, normalised and rectified; the greatest of every ``pool`` frames."""

    def __init__(self, inputs: int, channels: int, kernel: int, pool: int) -> None:
        super().__init__()
        self.conv = draw_weights(nn.Conv1d(inputs, channels, kernel, padding=kernel // 2), 1)
        self.norm = nn.BatchNorm1d(channels)
        self.pool = pool

    def forward(self, h: Float[Tensor, "b c t"]) -> Float[Tensor, "b d u"]:
        """Return the frames that are left."""
        h = torch.relu(self.norm(self.conv(h)))
        return nn.functional.max_pool1d(h, min(self.pool, h.shape[2]))


def _conv2d(inputs: int, channels: int, kernel: int) -> nn.Sequential:
    conv = draw_weights(nn.Conv2d(inputs, channels, kernel, padding=kernel // 2), 1)
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


def _front(config: FrontConfig) -> nn.Sequential:
    conv = draw_weights(nn.Conv1d(1, config.channels, config.length, config.stride), 1)
    return nn.Sequential(conv, nn.BatchNorm1d(config.channels), nn.ReLU())


def build_tagger_net(config: TemporalConfig | ChunkConfig, event_shape: tuple[int, ...]) -> TaggerNet:
    """Return the net that a record describes.

    Raises:
        ConfigError: it does not fit the shape of x.
    """
    if len(event_shape) != 2:
        raise ConfigError(f"net {config.kind}: x has shape {event_shape} an item, expected (features, frames)")
    example = torch.zeros(1, *event_shape)
    stages: dict[str, nn.Module] = {}
    if isinstance(config, ChunkConfig):
        stages["picture"] = Picture()
        for index, (inputs, channels) in enumerate(zip((1, *config.channels), config.channels, strict=False), start=1):
            stages[f"block{index}"] = Block(inputs, channels)
        return TaggerNet(stages, False, example, config.dense, config.dropout)
    inputs = event_shape[0]
    if config.front is not None:
        if inputs != 1 or event_shape[1] < config.front.length:
            raise ConfigError(
                f"net temporal: its front of {config.front.length} samples got x of shape {event_shape}, expected a "
                "raw wave of one channel that is at least as long (representation: {kind: waveform})"
            )
        stages["front"] = _front(config.front)
        inputs = config.front.channels
    if config.patches is not None:
        if inputs < config.patches.bands or config.front is not None:
            raise ConfigError(
                f"net temporal: its patches of {config.patches.bands} bands got x of shape {event_shape}"
                f"{' and a front' if config.front else ''}, expected a spectrogram of at least as many bands, no front"
            )
        stages["patches"] = Patches(config.patches)
        with torch.no_grad():
            inputs = stages["patches"].eval()(example).shape[1]
        stages["patches"].train()
    for index, channels in enumerate(config.channels, start=1):
        stages[f"conv{index}"] = Pooled(inputs, channels, config.kernel, config.pool)
        inputs = channels
    return TaggerNet(stages, config.pooling == "flat", example, config.dense, config.dropout)

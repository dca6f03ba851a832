"""The unions of representation, model and objective configurations, and what builds them: all that loading a run needs.

To add a member, write its file and add one row here; the law tests walk these unions, so the row enrols it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from torch import Tensor

from latentscape.core.config import Record
from latentscape.models.adversary import WaeGan, WaeGanConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.autoregressive import Autoregressive, AutoregressiveConfig
from latentscape.models.heard import CodesConfig, TimedConfig
from latentscape.models.hierarchy import Hierarchy, HierarchyConfig
from latentscape.models.linear import Ppca, PpcaConfig
from latentscape.models.model import Model, Objective
from latentscape.models.objectives import (
    Elbo,
    ElboConfig,
    Reconstruction,
    ReconstructionConfig,
    WaeMmd,
    WaeMmdConfig,
)
from latentscape.models.perceptual import Perceptual, PerceptualConfig
from latentscape.models.samplernn import Recurrent, RecurrentConfig
from latentscape.models.tagger import Tagger, TaggerConfig
from latentscape.models.vlae import Vlae, VlaeConfig
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.multiscale import spectral_view
from latentscape.signal.nsgt import LogNsgt, LogNsgtConfig, Nsgt, NsgtConfig
from latentscape.signal.pitch import PitchConfig
from latentscape.signal.representation import Representation
from latentscape.signal.stft import LogStft, LogStftConfig, Stft, StftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

REPRESENTATIONS: dict[type[Record], type[Representation]] = {
    WaveformConfig: Waveform,
    MuLawConfig: MuLaw,
    StftConfig: Stft,
    LogStftConfig: LogStft,
    LogMelConfig: LogMel,
    NsgtConfig: Nsgt,
    LogNsgtConfig: LogNsgt,
}
MODELS: dict[type[Record], type[Model]] = {
    AutoencoderConfig: Autoencoder,
    PpcaConfig: Ppca,
    AutoregressiveConfig: Autoregressive,
    RecurrentConfig: Recurrent,
    HierarchyConfig: Hierarchy,
    VlaeConfig: Vlae,
    TaggerConfig: Tagger,
}
OBJECTIVES: dict[type[Record], type[Objective]] = {
    ElboConfig: Elbo,
    ReconstructionConfig: Reconstruction,
    WaeMmdConfig: WaeMmd,
    WaeGanConfig: WaeGan,
    PerceptualConfig: Perceptual,
}

RepresentationConfig = Annotated[
    WaveformConfig | MuLawConfig | StftConfig | LogStftConfig | LogMelConfig | NsgtConfig | LogNsgtConfig,
    Field(discriminator="kind"),
]
ModelConfig = Annotated[
    AutoencoderConfig
    | PpcaConfig
    | AutoregressiveConfig
    | RecurrentConfig
    | HierarchyConfig
    | TaggerConfig
    | VlaeConfig,
    Field(discriminator="kind"),
]
ObjectiveConfig = Annotated[
    ElboConfig | ReconstructionConfig | WaeMmdConfig | WaeGanConfig | PerceptualConfig, Field(discriminator="kind")
]
LocalConfig = Annotated[LogMelConfig | PitchConfig | TimedConfig | CodesConfig, Field(discriminator="kind")]
"""What a model of waves hears beside its past (:mod:`latentscape.instrument.hearing`)."""


Joining = Literal["plain", "fade", "aligned"]


class Window(Record):
    """How x is cut from features, and joined again: in feature steps (frames, or samples of a waveform).

    Length 1 gives x of shape ``(f,)``, a frame; a longer one ``(f, length)``, a patch or a raw window.

    Attributes:
        join: how windows that a path is decoded to become one sound: put one after the other (``plain``), cross-faded
            where they overlap (``fade``), or moved into phase with one another first (``aligned``, raw windows only).
            Left out: ``aligned`` for raw windows, else ``fade``.
        overlap: the share of a window that the next one takes part in, where they are joined. Left out: half, or as
            much as in training where that is more. Less leaves more of a window to itself, and less time to change.
    """

    length: int = Field(1, ge=1)
    hop: int = Field(1, ge=1)
    join: Joining | None = None
    overlap: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _overlaps(self) -> "Window":
        if self.overlap is not None and (self.length == 1 or self.join == "plain"):
            raise ValueError(f"an overlap of windows longer than 1 that are not joined plain (got {self.overlap:g})")
        return self

    def event_shape(self, frame_size: int) -> tuple[int, ...]:
        """Return the shape of x cut from features of ``frame_size`` values a step."""
        return (frame_size,) if self.length == 1 else (frame_size, self.length)


class SpaceConfig(Record):
    """What a run is made of: enough to load it.

    Attributes:
        representation: of sound; ``None`` for images.
        window: how x is cut from features.
        local: what a model of waves hears beside its past; a name alone stands for its defaults, such as ``[pitch]``.
        model: of x.
        objective: what training minimises.
    """

    representation: RepresentationConfig | None = None
    window: Window = Window()
    local: tuple[LocalConfig, ...] = ()
    model: ModelConfig = AutoencoderConfig()
    objective: ObjectiveConfig = ElboConfig()

    @field_validator("local", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return [{"kind": one} if isinstance(one, str) else one for one in value] if isinstance(value, list) else value


def makes_waves(kind: str | None) -> bool:
    """Return whether models of a kind have no latent space, and make waves by themselves."""
    waves = [config for config, model in MODELS.items() if issubclass(model, Autoregressive)]
    return kind in [config.model_fields["kind"].default for config in waves]


def counts_present(config: Any) -> bool:
    """Return whether a model of sound is told which samples count (``present`` in its context)."""
    return isinstance(config, AutoregressiveConfig | VlaeConfig)


def build_representation(config: Any) -> Representation:
    """Return the representation that a record of the union describes."""
    return REPRESENTATIONS[type(config)](config)


def build_model(
    config: Any,
    event_shape: tuple[int, ...],
    vocabulary: Mapping[str, int],
    units: tuple[Tensor, Tensor] | None = None,
) -> Model:
    """Return the model that a record of the union describes.

    Args:
        config: a record of ``ModelConfig``.
        event_shape: shape of x.
        vocabulary: number of values of every label that may be a condition.
        units: mean and scale of x, broadcastable to ``event_shape``; ``None`` leaves them 0 and 1 (a run being loaded
            finds them in its weights).
    """
    build: Any = MODELS[type(config)]
    return build(config, event_shape, vocabulary, units)


def build_objective(config: Any, model: Model) -> Objective:
    """Return the objective that a record of the union describes; what it knows of the model is handed to it.

    So is what it sees of sound, which the room of models knows nothing of.
    """
    build: Any = OBJECTIVES[type(config)]
    spectral = getattr(config, "spectral", None)
    return build(config, model, **({} if spectral is None else {"view": spectral_view(spectral.windows)}))

"""Lossy auto-encoders of random weights, at 8 kHz, that hear what they are told."""

import torch

from latentscape.instrument.map import latent_map
from latentscape.instrument.streamed import Streamed
from latentscape.models.vlae import Vlae, VlaeConfig
from latentscape.registry import Window
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

RATE, LATENT = 8000, 3
NET = {"residual": 8, "skip": 8, "dilations": (1, 2, 4)}
CODES = {"kind": "categorical", "levels": 16}
KINDS = {
    "codes": {"length": 640},
    "values": {"length": 512, "reads": "values", "likelihood": {"kind": "gaussian", "scale": "element"}},
    "slow": {"length": 1024, "hop": 512},
    "slow-quick": {"length": 512, "hop": 64},
    "slow-uneven": {"length": 1152, "hop": 384},
}


def streamed(kind: str = "codes") -> Streamed:
    facts = KINDS[kind]
    torch.manual_seed(2)
    slow = {"width": 2, "hop": facts["hop"], "hidden": 8} if "hop" in facts else None
    law = {"kind": "wavenet", "net": NET, "likelihood": facts.get("likelihood", CODES)}
    config = VlaeConfig.model_validate(
        {
            "latent": LATENT, "slow": slow, "condition": ("voice",), "prior": {"kind": "flow", "layers": 2, "width": 8},
            "encoder": {"kind": "ear", "frame": 64, "hop": 32, "channels": (8,), "dense": 8},
            "decoder": law | {"reads": facts.get("reads", "codes")},
        }
    )  # fmt: skip
    window = Window(length=facts["length"], hop=facts["length"])
    sound = (
        Waveform(WaveformConfig(sample_rate=RATE)) if kind == "values" else MuLaw(MuLawConfig(sample_rate=RATE, mu=15))
    )
    model = Vlae(config, window.event_shape(sound.frame_size), {"voice": 2}).eval()
    with torch.no_grad():  # what is told and heard is to matter
        net = model.decoder.net
        net.head[1].weight.mul_(20)
        net.tell.weight.mul_(5)
        if net.hear is not None:
            net.hear.weight.mul_(5)
            net.upsampler.widen.bias.normal_(0, 0.3)
    dim = sum(torch.Size(shape).numel() for shape in model.latent_shapes)
    chart = latent_map(torch.randn(20, dim), {}, names=[f"note {n}" for n in range(20)])
    return Streamed(model, sound, window, {"voice": ("low", "high")}, chart, name="lossy")

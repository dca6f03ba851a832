"""A small run: a random model of four latents that is told pitches, at 8 kHz; and servers of it."""

import asyncio
import contextlib
import threading
import time

import torch
import uvicorn

from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.models.autoencoder import AutoencoderConfig
from latentscape.play.guard import Doors
from latentscape.play.server import bind, build_app, settings
from latentscape.registry import build_model
from latentscape.signal.stft import LogStft, LogStftConfig

RATE, HOP, DIM, PORT = 8000, 64, 4, 8137
VOCABULARY = {"midi": ("48", "60", "72"), "dynamics": ("soft", "loud")}


def make_instrument(condition=("midi",)):
    torch.manual_seed(3)
    sound = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=HOP))
    vocabulary = {name: VOCABULARY[name] for name in condition}
    config = AutoencoderConfig(
        latent=DIM,
        encoder={"kind": "mlp", "widths": [16]},
        decoder={"kind": "mlp", "widths": [16]},
        condition=condition,
    )
    level = torch.linspace(10, -60, sound.frame_size)
    units = (level, torch.full((sound.frame_size,), 20.0))
    model = build_model(config, (sound.frame_size,), {name: len(v) for name, v in vocabulary.items()}, units).eval()
    codes = torch.randn(60, DIM) * torch.tensor([2.0, 1.0, 0.5, 0.2])
    labels = {"midi": [str(40 + n) for n in range(60)]}
    chart = latent_map(codes, labels, names=[f"folder/note {n}" for n in range(60)])
    return Instrument(model, sound, vocabulary=vocabulary, chart=chart, name="small")


@contextlib.contextmanager
def served(stage, token=None):
    """A real server on a free port, in a thread; yields its port."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = uvicorn.Server(settings(build_app(stage, Doors("127.0.0.1", port, token))))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive()

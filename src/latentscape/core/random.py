"""Random streams that are functions of names, never of history.

A stream is derived from a tuple of keys (seed, purpose, step ...) by hashing, so that any draw can be repeated without
replaying the draws before it. This is what makes resuming a run exact: the batch and the noise of step ``s`` depend on
``(seed, s)`` alone.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

Key = int | str


def seed_of(*keys: Key) -> int:
    """Return a 63-bit seed that depends on every key and on their order, the same on every machine."""
    text = "\x1f".join(f"{type(key).__name__}:{key}" for key in keys)
    return (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little") >> 1
    )


def torch_stream(*keys: Key, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator seeded with the keys."""
    return torch.Generator(device=device).manual_seed(seed_of(*keys))


def numpy_stream(*keys: Key) -> np.random.Generator:
    """Return a numpy generator seeded with the keys."""
    return np.random.default_rng(seed_of(*keys))


@contextmanager
def seeded(*keys: Key, device: torch.device | str = "cpu") -> Iterator[None]:
    """Within, torch's global draws (those of ``torch.distributions``) follow the keys; afterwards all is as before."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_all(seed_of(*keys), device)
        yield


def seed_all(seed: int, device: torch.device) -> None:
    """Seed the global generators of the CPU and of ``device``.

    ``torch.manual_seed`` would do, but it visits every kind of accelerator, formats a stack trace for each that is
    built in and unused, and takes a hundred times as long.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)

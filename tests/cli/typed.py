"""The shell as a person types it, and the settings of a run that takes seconds."""

from latentscape.cli import main

TINY = [
    "--set", "model.encoder.widths=[16]", "--set", "model.decoder.widths=[16]", "--set", "model.latent=3",
    "--set", "train.minutes=null", "--set", "train.max_steps=40", "--set", "train.validate_every=20", "--set", "train.batch_size=16",
    "--set", "train.threads=1", "--set", "train.precision=32", "--set", "data.pool_seconds=4", "--set", "train.tensorboard=false",
]  # fmt: skip
RATE = 8000


def shell(*arguments: object) -> int:
    """Run the shell in this process; return its exit code."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0

r"""Three questions that a journal of raw-waveform auto-encoders left open.

    python benchmarks/raw_questions.py OUT [--source phrases:30:notes] [--steps 500]

Every model is `raw-continuous-small` (2 s windows, 20 latents, 400 units) with what its name says, trained for the same
steps into ``OUT``; a run that is there is not trained again.

* Does a larger encoder alone make better samples? The bound on training and held-out windows (nats a sample), the
  *perfect encoder*: the same decoder, but mean and deviation of every window's code fitted to it by gradient, how
  much of the sound the decoder's mean explains from each (dB), and draws from the prior: their level beside the
  corpus's (dB) and their flatness (dB).
* Why is a sample no cheaper at 4 kHz? Of the corpus at both rates: its power a sample (dBFS), what silence costs (a
  normal law of that power), what a sample costs by linear prediction from 32 samples of its past, and the model's
  bound (nats a sample, and a second).
* Where does the posterior's mass lie? Along every latent of each model: deviation of the posteriors' means, mean
  deviation of a posterior, and the share of draws within 0.3 of the origin (a standard normal has 0.24); and the
  level of what is decoded along diagonals, by their distance from the origin along each latent (dB above that at the
  origin).
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from raw import level, quiet, show
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from latentscape.core.storage import save_json
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import Request
from latentscape.experiment.train import brought_to_end
from latentscape.instrument.loading import load
from latentscape.instrument.reference import held_part
from latentscape.measure.curves import curves_of
from latentscape.models.autoencoder import Autoencoder
from latentscape.models.bounds import evaluating

RECIPE = "raw-continuous-small"
SLOW = ("window.length=8000", "window.hop=2000")
MEMBERS: dict[str, tuple[int, tuple[str, ...]]] = {
    "400 / 400": (16000, ()),
    "2000 / 400": (16000, ("model.encoder.widths=[2000]",)),
    "400, 400, 400 / 400": (16000, ("model.encoder.widths=[400,400,400]",)),
    "400 / 2000": (16000, ("model.decoder.widths=[2000]",)),
    "400 / 400 at 4 kHz": (4000, SLOW),
}
"""Name (units of encoder / decoder) -> sample rate, Hz, and what is set."""
WINDOWS, DRAWS = 64, 16
PAST = 32
FITTING, RATE = 150, 0.03
RADII = (0.0, 0.3, 1.0, 2.0, 4.0)


def trained(out: Path, source: str, name: str, steps: int) -> Path:
    rate, sets = MEMBERS[name]
    run = out / name.replace(" / ", "-").replace(", ", "+").replace(" ", "-")
    length = (f"train.max_steps={steps}", "train.minutes=null", "train.tensorboard=false", "train.threads=1")
    if not brought_to_end(Request(source, run, RECIPE, (*sets, *length), rate=rate), quiet):
        raise SystemExit(f"stopped; the same command goes on with {run}")
    return run


def windows(run: Path) -> tuple[Tensor, Tensor]:
    """Return training and held-out windows, ``[n, 1, samples]``, that are not silent."""
    with open_run(run).examples as examples:
        parts = []
        for part in ("train", held_part(examples)):
            x = torch.cat([batch[0] for batch in examples.held(part, WINDOWS, WINDOWS)])
            parts.append(x[x.square().mean((1, 2)) > 1e-8])
    return parts[0], parts[1]


def posterior(model: Autoencoder, x: Tensor) -> Normal:
    q = model.encoder(x)
    return Normal(q.mean, q.stddev)


def rates(q: Normal) -> Tensor:
    """Return the rate of every latent of every window, nats."""
    return kl_divergence(q, Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)))


def bound(model: Autoencoder, x: Tensor, q: Normal, draws: int) -> Tensor:
    """Return the bound of every window under posteriors q, nats, its distortion over ``draws`` draws."""
    z = q.rsample((draws,))
    told = model.decode((z.flatten(0, 1),)).log_prob(x.repeat(draws, 1, 1)).view(draws, -1).mean(0)
    return told - rates(q).sum(1)


def fitted(model: Autoencoder, x: Tensor) -> Normal:
    """Return posteriors fitted to the windows by gradient, begun at the encoder's."""
    with torch.no_grad():
        begun = posterior(model, x)
    mean, log_deviation = (
        torch.nn.Parameter(value.clone()) for value in (begun.mean, begun.stddev.clamp_min(1e-4).log())
    )
    optimiser = torch.optim.Adam([mean, log_deviation], RATE)
    for step in range(FITTING):
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / FITTING)
        loss = -bound(model, x, Normal(mean, log_deviation.exp()), 1).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Normal(mean.detach(), log_deviation.detach().exp())


def explained(x: Tensor, made: Tensor) -> float:
    """Return how much of the power is explained, dB (a signal-to-noise ratio over all windows)."""
    return level(x) - level(x - made)


def encoder_alone(run: Path) -> dict[str, float]:
    instrument = load(run)
    model = instrument.model
    assert isinstance(model, Autoencoder)
    train, held = windows(run)
    samples = held[0].numel()
    torch.manual_seed(0)
    best = fitted(model, held)
    with evaluating(model):
        own = posterior(model, held)
        row = {"train": float(bound(model, train, posterior(model, train), DRAWS).mean()) / samples}
        row |= {"held-out": float(bound(model, held, own, DRAWS).mean()) / samples}
        row |= {"perfect": float(bound(model, held, best, DRAWS).mean()) / samples}
        row |= {"rate": float(rates(own).sum(1).mean())}
        row |= {"explained": explained(held, model.decode((own.mean,)).mean)}
        row |= {"e. perfect": explained(held, model.decode((best.mean,)).mean)}
        made = model.decode((torch.randn(WINDOWS, instrument.dim),)).mean
    assert instrument.representation is not None
    rate = instrument.representation.sample_rate
    row |= {"draws' level": level(made) - level(train), "flatness": flatness(made, rate)}
    return row | {"real": flatness(held, rate)}


def flatness(waves: Tensor, rate: int) -> float:
    """Return the median spectral flatness of what sounds in windows, dB."""
    courses = [curves_of(wave / wave.abs().max(), rate) for wave in waves]
    return float(np.nanmedian(np.concatenate([one.values["flatness"][one.sounding] for one in courses])))


def cost(power: float) -> float:
    """Return nats a sample of a normal law of this power."""
    return 0.5 * math.log(2 * math.pi * math.e * power)


def predicted(train: Tensor, held: Tensor) -> float:
    """Return the power that linear prediction from the past, fitted to the training windows, leaves of the held-out."""

    def past(x: Tensor) -> tuple[Tensor, Tensor]:
        frames = x[:, 0].double().unfold(1, PAST + 1, 1).reshape(-1, PAST + 1)
        return frames[:, :PAST], frames[:, PAST]

    given, value = past(train)
    moments = given.T @ given
    weights = torch.linalg.solve(moments + 1e-9 * moments.trace() * torch.eye(PAST), given.T @ value)
    given, value = past(held)
    return float((value - given @ weights).square().mean())


def cheapness(name: str, run: Path, rows: dict[str, float]) -> dict[str, float]:
    train, held = windows(run)
    power = float(held.square().mean())
    row = {"dBFS": 10 * math.log10(power), "silence": cost(power), "linear prediction": cost(predicted(train, held))}
    return row | {"model": -rows["held-out"], "a second": -rows["held-out"] * MEMBERS[name][0]}


def mass(run: Path) -> dict[str, float]:
    instrument = load(run)
    model = instrument.model
    assert isinstance(model, Autoencoder)
    train, _ = windows(run)
    with evaluating(model):
        q = posterior(model, train)
        used = rates(q).mean(0) > 0.05
        row = {"active": float(used.sum())}
        torch.manual_seed(0)
        draws = q.sample((DRAWS,)).flatten(0, 1)
        for name, which in (("active", used), ("other", ~used)):
            if which.any():
                row |= {f"{name}: means": float(q.mean[:, which].std(0).mean())}
                row |= {f"{name}: own": float(q.stddev[:, which].mean())}
                row |= {f"{name}: < 0.3": float((draws[:, which].abs() < 0.3).double().mean())}
        signs = torch.randn(WINDOWS, instrument.dim).sign()
        levels = [level(model.decode((radius * signs,)).mean) for radius in RADII]
    return row | {f"at {radius:g}": found - levels[0] for radius, found in zip(RADII[1:], levels[1:], strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--source", default="phrases:30:notes")
    parser.add_argument("--steps", type=int, default=500)
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = {name: trained(given.out, given.source, name, given.steps) for name in MEMBERS}
    larger = {name: encoder_alone(run) for name, run in runs.items()}
    both = ("400 / 400", "400 / 400 at 4 kHz")
    tables = {
        "does a larger encoder alone make better samples?": larger,
        "why is a sample no cheaper at 4 kHz?": {name: cheapness(name, runs[name], larger[name]) for name in both},
        "where does the posterior's mass lie?": {name: mass(run) for name, run in runs.items()},
    }
    save_json(given.out / "questions.json", tables)
    for title, table in tables.items():
        show(f"{title} {given.source}, {given.steps} steps", {name: {"": row} for name, row in table.items()})


if __name__ == "__main__":
    main()

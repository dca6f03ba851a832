r"""Whether a latent code is used, and what for: the likelihood with it, with another's, and without.

Letters: x items of m values (samples of sound, pixels), z a draw of q(z | x), z' that of another item, D(z) the
distortion :math:`-\log_2 p(x \mid z)`, R the rate, all in bits a value (sums over items divided by the values counted).

==================  ================================================================================================
``nll_bits``        D(z) + R: an upper bound of what x costs
``shuffle_cost``    D(z') - D(z): what it costs to be told about another item. 0: nobody listens
``no_code_bits``    what x costs without a code: of the same decoder where it was trained to do without
                    (``latent_dropout``), or of a twin, a model without latents at the same receptive field
``gain``            ``no_code_bits`` - D(z): what the code is worth to the decoder
``net_gain``        ``gain`` - R: what is left when the code is paid for. Above 0 the model with a code is the better
                    model; below, the code costs more than it is worth as a description of x
==================  ================================================================================================

Decoding with the true past proves little by itself, since a decoder may take all from there; that is what
``shuffle_cost`` is for, and free-running resynthesis (:mod:`latentscape.experiment.use`). Errors are standard errors of
the mean difference over items, which are paired.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.core.random import seeded, torch_stream
from latentscape.dist.conditional import Context, Latents
from latentscape.measure.latent import ACTIVE_NATS, dimension_rate
from latentscape.measure.measure import Number
from latentscape.measure.recordings import error_of_mean, recordings, sounds
from latentscape.models.autoregressive import PRESENT
from latentscape.models.bounds import evaluating
from latentscape.models.memory import PLACE, Memory
from latentscape.models.model import LatentModel, Model

Batches = Iterable[tuple[Tensor, Context]]
NATS = math.log(2)


@dataclass(frozen=True)
class Costs:
    """What items cost under a model.

    Attributes:
        distortion: nats an item ``[n]``.
        rate: of every layer, nats an item ``[L, n]``; infinite for a deterministic encoder.
        values: counted of every item ``[n]``.
        dimension_rate: mean nats of every latent ``[d]``, layers one after the other; none without latents.
    """

    distortion: Float[Tensor, " n"]
    rate: Float[Tensor, "l n"]
    values: Float[Tensor, " n"]
    dimension_rate: Float[Tensor, " d"]

    @property
    def total(self) -> Float[Tensor, " n"]:
        """Nats an item: the bound, or the likelihood where there are no latents."""
        return self.distortion + self.rate.sum(0)

    def bits(self, nats: Float[Tensor, " n"]) -> float:
        """Return the sum over items, bits a value."""
        return float(nats.sum() / self.values.sum()) / NATS

    def error(self, nats: Float[Tensor, " n"], recording: Int[Tensor, " n"] | None = None) -> float:
        """Return the standard error of :meth:`bits`; see :mod:`latentscape.measure.recordings`."""
        return error_of_mean(nats, recording, self.values) / NATS


def counted(x: Tensor, context: Context) -> Float[Tensor, " b"]:
    """Return how many values of each item count: those that are present."""
    present = context.get(PRESENT)
    if present is None:
        return torch.full((len(x),), float(x[0].numel()), dtype=torch.float64)
    return present.flatten(1).sum(1).double().cpu()


def costs(model: Model, batches: Batches, *, seed: int = 0) -> Costs:
    """Return what the items of some batches ``(x, context)`` cost under a model; a function of the seed.

    Raises:
        DataError: there is no item.
    """
    return _costs(model, batches, seed)[0]


def _costs(model: Model, batches: Batches, seed: int) -> tuple[Costs, list[Latents]]:
    rows: list[tuple[Tensor, ...]] = []
    codes: list[Latents] = []
    memory = Memory()
    with evaluating(model):
        for index, (x, context) in enumerate(batches):
            with seeded("use", seed, index, device=x.device):
                terms = model.terms(x, memory.recall(context))
            memory.keep(terms.after)
            nothing = terms.distortion.new_zeros(len(x), 0)
            each = torch.cat([nothing, *(dimension_rate(layer) for layer in terms.layers)], 1)
            rate = torch.stack([nothing.sum(1), *(rate[0] for rate in terms.rate)], 1)[:, 1:]
            found = (terms.distortion[0], rate, counted(x, context), each)
            rows.append(tuple(value.double().cpu() for value in found))
            codes.append(tuple(layer.z[0].cpu() for layer in terms.layers))
    if not rows:
        raise DataError("costs got no batches, expected at least one item")
    distortion, rate, values, each = (torch.cat(column) for column in zip(*rows, strict=True))
    return Costs(distortion, rate.T, values, each.mean(0)), codes


def bits(model: Model, batches: Batches, *, seed: int = 0) -> dict[str, Number]:
    """Return what a value costs, in bits: distortion, rates and their sum."""
    return _bits(costs(model, batches, seed=seed))


def _bits(own: Costs) -> dict[str, Number]:
    unit = "bits a value"
    numbers = {"distortion_bits": Number(own.bits(own.distortion), unit)}
    if bool(own.rate.isfinite().all()):
        numbers["rate_bits"] = Number(own.bits(own.rate.sum(0)), unit)
        numbers["nll_bits"] = Number(own.bits(own.total), unit)
        if len(own.rate) > 1:
            numbers |= {f"rate_bits_{at}": Number(own.bits(rate), unit) for at, rate in enumerate(own.rate, 1)}
    return numbers


def latent_use(
    model: LatentModel, batches: Batches, *, without: Costs | None = None, seed: int = 0
) -> dict[str, Number]:
    """Return the numbers of the module, and how many latents are active (above 0.05 nat).

    Args:
        model: any model with latents.
        batches: ``(x, context)``; they are gone through twice and held in memory.
        without: what the same items cost a model without a code.
        seed: of the draws.

    Raises:
        DataError: there are fewer than two items, or ``without`` is of others.
    """
    held = list(batches)
    own, codes = _costs(model, held, seed)
    n = len(own.distortion)
    if n < 2:
        raise DataError(f"latent_use got {n} item, expected at least two: one is told the code of another")
    if without is not None and not torch.equal(without.values, own.values):
        raise DataError(f"the model without a code saw {len(without.values)} other items, expected these {n}")
    unit = "bits a value"
    numbers = _bits(own)
    recording = recordings([(len(x), context) for x, context in held])
    layers = tuple(torch.cat(column) for column in zip(*codes, strict=True))
    other = derangement(n, seed)
    shuffled = _decoded(model, held, tuple(z[other] for z in layers)) - own.distortion
    numbers |= {
        "shuffle_cost": Number(own.bits(shuffled), unit),
        "shuffle_cost_error": Number(own.error(shuffled, recording), unit),
    }
    for at in range(len(layers) if len(layers) > 1 else 0):
        mixed = tuple(z[other] if one == at else z for one, z in enumerate(layers))
        cost = _decoded(model, held, mixed) - own.distortion
        numbers[f"shuffle_cost_{at + 1}"] = Number(own.bits(cost), unit)
    bare = None if without is None else without.total
    if bare is None and getattr(getattr(model, "config", None), "latent_dropout", 0):
        bare = _decoded(model, held, tuple(torch.full_like(z, math.nan) for z in layers))
    if bare is not None:
        gain = bare - own.distortion
        numbers |= {"no_code_bits": Number(own.bits(bare), unit), "gain": Number(own.bits(gain), unit)}
        if "nll_bits" in numbers:
            net = bare - own.total
            numbers["net_gain"] = Number(own.bits(net), unit)
            numbers["net_gain_error"] = Number(own.error(net, recording), unit)
    numbers["latents"] = Number(float(len(own.dimension_rate)), "")
    if own.dimension_rate.isfinite().all():
        numbers["active_latents"] = Number(float((own.dimension_rate > ACTIVE_NATS).sum()), "")
    return numbers


def condition_use(model: Model, batches: Batches, names: Sequence[str], *, seed: int = 0) -> dict[str, Number]:
    """Return what each condition is worth: bits a value more for another item's (``swap_``) or for none (``told_``).

    A deterministic encoder's rate is infinite whatever it is told: there it is the distortion that costs more. Errors
    are over recordings.

    Args:
        model: any model that reads labels, vectors or series of the context.
        batches: ``(x, context)``; they are gone through three times a condition and held in memory. Windows that
            follow one another are told the same other item's.
        names: of the conditions.
        seed: of the draws, the same for every cost.
    """
    held = list(batches)
    own = costs(model, held, seed=seed)
    finite = bool(own.rate.isfinite().all())
    first, sound = sounds([(len(x), context.get(PLACE)) for x, context in held])
    recording = recordings([(len(x), context) for x, context in held])
    numbers: dict[str, Number] = {}
    for name in names:
        if any(name not in context for _, context in held):
            continue
        codes = torch.cat([context[name].cpu() for _, context in held])
        if len(first) < 2 or len(codes.unique(dim=0)) < 2:
            continue
        unknown = math.nan if codes.is_floating_point() else -1
        swapped = codes[first][derangement(len(first), seed)][sound]
        moved = {"swap": swapped, "told": torch.full_like(codes, unknown)}
        for kind, other in moved.items():
            parts = other.split([len(x) for x, _ in held])
            told = [(x, {**context, name: part.to(x.device)}) for (x, context), part in zip(held, parts, strict=True)]
            again = costs(model, told, seed=seed)
            worth = again.total - own.total if finite else again.distortion - own.distortion
            numbers[f"{kind}_{name}"] = Number(own.bits(worth), "bits a value")
            numbers[f"{kind}_{name}_error"] = Number(own.error(worth, recording), "bits a value")
    return numbers


def ignored(numbers: Mapping[str, Number]) -> list[str]:
    """Return the labels that a model does not listen to: another's costs no more than two standard errors."""
    names = [name.removeprefix("swap_") for name in numbers if name.startswith("swap_") and not name.endswith("_error")]
    return [name for name in names if numbers[f"swap_{name}"].value <= 2 * numbers[f"swap_{name}_error"].value]


def _decoded(model: LatentModel, batches: Batches, z: Latents) -> Float[Tensor, " n"]:
    """Return the distortion of items under given codes, nats."""
    found, start = [], 0
    with evaluating(model):
        for x, context in batches:
            rows = tuple(layer[start : start + len(x)].to(x.device) for layer in z)
            found.append(-model.decode(rows, context).log_prob(x).double().cpu())
            start += len(x)
    return torch.cat(found)


def derangement(n: int, seed: int) -> Int[Tensor, " n"]:
    """Return a permutation of n that leaves nothing in its place: one cycle through all in random order."""
    order = torch.randperm(n, generator=torch_stream("derangement", n, seed))
    found = torch.empty_like(order)
    found[order] = order.roll(1)
    return found

r"""What every layer of a hierarchy does, told apart.

Letters: x items, z_l the code of layer l (1 at the top), :math:`\bar z` the code at the posterior means, D distortion,
R_l rate of layer l (nats an item), train and valid the parts of the data, n values of x, s the deviation of x's values.

* rate R_l, and *active* latents of the layer: those above 0.05 nat
* change: how much the output moves when this layer alone is drawn anew from :math:`p(z_l \mid \bar z_{<l})`, the other
  layers held: :math:`\sqrt{E \|\hat x(\bar z) - \hat x(\bar z_{-l}, z_l)\|^2 / (n s^2)}`, with :math:`\hat x` the mean
  of p(x | z), or, where x is drawn value after value, of every value given the true ones before it. 0: nobody listens
  to the layer.
* gap: :math:`R_l^{\text{valid}} - R_l^{\text{train}}`, and :math:`D^{\text{valid}} - D^{\text{train}}` of the output.
  They sum to the gap between the evidence bounds, so each is the share of over-fitting that shows there. Both parts are
  seen unaugmented, in evaluation mode, with the same noise.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from latentscape.core.errors import DataError
from latentscape.core.random import seeded
from latentscape.dist.conditional import Context, point
from latentscape.measure.latent import ACTIVE_NATS, dimension_rate
from latentscape.models.bounds import evaluating
from latentscape.models.model import LatentModel
from latentscape.models.pixels import PixelLaw

Batches = Iterable[tuple[Tensor, Context]]


@dataclass(frozen=True)
class Layers:
    """What :func:`look` saw of a part of the data; tuples go from the top layer to the bottom.

    Attributes:
        distortion: nats an item.
        rate: of every layer, nats an item.
        active: latents above 0.05 nat.
        latents: of every layer.
        change: of the output, in deviations of x.
    """

    distortion: float
    rate: tuple[float, ...]
    active: tuple[int, ...]
    latents: tuple[int, ...]
    change: tuple[float, ...]


def look(model: LatentModel, batches: Batches, *, seed: int = 0) -> Layers:
    """Return what the layers of a model do with the items of some batches.

    Raises:
        DataError: there is no item.
    """
    distortion, count, moment, total, square = 0.0, 0, 0, 0.0, 0.0
    rates: list[Tensor] = []
    moved = torch.zeros(len(model.latent_shapes), dtype=torch.float64)
    with evaluating(model):
        for index, (x, context) in enumerate(batches):
            with seeded("look", seed, index, device=x.device):
                terms = model.terms(x, context)
                code = model.encode(x, context)
                before = _output(model.decode(code, context), x)
                for layer in range(len(code)):
                    clamp = [None if one == layer else z for one, z in enumerate(code)]
                    again = model.generate(len(x), context, clamp=clamp)
                    after = _output(model.decode(again, context), x)
                    moved[layer] += (after - before).square().sum().cpu()
            distortion += float(terms.distortion[0].double().sum())
            rates.append(torch.cat([dimension_rate(layer).double().sum(0) for layer in terms.layers]).cpu())
            values = x.double()
            total, square = total + float(values.sum()), square + float(values.square().sum())
            count, moment = count + len(x), moment + x.numel()
    if not count:
        raise DataError("look got no batches, expected at least one item")
    sizes = tuple(torch.Size(shape).numel() for shape in model.latent_shapes)
    each = (torch.stack(rates).sum(0) / count).split(sizes)
    variance = max(square / moment - (total / moment) ** 2, 1e-12)
    return Layers(
        distortion=distortion / count,
        rate=tuple(float(rate.sum()) for rate in each),
        active=tuple(int((rate > ACTIVE_NATS).sum()) for rate in each),
        latents=sizes,
        change=tuple((moved / moment / variance).sqrt().tolist()),
    )


def _output(law: Distribution, x: Tensor) -> Tensor:
    """Return what p(x | z) expects."""
    return (law.told(x) if isinstance(law, PixelLaw) else point(law)).double()


def diagnose(model: LatentModel, train: Batches, valid: Batches, *, seed: int = 0) -> dict[str, float]:
    """Return the numbers of both parts side by side: ``rate_l`` and so on of valid, ``train_rate_l``, ``gap_l``.

    The gap of the distortion is ``gap_distortion``. Layers are counted from 1 at the top.
    """
    seen, unseen = look(model, train, seed=seed), look(model, valid, seed=seed)
    numbers = {
        "train_distortion": seen.distortion,
        "gap_distortion": unseen.distortion - seen.distortion,
    }
    for layer in range(len(unseen.rate)):
        own = f"_{layer + 1}"
        numbers |= {
            f"rate{own}": unseen.rate[layer],
            f"train_rate{own}": seen.rate[layer],
            f"gap{own}": unseen.rate[layer] - seen.rate[layer],
            f"active{own}": float(unseen.active[layer]),
            f"train_active{own}": float(seen.active[layer]),
            f"latents{own}": float(unseen.latents[layer]),
            f"change{own}": unseen.change[layer],
            f"train_change{own}": seen.change[layer],
        }
    return numbers

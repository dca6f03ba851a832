"""What every Conditional obeys: samples agree with the density, gradients arrive, weights are kept."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from latentscape.core.storage import load_tensors, load_weights, save_tensors


def check_distribution(p: Distribution, *, draws: int = 4000, errors: float = 5.0) -> None:
    r"""Check that samples of ``p`` agree with its density, whatever its family.

    For any two densities, :math:`E_p[\log p(x)] = -H(p)`. Where the entropy is known, the mean log density of own
    samples is compared with it. For real events of at most 8 values, the density is also integrated by importance
    sampling from a wider law r around the samples: :math:`E_r[p(x) / r(x)] = 1`.

    Args:
        p: any distribution with float or integer events.
        draws: samples.
        errors: standard errors of disagreement that are allowed.

    Raises:
        AssertionError: says what disagrees, and by how much.
    """
    with torch.no_grad():
        x = p.sample((draws,))
        own = p.log_prob(x)
    assert x.shape == (draws, *p.batch_shape, *p.event_shape), f"samples have shape {tuple(x.shape)}"
    assert own.shape == (draws, *p.batch_shape), f"log_prob has shape {tuple(own.shape)}, not {(draws, *p.batch_shape)}"
    if not bool(own.isfinite().all()):
        raise AssertionError("a sample has no finite density under the law that drew it")
    try:
        entropy = p.entropy()
    except NotImplementedError:
        entropy = None
    if entropy is not None:
        spread = own.double().std(0) / draws**0.5
        gap = (own.double().mean(0) + entropy.double()).abs()
        worst = (gap - errors * spread - 1e-4 * (1 + entropy.abs())).max()
        assert worst <= 0, f"mean log density of own samples is {float(gap.max()):.4g} nats off the entropy"
    if x.is_floating_point() and p.event_shape.numel() <= 8:
        _check_mass(p, x, draws, errors)


def _check_mass(p: Distribution, x: Tensor, draws: int, errors: float) -> None:
    """Integrate the density by samples of a heavier-tailed law."""
    centre, spread = x.mean(0), 1.3 * x.std(0)
    dims = tuple(range(-len(p.event_shape), 0))
    r = torch.distributions.StudentT(torch.full_like(spread, 4.0), centre, spread, validate_args=False)
    y = r.sample((draws,))
    weight = (p.log_prob(y) - r.log_prob(y).sum(dims)).double().exp()
    mass, error = weight.mean(0), weight.std(0) / draws**0.5
    worst = ((mass - 1).abs() - errors * error).max()
    assert worst <= 0, f"the density integrates to {mass.flatten()[:4].tolist()}, expected 1"


def check_gradients(module: nn.Module, value: Tensor) -> None:
    """Check that a value computed by a module sends a finite gradient, not all zero, to every parameter.

    Raises:
        AssertionError: names the first parameter that got none.
    """
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(value.sum(), parameters, allow_unused=True)
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient is not None, f"no gradient reaches '{name}'"
        assert bool(gradient.isfinite().all()), f"the gradient of '{name}' is not finite"
        assert bool(gradient.any()), f"the gradient of '{name}' is zero throughout"


def check_storage(module: nn.Module, fresh: nn.Module) -> None:
    """Check that weights saved from one module and loaded into another of the same make agree to the bit.

    Raises:
        AssertionError: names the first tensor that differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_tensors(path, module.state_dict())
        load_weights(fresh, load_tensors(path), path)
    loaded = fresh.state_dict()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, loaded[name]), f"'{name}' differs after saving and loading"

"""What every Conditional obeys: samples agree with the density, gradients arrive, weights are kept."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from latentscape.core.storage import load_tensors, load_weights, save_tensors
from latentscape.dist.flow import Flow
from latentscape.dist.sphere import Sphere, log_area


def check_distribution(p: Distribution, *, draws: int = 4000, errors: float = 5.0) -> None:
    r"""Check that samples of ``p`` agree with its density, whatever its family.

    For any two densities, :math:`E_p[\log p(x)] = -H(p)`. Where the entropy is known, the mean log density of own
    samples is compared with it. For real events of at most 8 values, the density is also integrated by importance
    sampling from a wider law r around the samples: :math:`E_r[p(x) / r(x)] = 1`. Over a law whose support is a
    :class:`~latentscape.dist.sphere.Sphere`, r is on that sphere too and both densities are by its area; its samples
    must lie on it.

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
    if x.is_floating_point() and p.event_shape.numel() <= 8 and not _discrete(p):
        _check_mass(p, x, draws, errors)


def _discrete(p: Distribution) -> bool:
    """Return whether ``p`` has masses and no density; one that does not say so is taken for a density."""
    try:
        return bool(getattr(p.support, "is_discrete", False))
    except NotImplementedError:
        return False


def _check_mass(p: Distribution, x: Tensor, draws: int, errors: float) -> None:
    """Integrate the density by samples of a heavier-tailed law."""
    if isinstance(p.support, Sphere):
        assert bool(p.support.check(x).all()), f"a sample lies off the sphere of radius {p.support.radius:.4g}"
        y, reference = _around_on_sphere(x, p.support.radius)
    else:
        spread = 1.3 * x.std(0)
        dims = tuple(range(-len(p.event_shape), 0))
        r = torch.distributions.StudentT(torch.full_like(spread, 4.0), x.mean(0), spread, validate_args=False)
        y = r.sample((draws,))
        reference = r.log_prob(y).sum(dims)
    weight = (p.log_prob(y) - reference).double().exp()
    mass, error = weight.mean(0), weight.std(0) / draws**0.5
    worst = ((mass - 1).abs() - errors * error).max()
    assert worst <= 0, f"the density integrates to {mass.flatten()[:4].tolist()}, expected 1"


def _around_on_sphere(x: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    r"""Draw from the angular central Gaussian law of the samples' scatter, and return its log-density by area.

    For directions y of N(0, S), :math:`p(y) = (y^\top S^{-1} y)^{-d/2} / (A_d |S|^{1/2} r^{d-1})` (Tyler 1987, eq. 1).
    """
    d = x.shape[-1]
    scatter = torch.einsum("n...i,n...j->...ij", x, x) / len(x) / radius**2
    root = torch.linalg.cholesky(scatter + 0.02 / d * torch.eye(d, dtype=x.dtype))
    noise = torch.randn(*x.shape, 1, dtype=x.dtype)
    y = torch.nn.functional.normalize((root @ noise).squeeze(-1), dim=-1)
    white = torch.linalg.solve_triangular(root, y.unsqueeze(-1), upper=False).squeeze(-1)
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return radius * y, -d / 2 * white.square().sum(-1).log() - log_area(d, radius) - log_det


def check_transport(flow: Flow, z: Tensor) -> None:
    r"""Check that a flow is undone by its inverse, and that its log-determinant is that of its derivative.

    Args:
        flow: g.
        z: points ``[n, d]``; double precision shows more.

    Raises:
        AssertionError: says what disagrees, and by how much.
    """
    noise, log_det = flow(z)
    gap = float((flow.inverse(noise) - z).detach().abs().max())
    assert gap <= 1e5 * torch.finfo(z.dtype).eps * (1 + float(z.abs().max())), f"the inverse misses by {gap:.3g}"
    for row, found in zip(z, log_det, strict=True):
        derivative = torch.autograd.functional.jacobian(lambda one: flow(one[None])[0][0], row)
        assert isinstance(derivative, Tensor)
        expected = torch.linalg.slogdet(derivative.double()).logabsdet
        gap = float((found.double() - expected).detach().abs())
        assert gap <= 1e5 * torch.finfo(z.dtype).eps * len(row), f"the log-determinant is {gap:.3g} nats off"


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

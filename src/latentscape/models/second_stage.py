r"""A second stage: a density fitted to the codes of a trained model, to draw from in place of its prior.

Letters: n codes, d their width, mu and s mean and deviation of each coordinate of the codes, :math:`u = (z - \mu) / s`.

A model decodes well only what looks like the codes of its data, and their law is seldom the prior: for an autoencoder
there is no prior at all, and a variational one leaves holes. Fitting a second density to the codes of the training set
mends that for any model, after training (Dai and Wipf 2019; Ghosh et al. 2020, section 4). Two forms:

* ``mixture``: normals with full covariances, by expectation maximisation (scikit-learn);
* ``flow``: RealNVP (see :mod:`latentscape.dist.flow`) by maximum likelihood, stopped when a held tenth of the codes no
  longer gains.

.. math:: \log p(z) = \log p(u) - \sum_i \log s_i

Codes are to be samples of q for a variational model, since those are what its decoder has seen, and the points
themselves for a deterministic encoder. All is a function of the codes and the seed.
"""

import copy
import json
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from latentscape.core.building import built
from latentscape.core.config import Record, parse
from latentscape.core.errors import ConfigError, DataError, StorageError
from latentscape.core.random import seed_of, seeded, torch_stream
from latentscape.core.storage import load_metadata, load_tensors, save_tensors
from latentscape.dist.conditional import Context
from latentscape.dist.flow import Flow, FlowDistribution
from latentscape.dist.precision import doubled
from latentscape.models.bounds import evaluating
from latentscape.models.model import LatentModel
from latentscape.models.objectives import pack

LEAST = 20
"""Codes that a density is fitted to at least."""
_RIDGE = 1e-4
"""Added to the variances of standardised codes: a coordinate without variance would have infinite density."""
_EM_ROWS = 20_000
"""Codes that expectation maximisation sees at most; the rest would change its ten means by little."""
_CHECKS = 30
"""Times that the held codes are looked at in the most steps a flow may take."""


class MixtureStageConfig(Record):
    """A mixture of normals with full covariances.

    Attributes:
        components: of the mixture.
        iterations: of expectation maximisation at most.
    """

    kind: Literal["mixture"] = "mixture"
    components: int = Field(10, ge=1)
    iterations: int = Field(100, ge=1)


class FlowStageConfig(Record):
    """A RealNVP flow.

    Attributes:
        layers: of coupling.
        width: of the hidden layers of their nets.
        steps: of Adam at most.
        batch_size: codes a step.
        learning_rate: falls to zero over ``steps`` by a half cosine.
        patience: looks at the held codes without a gain before it stops (there are 30 in ``steps``).
    """

    kind: Literal["flow"] = "flow"
    layers: int = Field(6, ge=1)
    width: int = Field(128, ge=1)
    steps: int = Field(3000, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    patience: int = Field(5, ge=1)


STAGES: dict[str, type[MixtureStageConfig] | type[FlowStageConfig]] = {
    "mixture": MixtureStageConfig,
    "flow": FlowStageConfig,
}
SecondStageConfig = Annotated[MixtureStageConfig | FlowStageConfig, Field(discriminator="kind")]


class SecondStage(nn.Module, ABC):
    """A density of codes ``[n, d]``; made by :func:`fit_second_stage` or :meth:`load`."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: MixtureStageConfig | FlowStageConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.dim = dim
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    @abstractmethod
    def _fit(self, u: Float[Tensor, "n d"], seed: int) -> None:
        """Fit to standardised codes."""

    @abstractmethod
    def _draw(self, n: int) -> Float[Tensor, "n d"]:
        """Draw standardised codes."""

    @abstractmethod
    def _log_density(self, u: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the log-density of standardised codes, nats."""

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Float[Tensor, "n d"]:
        """Draw n codes, a function of the seed."""
        with seeded("second_stage", seed, device=self.mean.device):
            return self.mean + self.scale * self._draw(n)

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the log-density of codes, nats."""
        return self._log_density((z - self.mean) / self.scale) - self.scale.log().sum()

    def save(self, path: Path) -> None:
        """Write everything to one safetensors file, its configuration in the header."""
        facts = {"config": json.dumps(self.config.model_dump(mode="json")), "dim": str(self.dim)}
        save_tensors(path, self.state_dict(), facts)

    @staticmethod
    def load(path: Path) -> "SecondStage":
        """Read what :meth:`save` wrote.

        Raises:
            StorageError: the file is missing, damaged or something else.
        """
        facts = load_metadata(path)
        try:
            config = parse(SecondStageConfig, json.loads(facts["config"]), str(path))
            stage = built(lambda: _build(config, int(facts["dim"])), load_tensors(path), path)
        except (KeyError, ValueError, ConfigError) as error:
            raise StorageError(f"{path} is damaged: its header describes no second stage") from error
        return stage.requires_grad_(False).eval()


class MixtureStage(SecondStage):
    """See the module; ``roots`` are the lower Cholesky factors of the covariances."""

    log_weights: Tensor
    means: Tensor
    roots: Tensor

    def __init__(self, config: MixtureStageConfig, dim: int) -> None:
        super().__init__(config, dim)
        count = config.components
        self.register_buffer("log_weights", torch.full((count,), -math.log(count)))
        self.register_buffer("means", torch.zeros(count, dim))
        self.register_buffer("roots", torch.eye(dim).repeat(count, 1, 1))

    def _fit(self, u: Tensor, seed: int) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        assert isinstance(self.config, MixtureStageConfig)
        if len(u) < self.config.components:
            raise DataError(f"a mixture of {self.config.components} components got {len(u)} codes, expected more")
        chosen = torch.randperm(len(u), generator=torch_stream(seed, "second_stage", "rows"))[:_EM_ROWS]
        found = GaussianMixture(
            self.config.components,
            reg_covar=_RIDGE,
            max_iter=self.config.iterations,
            random_state=seed_of(seed, "second_stage") % 2**32,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the likelihood rises at every round; the last will do
            found.fit(u[chosen.to(u.device)].double().cpu().numpy())  # pyrefly: ignore
        self.log_weights.copy_(torch.from_numpy(found.weights_).log())
        self.means.copy_(torch.from_numpy(found.means_))
        self.roots.copy_(torch.linalg.cholesky(torch.from_numpy(found.covariances_)))

    def _draw(self, n: int) -> Tensor:
        chosen = torch.multinomial(self.log_weights.exp(), n, replacement=True)
        noise = torch.randn(n, self.dim, 1, dtype=self.means.dtype, device=self.means.device)
        return self.means[chosen] + (self.roots[chosen] @ noise).squeeze(2)

    def _log_density(self, u: Tensor) -> Tensor:
        joint = []
        for log_weight, mean, root in zip(self.log_weights, self.means, self.roots, strict=True):
            white = torch.linalg.solve_triangular(root, (u - mean).T, upper=False)
            joint.append(log_weight - 0.5 * white.square().sum(0) - root.diagonal().log().sum())
        return torch.stack(joint).logsumexp(0) - self.dim / 2 * math.log(2 * math.pi)


class FlowStage(SecondStage):
    """See the module."""

    def __init__(self, config: FlowStageConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.flow = Flow(dim, config.layers, config.width)

    def _fit(self, u: Tensor, seed: int) -> None:
        config = self.config
        assert isinstance(config, FlowStageConfig)
        order = torch.randperm(len(u), generator=torch_stream(seed, "second_stage", "rows")).to(u.device)
        held, train = u[order[: len(u) // 10]], u[order[len(u) // 10 :]]
        adam = torch.optim.Adam(self.flow.parameters(), config.learning_rate)
        fall = torch.optim.lr_scheduler.LambdaLR(adam, lambda t: 0.5 * (1 + math.cos(math.pi * t / config.steps)))
        every = -(-config.steps // _CHECKS)
        best, kept, waited = math.inf, copy.deepcopy(self.flow.state_dict()), 0
        for step in range(config.steps):
            rows = torch.randint(len(train), (config.batch_size,), generator=torch_stream(seed, "second_stage", step))
            loss = -self._log_density(train[rows.to(u.device)]).mean()
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.flow.parameters(), 10.0)
            adam.step()
            fall.step()
            if (step + 1) % every and step + 1 < config.steps:
                continue
            with torch.no_grad():
                found = -float(self._log_density(held).mean())
            if found < best:
                best, kept, waited = found, copy.deepcopy(self.flow.state_dict()), 0
            else:
                waited += 1
            if waited >= config.patience:
                break
        self.flow.load_state_dict(kept)

    def _draw(self, n: int) -> Tensor:
        return FlowDistribution(self.flow).sample((n,))

    def _log_density(self, u: Tensor) -> Tensor:
        return FlowDistribution(self.flow).log_prob(u)


def _build(config: Any, dim: int) -> SecondStage:
    return MixtureStage(config, dim) if isinstance(config, MixtureStageConfig) else FlowStage(config, dim)


def draw_codes(model: LatentModel, batches: Iterable[tuple[Tensor, Context]]) -> Float[Tensor, "n d"]:
    """Return a draw of q(z | x) for every item, layers packed; the same at every call."""
    codes = []
    with evaluating(model):
        for index, (x, context) in enumerate(batches):
            with seeded("codes", index, device=x.device):
                layers = model.infer(x, context)
            codes.append(pack(tuple(layer.z[0] for layer in layers)).cpu())
    if not codes:
        raise DataError("a second stage got no items to encode")
    return torch.cat(codes)


def fit_second_stage(
    config: MixtureStageConfig | FlowStageConfig, codes: Float[Tensor, "n d"], seed: int = 0
) -> SecondStage:
    """Fit a density to codes; a function of its arguments.

    Args:
        config: its form.
        codes: of the training set.
        seed: of the start, and of the codes held back.

    Raises:
        DataError: fewer than 20 codes, or one that is not finite.
    """
    if len(codes) < LEAST:
        raise DataError(f"a second stage got {len(codes)} codes, expected at least {LEAST}")
    if not bool(codes.isfinite().all()):
        raise DataError("a second stage got codes that are NaN or infinite")
    codes = codes.detach()
    with torch.enable_grad(), seeded(seed, "second_stage", device=codes.device):
        stage = _build(config, codes.shape[1]).to(codes.device)
        wide = doubled(codes)
        mean, scale = wide.mean(0), wide.std(0)
        stage.mean.copy_(mean)
        # A coordinate that never moves keeps its place: its scale is nothing beside the others', but not zero.
        stage.scale.copy_(scale.clamp_min(1e-6 * float(scale.max().clamp_min(1e-6))))
        stage._fit((codes.float() - stage.mean) / stage.scale, seed)
    return stage.requires_grad_(False).eval()

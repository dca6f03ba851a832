r"""Exact rescoring of a wave of which a few samples change: statistics of a WaveNet's hidden values, its likelihood.

Letters: x codes ``[n]``, N = n + 1 rows (row t has heard the samples before t; row n all), r residual width, l a layer,
d its dilation, K kernel width; k a layer that is listened to, h its hidden values ``[N, r]``, m and v their mean and
deviation in the style, :math:`\varphi = (h - m) / v`; c the content; G Gram matrix, u mean.

.. math::
    \ell(x) = \frac{1}{|k|} \sum_k \frac{\|G_k - W_k\|^2 + 2 \|u_k - w_k\|^2}{\|W_k\|^2 + 2 \|w_k\|^2 + 1}
       + \frac{w_c}{|k|} \sum_k \frac{1}{n r}\sum_{t=1}^{n} \|\varphi^k_t - \varphi^{k,c}_t\|^2
       - \frac{w_p}{n} \sum_t \log p(x_t \mid x_1 \dots x_{t-1}),
    \qquad G_k = \frac1n \sum_{t=1}^n \varphi^k_t \varphi^{k \top}_t,\; u_k = \frac1n \sum_{t=1}^n \varphi^k_t

A row of layer l + 1 sees rows t, t - d, .. t - (K - 1) d of layer l, so that a change of the samples in a block B
reaches

.. math:: D_1 = B + 1, \qquad D_{l+1} = D_l + \{0, d_l, \dots, (K-1) d_l\}

and no other row. With dilations 1, 2, 4 .., K = 2 and one sample, these are 1, 2, 4 .. rows: R rows in the last layer
and 2 R over all, R the receptive field, where the whole sound has l N. The gates' inputs z are kept, and
:math:`\Delta z_t = \sum_k W_k \Delta h_{t - k d}` needs those products alone whose input changes: with doubling
dilations one of K. Gram matrix and mean move by what the rows of :math:`D` have of products and sums after the change
less before it, :math:`\Delta G`, and the loss by :math:`\langle 2 (G - W) + \Delta G, \Delta G \rangle`.
Nothing is left out: the change of the loss is that of a second look at the whole wave but for rounding, and tests hold
it to 1e-6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from latentscape.core.errors import UsageError
from latentscape.nets.wavenet import WaveNet
from latentscape.nets.wavenet_sampler import aligned, fit, zeros

_TILE = 32


@dataclass(frozen=True, eq=False)
class Target:
    """What is wanted of the layers that are listened to.

    Attributes:
        layers: their numbers, the first is 1.
        centre: m ``[k, r]``; scale: 1 / v.
        gram: W ``[k, r, r]``; mean: w ``[k, r]``.
        goal: the features to hold on to ``[k, n, r]``, or ``None``.
        content: w_c.
        likelihood: w_p.
    """

    layers: tuple[int, ...]
    centre: Float[Tensor, "k r"]
    scale: Float[Tensor, "k r"]
    gram: Float[Tensor, "k r r"]
    mean: Float[Tensor, "k r"]
    goal: Float[Tensor, "k n r"] | None = None
    content: float = 0.0
    likelihood: float = 0.0

    @property
    def size(self) -> Float[Tensor, " k"]:
        """What squared distances are divided by."""
        return self.gram.square().sum((1, 2)) + 2 * self.mean.square().sum(1) + 1

    def features(self, hidden: Sequence[Float[Tensor, "n r"]]) -> Float[Tensor, "k n r"]:
        """Return phi of the hidden values of all layers, the first layer's first."""
        return (torch.stack([hidden[layer - 1] for layer in self.layers]) - self.centre[:, None]) * self.scale[:, None]

    def loss(self, features: Float[Tensor, "k n r"]) -> Tensor:
        """Return the loss but for the likelihood, with gradients."""
        n, r = features.shape[1:]
        apart = (features.mT @ features / n - self.gram).square().sum((1, 2))
        apart = apart + 2 * (features.mean(1) - self.mean).square().sum(1)
        found = (apart / self.size).mean()
        if self.content and self.goal is not None:
            found = found + self.content * (features - self.goal).square().sum() / (n * r * len(self.layers))
        return found


def hidden_of(
    net: WaveNet, inputs: Float[Tensor, "n r"], told: Float[Tensor, "1 e"] | None, depth: int | None = None
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return gates' inputs, hidden values and skips of the first layers, a row each for N = n + 1 rows.

    Args:
        net: the network.
        inputs: what the first layer sees of each sample.
        told: of the whole sound.
        depth: layers; ``None``: all.
    """
    begin = net.table[-1:] if net.levels else net.table[1:]
    gates, hidden, more = [], [], net.skip_bias[None]
    for z, h, skips in net.steps(torch.cat((begin, inputs))[None], net.told_gates(told)):
        gates.append(z[0])
        hidden.append(h[0])
        more = skips[0]
        if len(hidden) == depth:
            break
    return gates, hidden, more


def statistics(features: Float[Tensor, "k n r"]) -> tuple[Float[Tensor, "k r r"], Float[Tensor, "k r"]]:
    """Return Gram matrices and means."""
    return features.mT @ features / features.shape[1], features.mean(1)


def target_of(net: WaveNet, style: Int[Tensor, " n"], told: Tensor | None, layers: Sequence[int]) -> Target:
    """Return what a style wants of the layers.

    Args:
        net: the network, without gradients.
        style: its codes.
        told: of it.
        layers: numbers, the first is 1.
    """
    _, hidden, _ = hidden_of(net, net.table[style], told, max(layers))
    rows = torch.stack([hidden[layer - 1][1:] for layer in layers])
    centre, scale = rows.mean(1), rows.std(1).clamp_min(1e-3).reciprocal()
    gram, mean = statistics((rows - centre[:, None]) * scale[:, None])
    return Target(tuple(layers), centre, scale, gram, mean)


def loss_of(net: WaveNet, codes: Int[Tensor, " n"], target: Target, told: Tensor | None = None) -> float:
    """Return the loss of a wave, from scratch."""
    with torch.no_grad():
        _, hidden, skips = hidden_of(net, net.table[codes], told)
        found = float(target.loss(target.features([h[1:] for h in hidden])))
        if target.likelihood:
            logs = net.speak(skips[None, :-1])[0].log_softmax(1).gather(1, codes[:, None])
            found -= target.likelihood * float(logs.double().mean())
    return found


class Plan:
    """Which rows a change of a block of samples reaches, layer after layer, and which products they need.

    Args:
        net: the network.
        block: samples that change.
        depth: layers.
    """

    def __init__(self, net: WaveNet, block: int, depth: int) -> None:
        sets = [np.arange(block)]
        runs: list[list[tuple[int, int, int, int]]] = []
        for dilation in net.dilations[:depth]:
            taps = [sets[-1] + tap * dilation for tap in range(net.config.kernel)]
            sets.append(np.unique(np.concatenate(taps)))
            runs.append(
                [(tap, *run) for tap, rows in enumerate(taps) for run in _runs(np.searchsorted(sets[-1], rows))]
            )
        skips = [_runs(np.searchsorted(sets[-1], rows)) for rows in sets[1:]]
        self.block, self.reach = block, len(sets[-1])
        self.rows = sum(len(rows) for rows in sets[1:])
        self.arrays = (
            np.concatenate(sets),
            np.cumsum([0, *(len(rows) for rows in sets)]),
            np.array([run for layer in runs for run in layer], np.int64).reshape(-1, 4),
            np.cumsum([0, *(len(layer) for layer in runs)]),
            np.array([run for layer in skips for run in layer], np.int64).reshape(-1, 3),
            np.cumsum([0, *(len(layer) for layer in skips)]),
        )


def _runs(places: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (from, to, length) of the runs in which places follow one another."""
    cuts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    return [(a, int(places[a]), b - a) for a, b in pairwise(cuts)]


class Rescoring:
    """A wave whose loss is known after every change.

    Args:
        net: a network that reads codes, without gradients, on the processor.
        codes: where it begins.
        target: of the loss.
        told: of the whole sound.

    Attributes:
        scored: candidates that were scored so far; changed: changes that were made.
        loss: as it is.
    """

    def __init__(
        self, net: WaveNet, codes: Int[Tensor, " n"], target: Target, told: Float[Tensor, "1 e"] | None = None
    ) -> None:
        self.net, self.target, self.told = net, target, told
        self.weigh = target.likelihood > 0
        self.depth = len(net.layers) if self.weigh else max(target.layers)
        self.r, self.s, self.o = (-(-size // _TILE) * _TILE for size in self._widths(net))
        self.rows = len(codes) + 1
        self.sample = codes.numpy().astype(np.int64).copy()
        self.scored = self.changed = 0
        self._pack()
        self._plans: dict[tuple[int, int], tuple[Plan, tuple[Any, ...]]] = {}
        self.refresh()

    @staticmethod
    def _widths(net: WaveNet) -> tuple[int, int, int]:
        return net.config.residual, net.config.skip, net.outputs

    @property
    def codes(self) -> Int[Tensor, " n"]:
        """The wave as it is."""
        return torch.from_numpy(self.sample.copy())

    def _pack(self) -> None:
        """Lay weights and the target out as the kernels want them."""
        from latentscape.nets.lanes import tiled

        net, r, s, o = self.net, self.net.config.residual, self.s, self.o
        parts: list[np.ndarray] = []

        def put(matrix: np.ndarray) -> int:
            parts.append(tiled(matrix))
            return sum(part.size for part in parts[:-1])

        listened = {layer - 1: k for k, layer in enumerate(self.target.layers)}
        layers = []
        for number, (_, gate, out) in enumerate(net.layers[: self.depth]):
            taps = gate.weight.detach().numpy().reshape(2, r, net.config.kernel, r)
            both = out.weight.detach().numpy()
            row = [listened.get(number, -1), put(fit(both[:r], self.r, self.r)), put(fit(both[r:], s, self.r))]
            for tap in reversed(range(net.config.kernel)):
                row.append(put(np.concatenate([fit(half[:, tap], self.r, self.r) for half in taps])))
            layers.append(row)
        first, second = (cast("nn.Linear", layer) for layer in net.head)
        head = [put(fit(first.weight.detach().numpy(), s, s)), put(fit(second.weight.detach().numpy(), o, s))]
        bias = np.full(s + o, 0, np.float32)
        bias[: net.config.skip], bias[s : s + net.outputs] = (layer.bias.detach().numpy() for layer in (first, second))
        bias[s + net.outputs :] = -1e30  # logits that stand for nothing
        table = fit(net.table.detach().numpy(), len(net.table), self.r)
        weights = aligned(np.concatenate(parts))
        self._net = (table.reshape(-1), weights, np.array(layers, np.int64), np.array(head, np.int64), bias)
        k, target = len(self.target.layers), self.target
        goal = zeros(k, self.rows, self.r)
        if target.content and target.goal is not None:
            goal[:, 1:, :r] = target.goal.numpy()
        self._heard = tuple(self._wide(one).reshape(-1) for one in (target.centre, target.scale)) + (goal.reshape(-1),)
        self._target = (
            self._wide(torch.stack([self._padded(one) for one in target.gram])).reshape(-1).astype(np.float64),
            self._wide(target.mean).reshape(-1).astype(np.float64),
        )
        share = target.content / (self.net.config.residual * k)
        style = (target.size.double().reciprocal() / k).numpy()
        self._weights = (style, np.full(k, share), float(target.likelihood))

    def _wide(self, values: Tensor) -> np.ndarray:
        return fit(values.reshape(-1, values.shape[-1]).numpy(), values[..., 0].numel(), self.r)

    def _padded(self, matrix: Tensor) -> Tensor:
        return torch.from_numpy(fit(matrix.numpy(), self.r, matrix.shape[1]))

    def refresh(self) -> None:
        """Work everything out anew, so that roundings do not add up."""
        r = self.net.config.residual
        with torch.no_grad():
            inputs = self.net.table[torch.from_numpy(self.sample)]
            gates, hidden, skips = hidden_of(self.net, inputs, self.told, self.depth)
            begin = torch.cat((self.net.table[-1:], inputs))
            features = self.target.features([h[1:] for h in hidden])
            gram, mean = statistics(features.double())
        self._hidden, self._gates = zeros(self.depth + 1, self.rows, self.r), zeros(self.depth, self.rows, 2 * self.r)
        for place, h in enumerate((begin, *hidden)):
            self._hidden[place, :, :r] = h.numpy()
        for place, z in enumerate(gates):
            self._gates[place, :, :r], self._gates[place, :, self.r : self.r + r] = z[:, :r].numpy(), z[:, r:].numpy()
        self._skips = zeros(self.rows, self.s)
        self._skips[:, : self.net.config.skip] = skips.numpy()
        k = len(self.target.layers)
        self._gram, self._mean = np.zeros((k, self.r, self.r)), np.zeros((k, self.r))
        self._gram[:, :r, :r], self._mean[:, :r] = gram.numpy(), mean.numpy()
        self.loss = float(self.target.loss(features))
        if self.weigh:
            logs = self.net.speak(skips[None, :-1])[0].log_softmax(1).gather(1, torch.from_numpy(self.sample)[:, None])
            self.loss -= self.target.likelihood * float(logs.double().mean())

    def sweep(
        self,
        places: Sequence[int] | np.ndarray,
        steps: Int[np.ndarray, "p c"],
        grains: Float[np.ndarray, "p c m"] | None = None,
        draws: Float[np.ndarray, " p"] | None = None,
        temperature: float = 0.0,
        own: int = 0,
    ) -> float:
        """Visit blocks of samples, and change each by one of its candidates or by none; return the loss's change.

        Args:
            places: first sample of every block.
            steps: codes by which the candidates move the samples of a block.
            grains: what they add to the wave, full scale 1; without, a block is one sample.
            draws: from (0, 1), for a temperature.
            temperature: 0 takes the best of candidates and no change; else one is drawn, its chance proportional to
                exp(-change of the loss times n / temperature).
            own: so many codes that the net itself finds the likeliest are tried, too, if the loss holds its likelihood
                and blocks are single samples.

        Raises:
            UsageError: a place lies outside the wave, or there are not as many rows of changes as places.
        """
        from latentscape.nets.rescoring_kernel import sweep

        places, n = np.asarray(places, np.int64), len(self.sample)
        if not ((places >= 0) & (places < n)).all():
            raise UsageError(
                f"got blocks from {places.min()} to {places.max()}, expected places in a wave of {n} samples"
            )
        grains = np.zeros((*steps.shape, 1), np.float32) if grains is None else grains
        draws = np.full(len(places), 0.5) if draws is None else draws
        if not len(places) == len(steps) == len(draws) or grains.shape[:2] != steps.shape:
            raise UsageError(
                f"got steps {steps.shape}, grains {grains.shape} and {len(draws)} draws for {len(places)} blocks"
            )
        plan, scratch = self._plan(grains.shape[2], steps.shape[1] + own * (self.weigh and grains.shape[2] == 1))
        sizes = np.array([self.r, self.s, self.o, self.net.outputs, self.depth, self.rows])
        tally = np.zeros(3)
        flat = tuple(one.reshape(-1) for one in (self._hidden, self._gates, self._skips))
        state = (*flat, self.sample, self._gram.reshape(-1), self._mean.reshape(-1))
        sweep(
            places, grains.shape[2], np.ascontiguousarray(steps, np.int64),
            np.ascontiguousarray(grains, np.float32), np.asarray(draws, np.float64), float(temperature),
            float(self.net.levels - 1), sizes, self._net, state, plan.arrays, self._heard, self._target, self._weights,
            scratch, tally,
        )  # fmt: skip
        self.scored += int(tally[0])
        self.changed += int(tally[1])
        self.loss += float(tally[2])
        return float(tally[2])

    def _plan(self, block: int, choices: int) -> tuple[Plan, tuple[Any, ...]]:
        key = block, choices
        if key not in self._plans:
            plan = Plan(self.net, block, self.depth)
            across, wide = -(-(plan.reach + 1) // 4) * 4, max(self.s, self.o)
            k = len(self.target.layers)
            rows = (self.r, self.r, self.r, self.r, 2 * self.r, self.r, self.r, self.s, wide, wide)
            buffers = (*(zeros(across * width) for width in rows), zeros(wide))
            products = [zeros(k * self.r * self.r), zeros(k * self.r)]
            more = [zeros(k * self.r * self.r), zeros(k * self.r)]
            scratch = (
                buffers, np.zeros(across + 1, np.int64), *products, *more, np.zeros(k), np.zeros(k),
                np.zeros((choices, block), np.int64), np.zeros(choices + 1),
            )  # fmt: skip
            self._plans[key] = plan, scratch
        return self._plans[key]

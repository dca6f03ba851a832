r"""Sampling from a WaveNet, one sample after another, with everything that was computed before kept.

Letters: g streams, n samples, q rows (g, or 2 g where conditions are strengthened), r, s widths, l layers.

A ring for each layer holds the hidden values that its past taps will want, so that a step costs two products a layer
and two in the head (Paine et al. 2016). Conditions are multiplied outside the loop, a block of steps at a time. The
loop is compiled (:mod:`latentscape.nets.wavenet_kernel`); streams run in step, so that weights are read once for four
of them, and a stream's samples do not depend on how many run beside it, to the bit: conditions, too, are multiplied a
row at a time, since torch rounds the product of one row otherwise than that of several.

Where dilations are four or more, the products of past taps are made for four steps at once: what they see lies at least
four steps back. Weights are thereby read once for four steps, in the larger half of most nets.

**Draws.** Two numbers from (0, 1) a sample come from a stream of their own for each row (seed, row), so that samples
are a function of seed, row and conditions: a categorical inverts its cumulated law at the first; the logistic mixture
takes a component by the first and a logistic variable by the second; the normal takes both (Box and Muller 1958).

**Strength** w of conditions (Ho and Salimans 2022): raw parameters :math:`o = o_\varnothing + w (o_c - o_\varnothing)`,
with a second evaluation that is told nothing. **Nucleus** p (Holtzman et al. 2020): draw from the smallest set of
likeliest codes of mass p.

**Storage.** ``bfloat16`` weights take half the memory; hidden values and sums stay float32. What is
lost is measured by priming with a recording and asking for raw parameters (``raw``).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentscape.core.errors import UsageError
from latentscape.core.random import numpy_stream
from latentscape.nets.wavenet import WaveNet

BLOCK = 1024
"""Steps whose conditions are multiplied at once."""
Storage = Literal["float32", "bfloat16"]
KINDS = ("categorical", "logistic", "gaussian")


@dataclass(frozen=True)
class Output:
    """What the raw parameters of a step mean.

    Attributes:
        kind: of law.
        levels: codes from 0 to levels - 1; 0 for real values, which are standardised.
        shape: numbers that the law needs: components and log of the least scale of logistics; of a normal, what is
            added to the raw scale before softplus, and the least scale.
    """

    kind: Literal["categorical", "logistic", "gaussian"] = "categorical"
    levels: int = 256
    shape: tuple[float, float] = (0.0, 0.0)

    def numbers(self) -> np.ndarray:
        """Return ``shape`` as the kernels' draws want it, float64."""
        between = [float(self.levels)] if self.kind == "logistic" else []
        return np.array([self.shape[0], *between, self.shape[1], 0.0])


@dataclass(frozen=True)
class Manner:
    """How samples are drawn.

    Attributes:
        temperature: of the law; 0 takes its mode.
        nucleus: mass of the likeliest codes that are drawn from (categorical only).
        strength: of conditions; 1 is what was learnt.
    """

    temperature: float = 1.0
    nucleus: float = 1.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < np.inf and 0 < self.nucleus <= 1 and np.isfinite(self.strength)):
            raise UsageError(
                f"got temperature {self.temperature:g}, nucleus {self.nucleus:g}, strength {self.strength:g}; "
                "expected a finite temperature of 0 or more, a nucleus in (0, 1] and a finite strength"
            )


@dataclass(frozen=True, eq=False)
class Heard:
    """The conditions of some rows.

    Attributes:
        told: ``[g, e]``, or ``None``.
        series: ``[g, c, m]``, or ``None``.
        bare: what a row that is told nothing is told, ``[1, e]`` or ``None``.
    """

    told: Tensor | None = None
    series: Tensor | None = None
    bare: Tensor | None = None


@runtime_checkable
class Part(Protocol):
    """The streams of one thread: what a network remembers of ``rows``, and how it goes on."""

    rows: range

    def tell(self, told: Tensor | None) -> None:
        """From the next sample on, tell the rows something else."""

    def advance(self, values: np.ndarray, given: int, draws: np.ndarray, raw: bool) -> list[np.ndarray]:
        """Fill ``values [g, n]`` from ``given`` on; return raw parameters, of told and of bare rows, if asked for."""
        ...


class Sampling(ABC):
    """A network made ready for sampling.

    Attributes:
        output: what its raw parameters mean.
    """

    output: Output

    @property
    def device(self) -> torch.device:
        """Where conditions are wanted."""
        return torch.device("cpu")

    @abstractmethod
    def part(self, rows: range, heard: Heard, manner: Manner) -> Part:
        """Return some of the streams at their begin; what is heard is of all of them."""

    def open(self, rows: int, heard: Heard = Heard(), manner: Manner = Manner(), threads: int = 1) -> "Streams":
        """Return ``rows`` streams at their begin.

        Raises:
            UsageError: a nucleus was asked of a law that is not categorical.
        """
        if manner.nucleus < 1 and self.output.kind != "categorical":
            raise UsageError(
                f"a nucleus of {manner.nucleus:g} needs a categorical output, this one is {self.output.kind}"
            )
        return Streams(self, rows, heard, manner, threads)

    def sample(
        self,
        n: int,
        rows: int = 1,
        *,
        seed: int = 0,
        heard: Heard = Heard(),
        manner: Manner = Manner(),
        prime: Tensor | None = None,
        threads: int = 1,
    ) -> Tensor:
        """Return samples ``[rows, n]`` float32: codes, or standardised values.

        Args:
            n: samples, those of ``prime`` among them.
            rows: streams.
            seed: of the draws.
            heard: conditions.
            manner: of drawing.
            prime: ``[rows, m]`` the first samples; the rest goes on from them.
            threads: streams are shared out among so many.
        """
        streams = self.open(rows, heard, manner, threads)
        values, _ = streams.advance(n, uniforms(seed, range(rows), n), prime)
        return values


class Sampler(Sampling):
    """A WaveNet made ready.

    Args:
        net: is copied; what it learns afterwards is not seen.
        output: what its raw parameters mean.
        storage: of weights.
    """

    def __init__(self, net: WaveNet, output: Output = Output(), storage: Storage = "float32") -> None:
        self.net = copy.deepcopy(net).to("cpu", torch.float32).eval().requires_grad_(False)
        self.output, self.storage = output, storage
        self.packed = _Packed(self.net, output, storage)

    def part(self, rows: range, heard: Heard, manner: Manner) -> "WavePart":
        """Return some of the streams at their begin."""
        return WavePart(self, rows, heard, manner)


class Streams:
    """Rows that sound in step; :meth:`advance` goes on where the last call ended."""

    def __init__(self, sampler: Sampling, rows: int, heard: Heard, manner: Manner, threads: int) -> None:
        count = max(1, min(threads, rows))
        bounds = [rows * part // count for part in range(count + 1)]
        self._parts = [sampler.part(range(low, high), heard, manner) for low, high in pairwise(bounds)]
        self.rows, self.output = rows, sampler.output

    def tell(self, told: Float[Tensor, "g e"]) -> None:
        """From the next sample on, tell the rows something else; what they hear goes on."""
        for part in self._parts:
            part.tell(told[part.rows.start : part.rows.stop])

    def advance(
        self, n: int, draws: np.ndarray, prime: Tensor | None = None, *, raw: bool = False
    ) -> tuple[Float[Tensor, "g n"], Float[Tensor, "q n o"] | None]:
        """Return the next n samples, and their laws' raw parameters if asked for.

        Args:
            n: samples.
            draws: ``[g, n, 2]`` from (0, 1), see :func:`uniforms`.
            prime: ``[g, m]`` the first of them, m at most n.
            raw: return raw parameters ``[q, n, outputs]`` too, also of primed samples.

        Raises:
            UsageError: draws or prime have another shape than was expected, or the prime is nothing that is drawn.
        """
        from latentscape.core.compiled import each_row

        given = 0 if prime is None else prime.shape[1]
        if draws.shape != (self.rows, n, 2) or (prime is not None and prime.shape[0] != self.rows) or given > n:
            raise UsageError(
                f"draws {draws.shape} and prime {None if prime is None else tuple(prime.shape)} do not fit "
                f"{self.rows} streams of {n} samples"
            )
        values = np.zeros((self.rows, n), np.float32)
        if prime is not None:
            _check(prime, self.output.levels)
            values[:, :given] = prime.detach().cpu().numpy()
        laws: list[Any] = [None] * len(self._parts)

        def work(index: int) -> None:
            part = self._parts[index]
            laws[index] = part.advance(values[part.rows.start : part.rows.stop], given, draws, raw)

        each_row(work, len(self._parts), len(self._parts))
        found = torch.from_numpy(values)
        if not raw:
            return found, None
        halves = [np.concatenate([law[half] for law in laws]) for half in range(len(laws[0]))]
        return found, torch.from_numpy(np.concatenate(halves))


def _check(prime: Tensor, levels: int) -> None:
    """Refuse codes that there are not: a compiled loop would read beyond its tables."""
    known = (prime >= 0) & (prime < levels) & (prime == prime.round()) if levels else prime.isfinite()
    if not bool(known.all()):
        expected = f"codes from 0 to {levels - 1}" if levels else "finite values"
        raise UsageError(f"the samples to begin with hold {float(prime[~known][0]):g}, expected {expected}")


class WavePart:
    """The streams of one thread.

    Attributes:
        packed: the weights; those of a sampler of the same net with another storage may take their place at any time.
    """

    def __init__(self, sampler: Sampler, rows: range, heard: Heard, manner: Manner) -> None:
        self.rows, self.manner, self.packed, self.net = rows, manner, sampler.packed, sampler.net
        packed, g = sampler.packed, len(rows)
        self.doubled = manner.strength != 1
        q = 2 * g if self.doubled else g
        sizes = packed.sizes
        depth = len(packed.layers)
        width = max(sizes["s"], sizes["o"], 2 * sizes["r"])
        self.state = np.zeros(depth + 1, np.int64)
        self.last = np.full(g, packed.start, np.float32)
        self.ring = zeros(q, packed.ring_rows, sizes["r"])
        self.pre = zeros(q, depth, _ahead(), 2 * sizes["r"])
        self.carry = zeros(1 + q, sizes["c"])
        self.carry[0, sizes["r"] : sizes["r"] + self.net.config.skip] = self.net.skip_bias.numpy()
        self.act, self.work = zeros(q, sizes["r"]), zeros(2, q, width)
        self.sums = zeros(sizes["o"])
        cut = slice(rows.start, rows.stop)
        self.bare = heard.bare
        self.tell(None if heard.told is None else heard.told[cut])
        self.series: Tensor | None = None
        self.begin = 0
        if heard.series is not None:
            self.hear(heard.series[cut])

    def copy(self) -> "WavePart":
        """Return streams that go on from here by themselves."""
        twin = copy.copy(self)
        for name in ("state", "last", "ring", "pre", "carry", "act", "work", "sums"):  # what the kernel writes to
            setattr(twin, name, aligned(getattr(self, name)))
        return twin

    def hear(self, series: Float[Tensor, "g c m"], first: int = 0) -> None:
        """From the next sample on, hear another series, whose first step is step ``first`` of all."""
        up = self.net.upsampler
        assert up is not None
        with torch.no_grad():
            self.series = torch.cat([self.net.listen(row, series.shape[2] * up.hop) for row in singly(series)])
        self.begin = first * up.hop // up.hold

    def tell(self, told: Tensor | None) -> None:
        """Set what is added to every gate, ``[q, l, 2 r]``."""
        g = len(self.rows)
        with torch.no_grad():
            rows = [None] if told is None else singly(told)
            fixed = torch.cat([self.net.told_gates(row) for row in rows]).expand(g, -1, -1)
            if self.doubled:
                fixed = torch.cat([fixed, self.net.told_gates(self.bare).expand(g, -1, -1)])
        self.fixed = fixed

    def advance(self, values: np.ndarray, given: int, draws: np.ndarray, raw: bool) -> list[np.ndarray]:
        """Fill ``values [g, n]`` from ``given`` on; return raw parameters, of told and of bare rows, if asked for."""
        from latentscape.nets.wavenet_kernel import run

        packed, manner = self.packed, self.manner
        g, n = values.shape
        q = len(self.fixed)
        draws = np.ascontiguousarray(draws[self.rows.start : self.rows.stop], np.float32)
        laws = np.zeros((q, n, self.net.outputs) if raw else (0, 0, 0), np.float32)
        for start in range(0, n, BLOCK):
            stop = min(n, start + BLOCK)
            conditions, hold = self._conditions(stop - start)
            block = np.ascontiguousarray(values[:, start:stop])
            law = np.ascontiguousarray(laws[:, start:stop])
            run(
                packed.run_sizes, packed.layers, packed.weights, packed.table, packed.head, packed.bias, packed.shape,
                conditions, hold, self.state, self.last, self.ring, self.pre, self.carry, self.act, self.work,
                self.sums, block, max(0, min(given - start, stop - start)), np.ascontiguousarray(draws[:, start:stop]),
                np.float32(manner.strength), float(manner.temperature), float(manner.nucleus), law,
            )  # fmt: skip
            values[:, start:stop] = block
            if raw:
                laws[:, start:stop] = law
        return [laws[:g], laws[g:]] if self.doubled else [laws]

    def _conditions(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what is added to every gate in the next steps, ``[q, rows, l, 2 r]``, and how long a row holds."""
        if self.series is None:
            return self.packed.padded_gates(self.fixed.unsqueeze(1)), np.array([1, 0])
        up = self.net.upsampler
        assert up is not None
        now = int(self.state[-1])
        first, last = now // up.hold, (now + steps - 1) // up.hold + 1
        begin, end = self.begin, self.begin + self.series.shape[1]
        if last > end:
            raise UsageError(f"the series ends after {end * up.hold} samples, {now + steps} were asked for")
        with torch.no_grad():
            steps_heard = singly(self.series[:, first - begin : last - begin])
            heard = torch.cat([self.net.heard_gates(row) for row in steps_heard])
            if self.doubled:
                heard = torch.cat([heard, torch.zeros_like(heard)])
            return self.packed.padded_gates(heard + self.fixed.unsqueeze(1)), np.array([up.hold, now - first * up.hold])


class _Packed:
    """A network's weights as the kernel wants them."""

    def __init__(self, net: WaveNet, output: Output, storage: Storage) -> None:
        from latentscape.nets.lanes import TILE, paired, tiled

        r, s, kernel = net.config.residual, net.config.skip, net.config.kernel
        rp, sp, op = -(-r // 16) * 16, -(-s // TILE) * TILE, -(-net.outputs // TILE) * TILE
        cp = -(-(rp + sp) // TILE) * TILE
        self.r, self.rp = r, rp
        self.sizes = {"r": rp, "s": sp, "c": cp, "o": op}
        self.run_sizes = (
            rp,
            sp,
            cp,
            op,
            kernel,
            int(net.levels > 0),
            KINDS.index(output.kind),
            output.levels,
            net.outputs,
        )
        parts: list[np.ndarray] = []
        at = 0

        def put(matrix: np.ndarray) -> int:
            nonlocal at
            begin = at
            parts.append(tiled(matrix))
            at += parts[-1].size
            return begin

        rows, layers = 0, []
        for dilation, gate, out in net.layers:
            taps = gate.weight.numpy().reshape(2, r, kernel, r)  # taps from the oldest to the present one
            made = [
                fit(np.concatenate([fit(half[:, tap], rp, rp) for half in taps]), 2 * rp, rp) for tap in range(kernel)
            ]
            past = [put(matrix) for matrix in reversed(made[:-1])]
            present = put(made[-1])
            both = out.weight.numpy()
            last = put(fit(np.concatenate([fit(both[:r], rp, rp), fit(both[r:], cp - rp, rp)]), cp, rp))
            length = (kernel - 1) * dilation
            layers.append((dilation, length, rows, past[0] if past else 0, present, last))
            rows += length + _ahead() if length else 0
        self.ring_rows = max(rows, 1)
        self.layers = np.array(layers, np.int64)
        heads = cast("list[nn.Linear]", net.head)
        first, second = (layer.weight.numpy() for layer in heads)
        self.head = np.array([put(fit(first, sp, sp)), put(fit(second, op, sp))], np.int64)
        weights = np.concatenate(parts)
        self.weights = aligned(weights if storage == "float32" else paired(weights))
        self.bias = np.full(sp + op, 0, np.float32)
        self.bias[:s], self.bias[sp : sp + net.outputs] = (layer.bias.numpy() for layer in heads)
        self.bias[sp + net.outputs :] = -1e30  # logits that stand for nothing
        self.table = fit(net.table.numpy(), len(net.table), rp)
        self.start = float(net.levels) if net.levels else ((output.levels - 1) / 2 if output.levels else 0.0)
        self.shape = output.numbers()

    def padded_gates(self, gates: Tensor) -> np.ndarray:
        """Return ``[..., 2 r]`` as the kernel's padded halves."""
        r, rp = self.r, self.rp
        if r == rp:
            return np.ascontiguousarray(gates.numpy())
        halves = np.zeros((*gates.shape[:-1], 2, rp), np.float32)
        halves[..., :r] = gates.numpy().reshape(*gates.shape[:-1], 2, r)
        return halves.reshape(*gates.shape[:-1], 2 * rp)


def uniforms(seed: int, rows: Sequence[int], n: int, start: int = 0) -> np.ndarray:
    """Return draws from (0, 1), ``[rows, n, 2]`` float32; a function of seed, row and step alone.

    Args:
        seed: of all.
        rows: numbers of the streams.
        n: steps.
        start: the first step.
    """
    parts = []
    for row in rows:
        stream = numpy_stream(seed, "wavenet", int(row))
        stream.bit_generator.advance(2 * start)  # type: ignore[attr-defined]
        parts.append(((stream.integers(0, 2**64, (n, 2), np.uint64) >> np.uint64(41)) + np.float64(0.5)) * 2.0**-23)
    return np.stack(parts).astype(np.float32)


def singly(rows: Tensor) -> list[Tensor]:
    """Return each row as a batch of its own, laid out like any other: what is made of it knows of no other row."""
    return [row.clone(memory_format=torch.contiguous_format) for row in rows.split(1)]


def fit(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return a matrix in the corner of one of zeros."""
    fitted = np.zeros((rows, columns), np.float32)
    fitted[: matrix.shape[0], : matrix.shape[1]] = matrix
    return fitted


def zeros(*shape: int) -> np.ndarray:
    """Return aligned zeros."""
    return aligned(np.zeros(int(np.prod(shape)), np.float32)).reshape(shape)


def aligned(array: np.ndarray) -> np.ndarray:
    """Return a copy whose first number lies at the begin of a cache line."""
    raw = np.empty(array.nbytes + 64, np.uint8)
    begin = -raw.ctypes.data % 64
    copied = raw[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copied[:] = array
    return copied


def _ahead() -> int:
    from latentscape.nets.wavenet_kernel import AHEAD

    return AHEAD

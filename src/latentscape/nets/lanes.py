r"""Vector kernels for one processor core, written in LLVM's language and called from numba functions.

Letters: W weights, x inputs (K of them), y outputs (N), P rows that share one reading of W, U vectors of outputs held
in registers at a time; a vector is ``LANES`` float32 numbers.

A network that makes one sample after another multiplies matrices with single vectors, so that its speed is that of
reading weights. ``multiply`` keeps U vectors of y in registers while k runs over the inputs,

.. math:: y_n \leftarrow y_n + \sum_{k=1}^{K} W_{kn} x_k

summed in the order of k by fused multiply-add for every P and U, so that a row's result does not depend on how many
rows go with it, to the bit. Weights lie in tiles of 96, 64 or 32 outputs, ``[k][tile]``, and are read once, in order.

Weights are float32, or bfloat16 in pairs: a word holds output j in its low and output j + LANES in its high half. The
low half is one shift away from a float32; the high half is one as it stands, its last 16 bits being the other number:
at most half a unit of bfloat16, which :func:`paired` takes into account when it rounds.

Exponentials: :math:`e^v = 2^n e^r`, n the integer nearest to v / ln 2, e^r a polynomial of degree 6 on
[-ln 2 / 2, ln 2 / 2]; relative error below 2e-7. The gate is

.. math:: \tanh(f)\,\sigma(g) = \frac{1 - e^{-2f}}{(1 + e^{-2f})(1 + e^{-g})}

with f kept in [-10, 10] and g in [-30, 30]; absolute error below 3e-7.

Importing this module imports numba, which takes a while: import it inside functions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f", False) else 8
"""Float32 numbers in a vector register (wider vectors than the machine's are split by LLVM)."""
TILE = 32
"""Outputs are padded to a multiple of this."""
_FLOAT, _INT, _INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR, _WORDS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)
_UNROLL = 4


def tile_width(left: int) -> int:
    """Return the outputs of the next tile where so many, a multiple of 32, are left."""
    return 32 if left == 32 else 64 if left in (64, 128) else 96


def tiled(matrix: np.ndarray) -> np.ndarray:
    """Return ``[n, k]`` weights as flat tiles ``[tiles][k][width]``; n a multiple of 32, k of 4."""
    parts, done = [], 0
    while done < len(matrix):
        width = tile_width(len(matrix) - done)
        parts.append(np.ascontiguousarray(matrix[done : done + width].T, np.float32).reshape(-1))
        done += width
    return np.concatenate(parts)


def paired(weights: np.ndarray) -> np.ndarray:
    """Return tiled float32 weights as bfloat16 pairs, int32 words; see the module."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32).astype(np.int64).reshape(-1, 2, LANES)
    low = ((bits[:, 0] + 0x7FFF + ((bits[:, 0] >> 16) & 1)) >> 16) & 0xFFFF
    sign, size = bits[:, 1] & 0x80000000, bits[:, 1] & 0x7FFFFFFF
    high = np.maximum(size - low + 0x8000, 0) >> 16 << 16  # beside a large low half, 0 stays as small as can be
    return (sign | high | low).astype(np.uint32).view(np.int32).reshape(-1)


def unpaired(words: np.ndarray) -> np.ndarray:
    """Return the float32 weights that the kernels make of pairs; flat."""
    bits = np.ascontiguousarray(words).view(np.uint32).reshape(-1, LANES)
    return np.stack([bits << np.uint32(16), bits], axis=1).view(np.float32).reshape(-1)


class _Code:
    """Shorthand for the few instructions that the kernels need."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder = builder
        self.values = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]

    def every(self, number: float) -> Any:
        """A vector of one number."""
        return ir.Constant(_VECTOR, [ir.Constant(_FLOAT, float(np.float32(number)))] * LANES)

    def spread(self, scalar: Any) -> Any:
        """A vector of one value."""
        one = self.builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, _INT(0))
        return self.builder.shuffle_vector(
            one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_WORDS, [_INT(0)] * LANES)
        )

    def place(self, data: Any, index: Any, kind: Any) -> Any:
        """The address of ``data[index]`` as one of ``kind``."""
        return self.builder.bitcast(self.builder.gep(data, [index]), kind.as_pointer())

    def load(self, data: Any, index: Any, kind: Any = _VECTOR) -> Any:
        return self.builder.load(self.place(data, index, kind), align=4)

    def store(self, value: Any, data: Any, index: Any) -> None:
        self.builder.store(value, self.place(data, index, value.type), align=4)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """A b + c, rounded once."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fma.v{LANES}f32")
        return self.builder.call(function, [a, b, c])

    def between(self, value: Any, low: float, high: float) -> Any:
        b = self.builder
        value = b.select(b.fcmp_ordered("<", value, self.every(high)), value, self.every(high))
        return b.select(b.fcmp_ordered(">", value, self.every(low)), value, self.every(low))

    @contextmanager
    def vectors(self, n: Any) -> Iterator[Any]:
        """A loop over the first place of every vector of n numbers."""
        with cgutils.for_range(self.builder, self.builder.udiv(n, _INDEX(LANES))) as loop:
            yield self.builder.mul(loop.index, _INDEX(LANES))

    def folded(self, vector: Any, join: Callable[[Any, Any], Any]) -> Any:
        """All numbers of a vector joined, in every place; halves with halves, so that the order is always the same."""
        width = LANES
        while width > 1:
            width //= 2
            mask = ir.Constant(_WORDS, [_INT((lane + width) % LANES) for lane in range(LANES)])
            vector = join(vector, self.builder.shuffle_vector(vector, ir.Constant(_VECTOR, ir.Undefined), mask))
        return vector

    def exponential(self, value: Any) -> Any:
        """e^value for values in [-87, 88]."""
        b = self.builder
        magic = self.every(1.5 * 2**23)  # adding it leaves the nearest integer in the last bits
        shifted = self.fma(value, self.every(1.4426950408889634), magic)
        n = b.fsub(shifted, magic)
        r = self.fma(n, self.every(-0.693359375), value)
        r = self.fma(n, self.every(2.12194440e-4), r)
        p = self.every(1 / 720)
        for factor in (1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0):
            p = self.fma(p, r, self.every(factor))
        power = b.shl(b.bitcast(shifted, _WORDS), ir.Constant(_WORDS, [_INT(23)] * LANES))
        return b.bitcast(b.add(b.bitcast(p, _WORDS), power), _VECTOR)


def _kernel(kinds: int, generate: Callable[[_Code], None]) -> Any:
    """Return a numba function of ``kinds`` arguments, arrays and indices, whose body is generated."""

    def typed(typing_context: Any, *arguments: Any) -> Any:
        def body(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            generate(_Code(context, builder, signature, values))
            return context.get_dummy_value()

        return types.void(*arguments), body

    names = ", ".join(f"a{number}" for number in range(kinds))
    scope: dict[str, Any] = {"typed": typed}
    exec(f"def kernel(typing_context, {names}):\n    return typed(typing_context, {names})", scope)
    return intrinsic(scope["kernel"])


def _multiplying(rows: int, units: int) -> Any:
    """Return ``kernel(w, at, width, x, x_at, x_step, y, y_at, y_step, k)`` for P rows and U vectors of outputs.

    ``at`` and ``width`` (of a tile) count weights; ``x_step`` and ``y_step`` are from one row to the next.
    """

    def generate(code: _Code) -> None:
        b = code.builder
        w, at, width, x, x_at, x_step, y, y_at, y_step, k = code.values
        pairs = w.type.pointee == _INT
        sums = [[cgutils.alloca_once(b, _VECTOR) for _ in range(units)] for _ in range(rows)]
        x_rows = [b.add(x_at, b.mul(x_step, _INDEX(row))) for row in range(rows)]
        y_rows = [b.add(y_at, b.mul(y_step, _INDEX(row))) for row in range(rows)]
        for row in range(rows):
            for unit in range(units):
                b.store(code.load(y, b.add(y_rows[row], _INDEX(unit * LANES))), sums[row][unit])

        def weights(start: Any) -> list[Any]:
            if not pairs:
                return [code.load(w, b.add(start, _INDEX(unit * LANES))) for unit in range(units)]
            found = []
            for unit in range(0, units, 2):
                words = code.load(w, b.add(b.lshr(start, _INDEX(1)), _INDEX(unit // 2 * LANES)), _WORDS)
                low = b.shl(words, ir.Constant(_WORDS, [_INT(16)] * LANES))
                found += [b.bitcast(low, _VECTOR), b.bitcast(words, _VECTOR)]
            return found

        with cgutils.for_range(b, b.udiv(k, _INDEX(_UNROLL))) as loop:
            first = b.mul(loop.index, _INDEX(_UNROLL))
            for step in range(_UNROLL):
                index = b.add(first, _INDEX(step))
                row_weights = weights(b.add(at, b.mul(index, width)))
                for row in range(rows):
                    value = code.spread(b.load(b.gep(x, [b.add(x_rows[row], index)])))
                    for unit in range(units):
                        b.store(code.fma(row_weights[unit], value, b.load(sums[row][unit])), sums[row][unit])
        for row in range(rows):
            for unit in range(units):
                code.store(b.load(sums[row][unit]), y, b.add(y_rows[row], _INDEX(unit * LANES)))

    return _kernel(10, generate)


def _each(make: Callable[[_Code, list[Any]], Any]) -> Callable[[_Code], None]:
    """Return what writes ``y[y_at:][:n] = make(x[x_at:][:n], ...)``; arguments are x, x_at, ..., y, y_at, n."""

    def generate(code: _Code) -> None:
        *pairs, n = code.values
        places = list(zip(pairs[::2], pairs[1::2], strict=True))
        with code.vectors(n) as index:
            read = [code.load(data, code.builder.add(at, index)) for data, at in places[:-1]]
            code.store(make(code, read), places[-1][0], code.builder.add(places[-1][1], index))

    return generate


def _rectified(code: _Code, values: list[Any]) -> Any:
    b = code.builder
    return b.select(b.fcmp_ordered(">", values[0], code.every(0.0)), values[0], code.every(0.0))


def _sigmoid(code: _Code, values: list[Any]) -> Any:
    b, one = code.builder, code.every(1.0)
    return b.fdiv(one, b.fadd(one, code.exponential(b.fmul(code.between(values[0], -30.0, 30.0), code.every(-1.0)))))


def _gate(code: _Code) -> None:
    b = code.builder
    y, y_at, a, a_at, n = code.values
    with code.vectors(n) as index:
        f = code.load(y, b.add(y_at, index))
        g = code.load(y, b.add(y_at, b.add(index, n)))
        e = code.exponential(b.fmul(code.between(f, -10.0, 10.0), code.every(-2.0)))
        h = code.exponential(b.fmul(code.between(g, -30.0, 30.0), code.every(-1.0)))
        one = code.every(1.0)
        below = b.fmul(b.fadd(one, e), b.fadd(one, h))
        code.store(b.fdiv(b.fsub(one, e), below), a, b.add(a_at, index))


def _exponentials(code: _Code) -> None:
    b = code.builder
    y, y_at, sums, n, slope = code.values
    most = cgutils.alloca_once_value(b, code.every(-3e38))
    with code.vectors(n) as index:
        value, best = code.load(y, b.add(y_at, index)), b.load(most)
        b.store(b.select(b.fcmp_ordered(">", value, best), value, best), most)
    greatest = code.folded(b.load(most), lambda one, other: b.select(b.fcmp_ordered(">", one, other), one, other))
    with code.vectors(n) as index:
        v = b.fmul(b.fsub(code.load(y, b.add(y_at, index)), greatest), code.spread(slope))
        e = code.exponential(code.between(v, -87.0, 0.0))
        code.store(e, y, b.add(y_at, index))
        b.store(b.extract_element(code.folded(e, b.fadd), _INT(0)), b.gep(sums, [b.udiv(index, _INDEX(LANES))]))


ONE_96, ONE_64, ONE_32 = (_multiplying(1, width // LANES) for width in (96, 64, 32))
TWO_32 = _multiplying(2, 32 // LANES)
FOUR_PAIR = _multiplying(4, 2)
gate = _kernel(5, _gate)
"""``gate(y, y_at, a, a_at, n)``: ``a[:n] = tanh(y[:n]) sigmoid(y[n:2n])``, n a multiple of LANES."""
exponentials = _kernel(5, _exponentials)
"""``exponentials(y, y_at, sums, n, slope)``: ``y[:n] = exp(slope (y[:n] - max))``; ``sums``: theirs, by LANES."""
move = _kernel(5, _each(lambda code, values: values[0]))
"""``move(x, x_at, y, y_at, n)``: ``y[:n] = x[:n]``."""
add = _kernel(7, _each(lambda code, values: code.builder.fadd(*values)))
"""``add(x, x_at, v, v_at, y, y_at, n)``: ``y[:n] = x[:n] + v[:n]``."""
rectify = _kernel(5, _each(_rectified))
"""``rectify(x, x_at, y, y_at, n)``: ``y[:n] = max(x[:n], 0)``."""
sigmoid = _kernel(5, _each(_sigmoid))
"""``sigmoid(x, x_at, y, y_at, n)``: ``y[:n] = 1 / (1 + exp(-x[:n]))``, x kept in [-30, 30]."""

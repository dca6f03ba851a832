r"""Non-negative powers from the powers of overlapping triangular bands.

Letters: t frames, m bins, v given band powers ``[t, bands]``, H triangles ``[bands, m]``, p powers ``[t, m]``. A bin
lies in at most two neighbouring bands, so that a product with H costs two multiplications a bin. Each frame is solved
by itself: the result does not depend on how frames are cut into blocks.
"""

import numpy as np

from latentscape.core.compiled import compiled, each_row


@compiled
def _solve(v, first, lower, upper, area, updates, p):  # noqa: ANN001, ANN202
    """Multiplicative updates for one row of frames; see :func:`solve`."""
    bands = v.shape[1]
    bins = first.shape[0]
    power = np.empty(bins)
    found = np.empty(bands + 1)
    ratio = np.zeros(bands + 1)
    for n in range(v.shape[0]):
        for j in range(bins):
            power[j] = 1.0
        for update in range(updates + 1):
            if update == 0:  # begin with each band's power spread evenly
                for band in range(bands):
                    ratio[band] = v[n, band] / area[band]
            else:
                found[:] = 1e-30
                for j in range(bins):
                    found[first[j]] += lower[j] * power[j]
                    found[first[j] + 1] += upper[j] * power[j]
                for band in range(bands):
                    ratio[band] = v[n, band] / found[band]
            for j in range(bins):
                weight = lower[j] + upper[j]
                mixed = lower[j] * ratio[first[j]] + upper[j] * ratio[first[j] + 1]
                power[j] = power[j] * mixed / weight if weight > 0 else 0.0
        for j in range(bins):
            p[n, j] = power[j]


def solve(v: np.ndarray, filters: np.ndarray, updates: int, threads: int = 1) -> np.ndarray:
    """Return p >= 0 with H p = v, as near as ``updates`` steps come in the Kullback-Leibler divergence.

    Args:
        v: ``[r, t, bands]``, at least 0.
        filters: H, ``[bands, m]``: at most two neighbouring bands a bin.
        updates: number of multiplicative updates.
        threads: rows at a time.

    Returns:
        ``[r, t, m]`` float32.
    """
    bins = np.arange(filters.shape[1])
    first = np.argmax(filters > 0, axis=0)
    padded = np.concatenate((filters, np.zeros_like(filters[:1]))).astype(np.float64)
    lower, upper = padded[first, bins], padded[first + 1, bins]
    area = filters.sum(axis=1, dtype=np.float64)
    p = np.empty((*v.shape[:2], len(bins)), np.float32)
    v = v.astype(np.float64)

    def work(row: int) -> None:
        _solve(v[row], first, lower, upper, area, updates, p[row])

    each_row(work, len(v), threads)
    return p

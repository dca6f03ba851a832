r"""Block tridiagonal systems, many at once: symmetric, positive definite, blocks of any width.

Letters: p systems, n block rows, d width of a block, D diagonal blocks ``[p, n, d, d]``, O blocks above the diagonal
``[p, n - 1, d, d]`` (below it their transposes), x and y right and left sides ``[p, n, d]``.

Block elimination (Golub and Van Loan 2013, section 4.5.1): :math:`S_1 = D_1`,
:math:`S_{i+1} = D_{i+1} - O_i^\top S_i^{-1} O_i`, every S by its Cholesky factor; forwards
:math:`y_i = S_i^{-1}(x_i - O_{i-1}^\top y_{i-1})`, backwards :math:`y_i \leftarrow y_i - S_i^{-1} O_i\, y_{i+1}`. That
is :math:`O(n d^3)` a system, with all systems in one call a block row.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class Factored:
    """A factored system; :meth:`solve` takes any number of right sides in turn.

    Args:
        diagonal: D, only their lower triangles are read.
        above: O.
    """

    def __init__(self, diagonal: Float[Tensor, "p n d d"], above: Float[Tensor, "p m d d"]) -> None:
        self._above = above.unbind(1)
        self._inverse: list[Tensor] = []
        self._carried: list[Tensor] = []
        pivot, one = diagonal[:, 0], torch.eye(diagonal.shape[-1], dtype=diagonal.dtype, device=diagonal.device)
        for i in range(diagonal.shape[1]):
            factor, failed = torch.linalg.cholesky_ex(pivot)
            good = failed[:, None, None] == 0
            inverse = torch.cholesky_inverse(torch.where(good, factor, one))
            self._inverse.append(torch.where(good, inverse, torch.nan))
            if i < above.shape[1]:
                self._carried.append(self._inverse[-1] @ above[:, i])
                pivot = diagonal[:, i + 1] - above[:, i].mT @ self._carried[-1]

    def solve(self, right: Float[Tensor, "p n d"]) -> Float[Tensor, "p n d"]:
        """Return the solutions; NaN for a system that is not positive definite."""
        sides = right[..., None].unbind(1)
        solved = [self._inverse[0] @ sides[0]]
        for above, inverse, side in zip(self._above, self._inverse[1:], sides[1:], strict=True):
            solved.append(inverse @ (side - above.mT @ solved[-1]))
        for i in range(len(solved) - 2, -1, -1):
            solved[i] = solved[i] - self._carried[i] @ solved[i + 1]
        return torch.stack(solved, 1)[..., 0]

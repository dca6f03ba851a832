r"""Tables in which a net looks up one of many ordered codes.

Codes of sound are places on a line: 127 and 128 are nearly the same sample. A table drawn at random hides that, and a
net spends its first hours on finding it. Here code i, at :math:`v_i` between -1 and 1, begins as smooth features

.. math:: \sqrt2 \sin(\omega_j v_i + \varphi_j), \qquad \omega_j = \pi 2^{-1} \ldots \pi 2^4,

of unit variance, with random phases, so that codes which are near one another look alike, more or less finely; from
there the table is learnt as any.
"""

import torch
from jaxtyping import Float
from torch import Tensor

SLOWEST, FASTEST = -1.0, 4.0
"""log2 of half turns between the first code and the last."""


def code_table(levels: int, width: int) -> Float[Tensor, "_ width"]:
    """Return ``[levels + 1, width]``: a row a code, then one, drawn at random, for "nothing before"."""
    place = torch.linspace(-1, 1, levels).unsqueeze(1)
    speed = torch.pi * 2 ** torch.linspace(SLOWEST, FASTEST, width)
    features = 2**0.5 * torch.sin(place * speed + 2 * torch.pi * torch.rand(width))
    return torch.cat([features, torch.randn(1, width)])

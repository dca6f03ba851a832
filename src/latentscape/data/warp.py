r"""Pictures seen a little otherwise in training: turned, sheared, stretched and shifted, each by a draw of its own.

Letters: p a place in the picture that comes out, in pixels from its middle; A a matrix of 2 x 2, s a shift; the value
at p is that of the original at

.. math:: A p + s, \qquad A = \begin{pmatrix} \cos a & -\sin a \\ \sin a & \cos a \end{pmatrix}
          \begin{pmatrix} 1 & b \\ 0 & 1 \end{pmatrix} \operatorname{diag}(e^{c_1}, e^{c_2})

Bits stay bits: the nearest pixel is taken; grey and colour are interpolated between four. Outside the original there
is what lies on its border. Held-out pictures are never varied, so figures stay those of the data; training then fits a
law that is a little wider than theirs, which costs less than it gains where there are few pictures.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.random import Key, torch_stream


class WarpConfig(Record):
    """How far; every number is the most to either side, drawn evenly. The defaults vary nothing.

    Attributes:
        turn: a, degrees.
        shear: b.
        stretch: c, natural logarithm of a factor, along each axis by itself.
        shift: s, pixels along each axis.
        share: of the pictures that are varied; the others are seen as they are.
    """

    turn: float = Field(0.0, ge=0, le=180)
    shear: float = Field(0.0, ge=0, le=2)
    stretch: float = Field(0.0, ge=0, le=1)
    shift: float = Field(0.0, ge=0)
    share: float = Field(1.0, ge=0, le=1)


def warp(config: WarpConfig, x: Float[Tensor, "b c h w"], *keys: Key) -> Float[Tensor, "b c h w"]:
    """Return pictures varied by draws from the stream that the keys name; the same keys give the same draws."""
    draws = torch.rand(len(x), 7, generator=torch_stream("warp", *keys))
    far = (2 * draws[:, :6] - 1) * torch.tensor(
        [math.radians(config.turn), config.shear, config.stretch, config.stretch, config.shift, config.shift]
    )
    a, b, c1, c2, s1, s2 = far.unbind(1)
    h, w = x.shape[2:]
    rows = torch.stack([a.cos() * c1.exp(), (b * a.cos() - a.sin()) * c2.exp()], 1)
    columns = torch.stack([a.sin() * c1.exp(), (b * a.sin() + a.cos()) * c2.exp()], 1)
    matrix = torch.stack([rows, columns], 1)
    matrix = matrix * torch.tensor([[1.0, h / w], [w / h, 1.0]])  # affine_grid's picture is two wide and two high
    theta = torch.cat([matrix, torch.stack([2 * s1 / w, 2 * s2 / h], 1)[:, :, None]], 2)
    bits = bool(((x == 0) | (x == 1)).all())
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, "nearest" if bits else "bilinear", "border", align_corners=False)
    return torch.where((draws[:, 6] < config.share)[:, None, None, None], moved, x)

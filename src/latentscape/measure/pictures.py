r"""How far a picture is from another: peak signal-to-noise ratio and structural similarity.

Letters: x reference, y estimate, values in [0, 1]; G a Gaussian window of 11 x 11 (deviation 1.5) that sums to one.

.. math::
    \mathrm{PSNR} = -10 \log_{10} \overline{(x - y)^2}, \qquad
    \mathrm{SSIM} = \overline{\frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
        {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}}

with local means, variances and covariance under G, :math:`c_1 = 0.01^2`, :math:`c_2 = 0.03^2`, over all places where G
lies inside and all channels (Wang, Bovik, Sheikh and Simoncelli 2004, eq. 13 and section III.C).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.measure import CEILING_DB

WINDOW, DEVIATION = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(reference: Float[Tensor, "b c h w"], estimate: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Return the PSNR of every picture, dB, at most 200."""
    error = (reference.double() - estimate.double()).square().flatten(1).mean(1)
    return (-10 * error.clamp_min(1e-300).log10()).clamp_max(CEILING_DB)


def ssim(reference: Float[Tensor, "b c h w"], estimate: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Return the SSIM of every picture, 1 where both are the same.

    Raises:
        DataError: a picture is smaller than the window.
    """
    if min(reference.shape[2:]) < WINDOW:
        size = " x ".join(map(str, reference.shape[2:]))
        raise DataError(f"ssim got pictures of {size}, expected at least {WINDOW} x {WINDOW}")
    place = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    bell = torch.exp(-0.5 * (place / DEVIATION).square())
    bell = (bell / bell.sum()).to(reference.device)
    x, y = (one.double().flatten(0, 1).unsqueeze(1) for one in (reference, estimate))

    def local(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, bell[None, None, :, None]), bell[None, None, None])

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x.square(), local(y * y) - mean_y.square()
    both = local(x * y) - mean_x * mean_y
    top = (2 * mean_x * mean_y + _C1) * (2 * both + _C2)
    found = top / ((mean_x.square() + mean_y.square() + _C1) * (var_x + var_y + _C2))
    return found.flatten(1).mean(1).reshape(len(reference), -1).mean(1)

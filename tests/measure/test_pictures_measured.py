"""PSNR and SSIM of pictures, against independent ones."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from latentscape.core.errors import DataError
from latentscape.measure.pictures import psnr, ssim


def by_scipy(x, y):
    """Return the SSIM of one channel; scipy's Gaussian cut at 3.5 deviations is 11 wide, and its borders are left out."""
    soft = lambda values: gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]  # noqa: E731
    a, b = soft(x), soft(y)
    va, vb, c = soft(x * x) - a * a, soft(y * y) - b * b, soft(x * y) - a * b
    return np.mean((2 * a * b + 1e-4) * (2 * c + 9e-4) / ((a * a + b * b + 1e-4) * (va + vb + 9e-4)))


def test_pictures_are_compared_as_scipy_would():
    x = torch.rand(3, 2, 14, 17)
    y = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    assert torch.allclose(ssim(x, x), torch.ones(3, dtype=torch.float64))
    for row in range(3):
        expected = np.mean([by_scipy(x[row, c].double().numpy(), y[row, c].double().numpy()) for c in range(2)])
        assert float(ssim(x, y)[row]) == pytest.approx(expected, abs=1e-9)
        error = float((x[row].double() - y[row].double()).square().mean())
        assert float(psnr(x, y)[row]) == pytest.approx(10 * np.log10(1 / error), abs=1e-9)
    assert psnr(x, x).tolist() == [200.0] * 3
    assert float(psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1))) == pytest.approx(20, abs=1e-5)
    with pytest.raises(DataError, match="ssim got pictures of 8 x 20, expected at least 11 x 11"):
        ssim(torch.zeros(1, 1, 8, 20), torch.zeros(1, 1, 8, 20))

r"""Units: the affine map between what networks see and what data are.

.. math:: x = \text{mean} + \text{scale} \cdot \text{standardised}

One :class:`Affine` is shared by encoder and likelihood, so densities stay in the units of x:
:math:`\log p(x) = \log p(\text{standardised}) - \sum \log \text{scale}`.
"""

import torch
from torch import Tensor, nn

from latentscape.core.errors import DataError


class Affine(nn.Module):
    """The map, as buffers of the event's shape (they travel with the weights).

    Args:
        event_shape: shape of one x.
        mean: broadcastable to ``event_shape``, in the units of x.
        scale: likewise, positive.

    Raises:
        DataError: mean or scale does not fit the shape, is not finite, or the scale is not positive.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, event_shape: tuple[int, ...], mean: Tensor | float = 0.0, scale: Tensor | float = 1.0) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("scale", scale)):
            tensor = torch.as_tensor(value).detach().to(torch.get_default_dtype())
            try:
                tensor = tensor.broadcast_to(event_shape).clone(memory_format=torch.contiguous_format)
            except RuntimeError as error:
                raise DataError(
                    f"units: {name} has shape {tuple(tensor.shape)}, which does not fit x {event_shape}"
                ) from error
            if not bool(tensor.isfinite().all()):
                raise DataError(f"units: {name} holds NaN or infinity, expected finite values")
            self.register_buffer(name, tensor)
        if not bool((self.scale > 0).all()):
            raise DataError(f"units: the least scale is {float(self.scale.min()):g}, expected positive values")

    def restore(self, standardised: Tensor) -> Tensor:
        """Return ``mean + scale * standardised``, in the units of x."""
        return torch.addcmul(self.mean, standardised, self.scale)

    def standardise(self, x: Tensor) -> Tensor:
        """Return ``(x - mean) / scale``; integer data become floating point."""
        return (x.to(self.mean.dtype) - self.mean) / self.scale

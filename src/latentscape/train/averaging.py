r"""The exponential average of the weights, unbiased from its first step.

Letters: :math:`\theta_t` weights after t steps, d decay, a average. The plain average from zero,
:math:`\sum_{i \le t} (1 - d) d^{t-i} \theta_i`, falls short by :math:`1 - d^t`; divided by that it is the recursion

.. math:: a_t = a_{t-1} + w_t (\theta_t - a_{t-1}), \qquad w_t = \frac{1 - d}{1 - d^t}

with :math:`w_1 = 1`: the initial weights never enter, and early on it is nearly the plain mean.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average of named parameters.

    Args:
        parameters: by name; they are followed, never changed outside :meth:`worn`.
        decay: d, in (0, 1).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self._parameters: dict[str, Tensor] = dict(parameters)
        self._values = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def follow(self, t: int, frozen: Tensor | None = None) -> None:
        """Take in the weights after step t, t = 1, 2, ...; not where ``frozen``, a flag on their device, is 1."""
        weight = (1 - self.decay) / (1 - self.decay**t)
        values, weights = list(self._values.values()), list(self._parameters.values())
        if frozen is None:
            torch._foreach_lerp_(values, weights, weight)
        else:
            way = torch._foreach_sub(weights, values)
            torch._foreach_mul_(way, weight * (1 - frozen))
            torch._foreach_add_(values, way)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Within, the parameters hold the average; afterwards their own values again, to the bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self._values[name] = self._values[name], parameter.data

    def tensors(self) -> dict[str, Tensor]:
        """Return the average by parameter name."""
        return dict(self._values)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the average from :meth:`tensors`."""
        for name, value in self._values.items():
            value.copy_(tensors[name])

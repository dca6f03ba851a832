"""Mixed precision as this project wants it from Fabric.

Importing this module imports Fabric, which takes seconds: import it inside functions.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning_fabric.plugins.precision import Precision


class Autocast(Precision):
    """Autocast to bfloat16 that can be switched, around the forward pass only.

    Fabric's own mixed precision rounds the *inputs* to bfloat16: then the loss would measure a rounded x.
    """

    precision: Any = "bf16-mixed"

    def __init__(self) -> None:
        self.on = False
        self.device_type = "cpu"

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return autocast, or nothing."""
        return torch.autocast(self.device_type, dtype=torch.bfloat16) if self.on else nullcontext()

    def convert_input(self, data: Any) -> Any:
        """Leave inputs as they are."""
        return data

    def convert_output(self, data: Any) -> Any:
        """Leave outputs as they are: objectives return float32."""
        return data

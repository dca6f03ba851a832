"""A model of frames in dB that keeps the level of each down by 6 dB."""

import torch
from torch.distributions import Independent, Normal

from latentscape.models.model import LatentModel, Layer


class Halved(LatentModel):
    """z is the frame in tens of dB; decoding it takes 3 dB away."""

    def __init__(self, event_shape):
        super().__init__()
        self.event_shape, self.latent_shapes = event_shape, (event_shape,)
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def infer(self, x, context={}, *, samples=1, mean=False):
        q = Independent(Normal(x / 10, 0.1), 1)
        return (Layer((x / 10 if mean else q.sample())[None], q, q),)

    def generate(self, n, context={}, *, clamp=(), temperature=()):
        return (torch.randn(n, *self.event_shape),)

    def decode(self, z, context={}):
        return Independent(Normal(10 * z[0] - 3, 1.0), 1)

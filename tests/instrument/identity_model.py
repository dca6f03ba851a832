"""A model of which everything is known: z is (part of) x itself, in units of its own."""

import math

import torch
from torch.distributions import Independent, Normal

from latentscape.models.model import LatentModel, Layer


class Identity(LatentModel):
    """x = scale z + shift + bias[label], all of x in one latent layer, or split in two of them."""

    def __init__(self, event_shape, scale=10.0, shift=-30.0, layers=1, label=None):
        super().__init__()
        size = math.prod(event_shape)
        self.event_shape = event_shape
        self.latent_shapes = ((size,),) if layers == 1 else ((size // 2,), (1, size - size // 2))
        self.scale, self.shift, self.label = scale, shift, label
        self.dropout = torch.nn.Dropout(0.9)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.told = []

    def bias(self, context):
        self.told.append(dict(context))
        return 5.0 * context[self.label][:, None] if self.label else 0.0

    def infer(self, x, context={}, *, samples=1, mean=False):
        z = self.dropout((x.flatten(1).float() - self.shift - self.bias(context)) / self.scale)
        sizes = [math.prod(shape) for shape in self.latent_shapes]
        parts = [p.reshape(len(x), *shape) for p, shape in zip(z.split(sizes, 1), self.latent_shapes, strict=True)]
        unit = Independent(Normal(torch.zeros(1), 1.0), 1)
        return tuple(Layer(part[None], unit, unit) for part in parts)

    def generate(self, n, context={}, *, clamp=(), temperature=()):
        warmth = temperature or [1.0] * len(self.latent_shapes)
        return tuple(w * torch.randn(n, *shape) for w, shape in zip(warmth, self.latent_shapes, strict=True))

    def decode(self, z, context={}):
        x = torch.cat([part.flatten(1) for part in z], 1) * self.scale + self.shift + self.bias(context)
        return Independent(Normal(x.reshape(-1, *self.event_shape), 1.0), len(self.event_shape))

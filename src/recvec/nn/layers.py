"""Parts of networks. Weights are drawn from a generator that is given: torch's global random numbers stay as they are."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from recvec.types import Array

Layer = TypeVar("Layer", bound=nn.Module)


def table(n: int, d: int, rng: np.random.Generator, *, deviation: float, sparse: bool = False) -> nn.Embedding:
    """Return vectors of n rows, drawn from N(0, deviation ** 2), shape (n, d)."""
    embedding = skip_init(nn.Embedding, n, d, sparse=sparse)  # type: ignore[no-untyped-call]
    return _filled(embedding, "weight", rng.standard_normal((n, d), dtype=np.float32) * np.float32(deviation))


def linear(n_in: int, n_out: int, rng: np.random.Generator, *, bias: bool = True) -> nn.Linear:
    """Return a dense layer, weights uniform within +-sqrt(6 / (n_in + n_out)) (Glorot, Bengio 2010), biases 0."""
    layer = skip_init(nn.Linear, n_in, n_out, bias=bias)  # type: ignore[no-untyped-call]
    reach = np.sqrt(6 / (n_in + n_out))
    _filled(layer, "weight", rng.uniform(-reach, reach, (n_out, n_in)))
    return _filled(layer, "bias", np.zeros(n_out)) if bias else layer


def mlp(widths: Sequence[int], rng: np.random.Generator) -> nn.Sequential:
    """Return dense layers from ``widths[0]`` inputs to ``widths[-1]`` outputs, each followed by max(0, x)."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [linear(n_in, n_out, rng), nn.ReLU()]
    return nn.Sequential(*layers)


def _filled(layer: Layer, name: str, values: Array) -> Layer:
    with torch.no_grad():
        parameter: Tensor = getattr(layer, name)
        parameter.copy_(torch.from_numpy(np.asarray(values, np.float32)))
    return layer

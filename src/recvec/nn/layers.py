"""Parts of networks. Weights are drawn from a generator that is given: torch's global random numbers stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from recvec.kernels.factorization import sparse_dense
from recvec.kernels.towers import Tower
from recvec.types import Array, Executor

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


@dataclass(frozen=True, eq=False)
class Bags:
    """Sparse rows on their way through a layer: each is a bag of features with values.

    Parameters
    ----------
    rows : csr_array, float32, shape (n, m)
        Categories, values of lists, numbers, coordinates of vectors, items of a history: whatever has a vector in a table.
    executor : Executor
        Runs blocks of rows, forwards and backwards; the bits do not depend on it.
    transposed : csr_array, shape (m, n), optional
        The same transposed, where it is known already.
    """

    rows: sp.csr_array
    executor: Executor
    transposed: sp.csr_array | None = None

    def times(self, vectors: Tensor) -> Tensor:
        """Return the sum of value times vector of each row, shape (n, d), for vectors (m, d)."""
        if vectors.device.type == "cpu":
            return _Sums.apply(vectors, self)  # type: ignore[no-untyped-call]
        entries = self.rows.tocoo()
        places = torch.from_numpy(np.stack([side.astype(np.int64) for side in entries.coords])).to(vectors.device)
        values = torch.from_numpy(entries.data).to(vectors.device)
        return torch.sparse.mm(torch.sparse_coo_tensor(places, values, self.rows.shape), vectors)


class _Sums(torch.autograd.Function):
    """A sparse product by our own kernel; the gradient of the vectors is the product of the transposed rows."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, bags: Bags) -> Tensor:
        ctx.bags = bags
        return torch.from_numpy(sparse_dense(bags.rows, vectors.detach().numpy(), executor=bags.executor))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        bags: Bags = ctx.bags
        back = sp.csr_array(bags.rows.T.tocsr()) if bags.transposed is None else bags.transposed
        return torch.from_numpy(sparse_dense(back, gradients[0].contiguous().numpy(), executor=bags.executor)), None


class TowerNetwork(nn.Module):
    """The network of `kernels.towers`, as torch trains it.

    Parameters
    ----------
    n_features, n_met : int
        a and m.
    widths : sequence of int
        h, the widths of the layers after it, and d.
    rng : numpy.random.Generator
        Draws the first weights: of vectors N(0, deviation ** 2), of dense layers as `linear`.
    deviation : float
        As above.
    with_linear : bool
        Whether there is a linear part beside the layers; it begins at 0.
    """

    def __init__(
        self, n_features: int, n_met: int, widths: Sequence[int], rng: np.random.Generator, *, deviation: float, with_linear: bool
    ) -> None:
        super().__init__()
        self.features, self.met = (
            nn.Parameter(torch.from_numpy(rng.standard_normal((n, widths[0]), dtype=np.float32) * np.float32(deviation)))
            for n in (n_features, n_met)
        )
        n_linear = n_features if with_linear and len(widths) > 1 else 0
        self.linear = nn.Parameter(torch.zeros(n_linear, widths[-1]))
        self.bias = nn.Parameter(torch.zeros(widths[0]))
        self.layers = nn.ModuleList(linear(n_in, n_out, rng) for n_in, n_out in pairwise(widths))

    def forward(self, features: Bags, met: Bags) -> Tensor:
        """Return what comes out for n rows of features (n, a) and of others met (n, m), shape (n, d)."""
        z = self.bias + features.times(self.features) if len(self.features) else self.bias.expand(features.rows.shape[0], -1)
        if len(self.met):
            z = z + met.times(self.met)
        for layer in self.layers:
            z = layer(torch.relu(z))
        return z + features.times(self.linear) if len(self.linear) else z

    def tower(self) -> Tower:
        """Return the weights as they are now, which nothing changes."""
        dense: list[nn.Linear] = list(self.layers)  # type: ignore[arg-type]
        features, met, low_rank = (_array(p) for p in (self.features, self.met, self.linear))
        biases = (_array(self.bias), *(_array(layer.bias) for layer in dense))
        return Tower(features, met, low_rank, biases, tuple(np.ascontiguousarray(_array(layer.weight).T) for layer in dense))


def _array(parameter: Tensor) -> Array:
    return parameter.detach().cpu().numpy().copy()


def _filled(layer: Layer, name: str, values: Array) -> Layer:
    with torch.no_grad():
        parameter: Tensor = getattr(layer, name)
        parameter.copy_(torch.from_numpy(np.asarray(values, np.float32)))
    return layer

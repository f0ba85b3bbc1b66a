"""The network of `conv-ncf`: training, and the scores of a trained one. Needs torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from recvec.contract import Training
from recvec.models.ncf import batch_of
from recvec.models.ncf_network import Network, epochs_done
from recvec.nn import losses
from recvec.nn.batches import Batch, Pairs
from recvec.nn.device import computing
from recvec.nn.layers import linear
from recvec.nn.loop import Plan, train
from recvec.types import F32, Array

FACTOR_BATCH = 8192  # pairs of a step of the first phase; fewer where the table is small, as in `models.ncf.batch_of`
PAIRS_AT_ONCE = 256  # scored at once


class Convolutions(nn.Module):
    """Layers of 2 x 2 without overlap over an outer product, starting as the dot product.

    A layer is a product of its patches, (n, 4 channels), with a matrix; columns of a patch are its places (0, 0), (0, 1), (1, 0),
    (1, 1), the item's axis first, channels within.
    """

    def __init__(self, method: Any, rng: np.random.Generator) -> None:
        super().__init__()
        d, c = method.embedding_dim, method.channels
        n_layers = d.bit_length() - 1
        layers = [linear(4 if n == 0 else 4 * c, c, rng) for n in range(n_layers)]
        self.layers, self.out = nn.ModuleList(layers), linear(c, 1, rng, bias=False)
        with torch.no_grad():
            for n, layer in enumerate(layers):
                _add_diagonal(layer.weight, 0 if n == 0 else c)
            self.out.weight.zero_()
            self.out.weight[0, 0], self.out.weight[0, 1] = 1, -1

    def forward(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the scores (n,) of vectors (n, d) of users and items."""
        n, half = len(p), p.shape[1] // 2
        first: Any = self.layers[0]
        mixed = p.reshape(n, half, 2) @ first.weight.reshape(-1, 2, 2).permute(2, 1, 0).reshape(2, -1)  # (n, a, (t, c)), sums over s
        mixed = mixed.reshape(n, half, 2, -1).transpose(1, 2).reshape(n, 2, -1)  # (n, t, (a, c))
        values = torch.relu(q.reshape(n, half, 2) @ mixed + first.bias.repeat(half))  # (n, b, (a, c))
        for layer in self.layers[1:]:
            half //= 2
            patches = values.reshape(n, half, 2, half, 2, -1).transpose(2, 3).reshape(n, half * half, -1)
            values = torch.relu(functional.linear(patches, layer.weight, layer.bias))  # type: ignore[arg-type]
        return self.out(values.reshape(n, -1))[:, 0]


def _add_diagonal(weight: Tensor, channels: int) -> None:
    """Let the first two results of a layer add up the diagonal of a patch, as it is and negated; 0 channels: the patch has one each."""
    weight[:2] = 0
    for corner in (0, 3):
        for row, sign in ((0, 1), (1, -1)):
            weight[row, corner * max(channels, 1)] = sign
            if channels:  # what is below 0 comes in the second channel
                weight[row, corner * channels + 1] = -sign


class ConvNetwork(nn.Module):
    """Factors, trained first, and the convolutions over them."""

    def __init__(self, method: Any, shape: tuple[int, int], rng: np.random.Generator) -> None:
        super().__init__()
        self.factors, self.convolutions = Network(method, shape, rng), Convolutions(method, rng)

    def loss(self, batch: Batch, reg: float) -> Tensor:
        """Return the loss of pairs of a met and an unmet item, with the penalty."""
        p, met, unmet = (
            self.factors.gmf_users[batch.users],
            self.factors.gmf_items[batch.items],
            self.factors.gmf_items[batch.negatives[:, 0]],
        )
        scores = self.convolutions(torch.cat([p, p]), torch.cat([met, unmet]))
        squares = (p.square().sum() + met.square().sum() + unmet.square().sum()) / len(p)
        return losses.bpr(scores[: len(p)], scores[len(p) :, None]) + reg * squares

    def settle(self) -> None:
        """Take the weights of the products into the factors, so that their score is the dot product."""
        users, items = self.factors.vectors()
        with torch.no_grad():
            self.factors.gmf_users.copy_(torch.from_numpy(users))
            self.factors.gmf_items.copy_(torch.from_numpy(items))
            self.factors.mix.fill_(1)

    def arrays(self) -> dict[str, Array]:
        """Return what scores beside the vectors."""
        found = {f"{name}.{n}": getattr(layer, name) for n, layer in enumerate(self.convolutions.layers) for name in ("weight", "bias")}
        return {name: value.detach().cpu().numpy().copy() for name, value in {**found, "out": self.convolutions.out.weight[0]}.items()}


def trained(method: Any, matrix: sp.csr_array, training: Training) -> tuple[F32, F32, dict[str, Array], tuple[str, ...]]:
    """Train and return user vectors, item vectors, convolutions and notes."""
    rng, executor = training.rng, training.runtime.executor
    first = Plan(epochs=method.n_apart, learning_rate=method.start_rate, schedule="linear")
    second = Plan(epochs=method.epochs - method.n_apart, learning_rate=method.learning_rate, schedule="linear")
    done = epochs_done(training)
    notes: tuple[str, ...] = ()
    with computing(replace(training.runtime, threads=1)) as device:  # the first phase has threads of its own
        network = ConvNetwork(method, matrix.shape, rng).to(device)
        factors = network.factors
        dealt = Pairs.of(matrix, batch_size=batch_of(replace(method, batch_size=FACTOR_BATCH), matrix.nnz), n_negatives=method.n_negatives)
        if first.epochs and done <= first.epochs:
            notes = train(
                network,
                lambda: dealt.epoch(rng, executor, device),
                lambda batch: factors.loss(batch, method.start_reg, executor, apart=False),
                first, training, name=method.name, vectors=factors.vectors,
            )  # fmt: skip
            training = replace(training, resume=None)
        if done <= first.epochs:
            network.settle()
    if not notes:
        with computing(training.runtime):
            dealt = replace(dealt, batch_size=batch_of(method, matrix.nnz), n_negatives=1)
            notes = train(
                network,
                lambda: dealt.epoch(rng, executor, device),
                lambda batch: network.loss(batch, method.reg),
                second, training, name=method.name, vectors=factors.vectors, after=first.epochs,
            )  # fmt: skip
    return *factors.vectors(), network.arrays(), notes


@dataclass(frozen=True, eq=False)
class Scorer:
    """The scores of a trained network, in numpy: our threads share the users, and BLAS has one thread in each.

    Parameters
    ----------
    layers : mapping of str to array
        As `ConvNetwork.arrays` returns them.
    """

    layers: Mapping[str, Array]

    def __call__(self, queries: F32, items: F32) -> F32:
        """Return scores, shape (B, n), a user at a time: the same bits whatever else is asked."""
        out = np.empty((len(queries), len(items)), np.float32)
        for b, query in enumerate(queries):
            for start in range(0, len(items), PAIRS_AT_ONCE):
                some = items[start : start + PAIRS_AT_ONCE]
                out[b, start : start + len(some)] = self._one(query, some)
        return out

    def pairs(self, queries: F32, items: F32) -> F32:
        """See `PairScorer.pairs`."""
        found = [self._one(query, item[None])[0] for query, item in zip(queries, items, strict=True)]
        return np.array(found, np.float32)

    def arrays(self) -> Mapping[str, Array]:
        """See `PairScorer.arrays`."""
        return self.layers

    def _one(self, query: F32, items: F32) -> F32:
        """Return the scores (n,) of one user, as `Convolutions.forward`."""
        n, half = len(items), len(query) // 2
        first = self.layers["weight.0"].reshape(-1, 2, 2)  # (c, t, s)
        mixed = np.einsum("as,cts->tac", query.reshape(half, 2), first).reshape(2, -1)
        values = np.maximum(items.reshape(n * half, 2) @ mixed + np.tile(self.layers["bias.0"], half), 0)  # ((n, b), (a, c))
        for layer in count(1):
            if f"weight.{layer}" not in self.layers:
                break
            half //= 2
            patches = values.reshape(n, half, 2, half, 2, -1).swapaxes(2, 3).reshape(n * half * half, -1)
            values = np.maximum(patches @ self.layers[f"weight.{layer}"].T + self.layers[f"bias.{layer}"], 0)
        scores: F32 = values.reshape(n, -1) @ self.layers["out"]
        return scores

"""The network of `ngcf` and its training; `models.ngcf` says what it does."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from recvec.contract import Training
from recvec.data.dataset import Dataset
from recvec.kernels.factorization import truncated_svd
from recvec.kernels.graph import Graph, graph_of
from recvec.kernels.negatives import draw_unmet
from recvec.kernels.softmax import Observed
from recvec.models.softmax import counts_of, popularity, positives, typical_count
from recvec.nn.device import computing, generator
from recvec.nn.graph import Edges, multiply
from recvec.nn.layers import linear
from recvec.nn.loop import Plan, train
from recvec.nn.losses import bpr, shared_softmax
from recvec.types import F32, I64, Executor

if TYPE_CHECKING:
    from recvec.models.ngcf import NGCF

SLOPE = 0.2  # of LeakyReLU below 0
SPREAD = 0.1  # deviation of the components of the first vectors
WARM_UP = 5  # steps over which the learning rate rises


class Learned(NamedTuple):
    """What the network learned: vectors of all layers side by side, and what a forward pass for other people needs."""

    users: F32
    items: F32
    layers: F32
    transforms: F32
    notes: tuple[str, ...]


class Network(nn.Module):
    """Vectors and transforms."""

    def __init__(self, method: "NGCF", graph: Graph, edges: Edges, training: Training) -> None:
        super().__init__()
        rng, d = training.rng, method.embedding_dim
        u, s, v = truncated_svd(graph.to_users, d, rng=rng, executor=training.runtime.executor)
        start = np.concatenate([u, v]) * np.sqrt(s)
        start = start * (SPREAD / max(float(start.std()), 1e-12)) + rng.standard_normal(start.shape) * (SPREAD / 100)
        self.vectors = nn.Parameter(torch.from_numpy(start.astype(np.float32)))
        self.sums = nn.ModuleList(linear(d, d, rng) for _ in range(method.n_layers))
        self.products = nn.ModuleList(linear(d, d, rng, bias=False) for _ in range(method.n_layers))
        with torch.no_grad():
            for layer in self.sums:
                layer.weight.add_(torch.eye(d))  # type: ignore[operator]
        self.edges, self.dropout = edges, method.dropout
        self.lengths: Tensor | None = None  # of whole vectors; None: as they come out

    def layers(self, keep: torch.Generator | None = None) -> list[Tensor]:
        """Return E^(0), ..., E^(L), each (n_users + n_items, d); with a generator some numbers are left out."""
        found: list[Tensor] = [self.vectors]
        for sums, products in zip(self.sums, self.products, strict=True):
            here = found[-1]
            received = multiply(self.edges, here)
            after = functional.leaky_relu(sums(here + received) + products(received * here), SLOPE)
            if keep is not None and self.dropout:
                kept = torch.rand(after.shape, generator=keep, device=after.device) >= self.dropout
                after = after * kept / (1 - self.dropout)
            found.append(after)
        return found

    def forward(self, keep: torch.Generator | None = None) -> Tensor:
        """Return the vectors, shape (n_users + n_items, (L + 1) d)."""
        first, *others = self.layers(keep)
        whole = torch.cat([first, *(functional.normalize(layer, dim=1) for layer in others)], dim=1)
        return whole if self.lengths is None else functional.normalize(whole, dim=1) * self.lengths


class Batch(NamedTuple):
    """Pairs of some users, and the items drawn for all of them."""

    users: Tensor
    edges: Edges
    totals: Tensor
    drawn: Tensor
    observed: Observed


def learn(method: "NGCF", dataset: Dataset, training: Training) -> Learned:
    """Train the network on a dataset."""
    pairs = positives(method.name, dataset)
    n_users, n_items = pairs.shape
    executor = training.runtime.executor
    with computing(training.runtime) as device:
        graph = graph_of(pairs)
        network = Network(method, graph, Edges.of_graph(graph, executor, device), training).to(device)
        if method.loss == "softmax":
            lengths = np.ones((n_users + n_items, 1), np.float32)
            lengths[n_users:, 0] = popularity(counts_of(pairs), typical_count(pairs), method.item_power)
            network.lengths = torch.from_numpy(lengths).to(device)
        kept = [_whole(pairs[rows], rows, executor, device) for rows in _interleaved(n_users, method.batches)]

        def batches() -> list[Batch]:
            return [
                batch._replace(drawn=_drawn(n_items, method.n_negatives, training.rng, device))
                for batch in kept
                if batch.observed.by_user.nnz
            ]

        loss = _by_pairs if method.loss == "bpr" else _by_softmax

        def value(batch: Batch) -> Tensor:
            keep = generator(training.rng, device) if method.dropout else None
            return loss(method, network, network(keep), batch, training)

        def vectors() -> tuple[F32, F32]:
            with torch.no_grad():
                whole = _numpy(network())
            return np.ascontiguousarray(whole[:n_users]), np.ascontiguousarray(whole[n_users:])

        plan = Plan(epochs=method.epochs, learning_rate=method.learning_rate, betas=(0.9, 0.99), schedule="cosine", warm_up=WARM_UP)
        notes = train(network, batches, value, plan, training, name=method.name, vectors=vectors)
        with torch.no_grad():
            layers = np.stack([_numpy(layer)[n_users:] for layer in network.layers()[:-1]])
        return Learned(*vectors(), layers, _transforms(network), notes)


def _interleaved(n_users: int, batches: int) -> list[I64]:
    """Return the rows of each batch: users a batch's number apart."""
    return [np.arange(first, n_users, batches) for first in range(min(batches, n_users))]


def _whole(pairs: sp.csr_array, rows: I64, executor: Executor, device: torch.device) -> Batch:
    """Return a batch before items are drawn."""
    observed = Observed.of(sp.csr_array(pairs))
    users, totals = torch.from_numpy(rows).to(device), torch.from_numpy(observed.totals).to(device)
    return Batch(users, Edges.of_pairs(observed, executor, device), totals, users[:0], observed)


def _drawn(n_items: int, n: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Return n distinct items, ascending; all where there are no more."""
    rows = np.arange(n_items) if n >= n_items else np.sort(rng.choice(n_items, n, replace=False, shuffle=False))
    return torch.from_numpy(rows).to(device)


def _by_softmax(method: "NGCF", network: Network, vectors: Tensor, batch: Batch, training: Training) -> Tensor:
    """Return the softmax loss on cosines of all pairs of the batch."""
    n_users = len(vectors) - batch.edges.n_columns
    items, users = vectors[n_users:] / method.temperature, vectors.index_select(0, batch.users)
    observed = (users * multiply(batch.edges, items)).sum(dim=1)
    return shared_softmax(observed, users @ items.index_select(0, batch.drawn).T, batch.totals)


def _by_pairs(method: "NGCF", network: Network, vectors: Tensor, batch: Batch, training: Training) -> Tensor:
    """Return the loss of pairs of items on products, one item drawn for each pair, with the regularization of what takes part."""
    n_users, pairs = len(vectors) - batch.edges.n_columns, batch.observed.by_user
    rows = np.repeat(np.arange(pairs.shape[0], dtype=np.int32), np.diff(pairs.indptr))
    met, seed = (pairs.indptr.astype(np.int64), pairs.indices.astype(np.int32)), int(training.rng.integers(1 << 62))
    unmet = draw_unmet(met, rows, 1, pairs.shape[1], seed=seed, executor=training.runtime.executor)[:, 0]
    who = batch.users[torch.from_numpy(rows.astype(np.int64)).to(vectors.device)]
    met_rows, unmet_rows = (torch.from_numpy(side.astype(np.int64)).to(vectors.device) + n_users for side in (pairs.indices, unmet))
    users, met_items, unmet_items = (vectors.index_select(0, side) for side in (who, met_rows, unmet_rows))
    value = bpr((users * met_items).sum(dim=1), (users * unmet_items).sum(dim=1)[:, None])
    squares = sum(network.vectors.index_select(0, side).square().sum() for side in (who, met_rows, unmet_rows))
    return value + method.reg * squares / (2 * len(rows))


def _transforms(network: Network) -> F32:
    """Return W_1, W_2 and b of each layer, one above the other, shape (L, 2 d + 1, d)."""
    layers: Any = zip(network.sums, network.products, strict=True)
    stacked = [np.concatenate([_numpy(a.weight).T, _numpy(b.weight).T, _numpy(a.bias)[None]]) for a, b in layers]
    return np.stack(stacked)


def _numpy(values: Tensor) -> F32:
    found: F32 = values.detach().cpu().numpy()
    return found

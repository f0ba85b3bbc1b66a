"""What `softmax-mf` and `lightgcn` share: the start, the ascent on cosine, the checkpoints; `models.softmax_mf` says what they do."""

import itertools
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, Method, Runtime, Training
from recvec.data.dataset import Dataset
from recvec.errors import DivergedError, InputError
from recvec.kernels.ascent import Table, at_vectors, directions
from recvec.kernels.factorization import truncated_svd
from recvec.kernels.graph import Graph, graph_of
from recvec.kernels.softmax import Observed, bpr_slopes, scores_of_pairs, softmax_slopes
from recvec.kernels.topk import top_k
from recvec.types import F32, I64, Array, Executor

WARM_UP = 5  # steps over which the learning rate rises
SPREAD = 0.1  # deviation of the components of the first vectors
NOISE = 0.01  # over that: what has no singular vector begins somewhere
WORSE = 10.0  # an epoch whose loss is so many times that of the first has diverged
THRESHOLDS = 5  # epochs for which the thresholds of lists are kept


@dataclass(frozen=True, kw_only=True)
class Softmax(Method):
    """What both methods do, and the hyper-parameters that both declare."""

    embedding_dim: int
    epochs: int
    batches: int
    learning_rate: float
    temperature: float
    item_power: float
    n_negatives: int
    list_length: int
    list_temperature: float

    @property
    @abstractmethod
    def layers_within(self) -> int:
        """Layers of propagation in each step of learning."""

    @property
    def by_pairs(self) -> bool:
        """Whether it learns by pairs of items, on products instead of cosines."""
        return False

    @property
    def shrinkage(self) -> float:
        """Regularization of what is learned by pairs."""
        return 0.0

    def rate(self, step: int) -> float:
        """Return the length of a step, the first being 0: it rises, then falls to zero along a cosine."""
        share = step / (self.epochs * self.batches)
        return float(self.learning_rate * 0.5 * (1 + np.cos(np.pi * share)) * min(1.0, (step + 1) / WARM_UP))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Products with the negatives, sparse products, and the steps of all vectors."""
        d, pairs, rows = self.embedding_dim, shape.n_interactions, shape.n_users + shape.n_items
        drawn = min(self.n_negatives, shape.n_items)
        products = 6.0 * shape.n_users * drawn * d * self.epochs
        layers = self.layers_within * self.batches
        steps = (
            30.0 * (shape.n_users + self.batches * shape.n_items) * d + 4.0 * pairs * d * (1 + 2 * layers) + 10.0 * shape.n_users * drawn
        )
        memory = 60 * pairs + 4 * rows * d * (8 + 3 * (layers > 0)) + 64 * drawn * d
        return Cost(operations=steps * self.epochs, products=products, bytes_moved=steps * self.epochs / 4, memory=memory)


def positives(name: str, dataset: Dataset) -> sp.csr_array:
    """Return the pairs with a weight above 0, (n_users, n_items), weights over their mean.

    Raises
    ------
    InputError
        Where there are none.
    """
    pairs = dataset.matrix().astype(np.float32)
    pairs.data = np.maximum(pairs.data, 0)
    pairs.eliminate_zeros()
    if not pairs.nnz:
        raise InputError(f"{name} needs interactions with a weight above 0, and every weight is 0; correct them or leave them out")
    pairs.data = (pairs.data / pairs.data.mean(dtype=np.float64)).astype(np.float32)
    return pairs


def counts_of(pairs: sp.csr_array) -> Array:
    """Return the number of interactions of each item, shape (n_items,)."""
    return np.bincount(pairs.indices, minlength=pairs.shape[1])


def typical_count(pairs: sp.csr_array) -> float:
    """Return the geometric mean of the items' numbers of interactions, those without any counted as one."""
    return float(np.exp(np.log(np.maximum(counts_of(pairs), 1)).mean()))


def popularity(counts: Array, typical: float, power: float) -> F32:
    """Return ``(n_i / typical) ** power``: by what the vectors of items are longer, shape (n_items,)."""
    return ((np.maximum(counts, 1) / typical) ** power).astype(np.float32)


class Here(NamedTuple):
    """Where the vectors are: after the layers within, shape (n, d), and as they enter the loss, units times their scales."""

    users: F32
    items: F32
    unit_users: F32
    unit_items: F32


@dataclass(eq=False)
class Ascent:
    """A fit at work. Users stand in the order of their batches: those of batch b are every so many-th, from the b-th.

    Parameters
    ----------
    method : Softmax
        The recipe.
    order : I64, shape (n_users,)
        User row at each place.
    bounds : list of slice
        Places of each batch.
    pairs, observed : list of Observed
        Pairs of each batch, with the weights of the table and with those in use.
    scales : F32, shape (n_items,)
        Lengths of the items over the temperature.
    graph : Graph
        The normalized pairs.
    users, items : Table
        What is learned.
    """

    method: Softmax
    order: I64
    bounds: list[slice]
    pairs: list[Observed]
    observed: list[Observed]
    scales: F32
    graph: Graph
    users: Table
    items: Table

    @classmethod
    def begin(cls, method: Softmax, pairs: sp.csr_array, training: Training) -> "Ascent":
        """Start from singular vectors of the normalized pairs (n_users, n_items)."""
        n, b = pairs.shape[0], min(method.batches, pairs.shape[0])
        order = np.concatenate([np.arange(first, n, b) for first in range(b)])
        edges = np.cumsum([0, *(len(range(first, n, b)) for first in range(b))]).tolist()
        bounds, ordered = [slice(s, e) for s, e in itertools.pairwise(edges)], sp.csr_array(pairs[order])
        graph = graph_of(ordered)
        u, s, v = truncated_svd(graph.to_users, method.embedding_dim, rng=training.rng, executor=training.runtime.executor)
        users, items = (Table.of(_start(side * np.sqrt(s), training.rng)) for side in (u, v))
        scales = popularity(counts_of(pairs), typical_count(pairs), method.item_power) / np.float32(method.temperature)
        observed = [Observed.of(sp.csr_array(ordered[at])) for at in bounds]
        return cls(method, order, bounds, observed, list(observed), scales, graph, users, items)

    def here(self, executor: Executor) -> Here:
        """Return where the vectors are; users in the order of the batches."""
        users, items = self.users.vectors, self.items.vectors
        if self.method.layers_within:
            users, items = self.graph.mean_of_layers(users, items, self.method.layers_within, executor)
        if self.method.by_pairs:
            return Here(users, items, users, items)
        return Here(users, items, directions(users, _ones(users), executor), directions(items, self.scales, executor))

    def in_rows(self, users: F32) -> F32:
        """Return vectors of users in the order of their rows."""
        out = np.empty_like(users)
        out[self.order] = users
        return out

    def epoch(self, number: int, training: Training) -> float:
        """Take a step for each batch and return the mean loss; the first epoch is number 1."""
        executor, losses = training.runtime.executor, []
        here = self.here(executor)
        if self.method.list_length and number > 1 and (number - 1) % THRESHOLDS == 0:
            self._weigh(here, executor)
        for b, (at, observed) in enumerate(zip(self.bounds, self.observed, strict=True)):
            rate = self.method.rate((number - 1) * len(self.bounds) + b)
            seed = int(training.rng.integers(1 << 62))
            if not observed.by_user.nnz:
                continue
            loss, of_users, of_items = self._slopes(here.unit_users[at], here.unit_items, observed, seed, executor)
            losses.append(loss)
            if self.method.layers_within or self.method.by_pairs:
                here = self._spread_step(here, at, of_users, of_items, rate, executor)
                continue
            part = self.users.part(at, number - 1)
            part.ascend_directions(of_users, _ones(of_users), here.unit_users[at], rate, executor)
            self.items.ascend_directions(of_items, self.scales, here.unit_items, rate, executor)
        return float(np.mean(losses))

    def _slopes(self, users: F32, items: F32, observed: Observed, seed: int, executor: Executor) -> tuple[float, F32, F32]:
        """Return loss and slopes at what enters the loss."""
        if self.method.by_pairs:
            return bpr_slopes(users, items, observed, seed, executor)
        drawn = _drawn(len(items), self.method.n_negatives, np.random.default_rng(seed))
        return softmax_slopes(users, items, drawn, observed, executor)

    def _spread_step(self, here: Here, at: slice, of_users: F32, of_items: F32, rate: float, executor: Executor) -> Here:
        """Take a step of all vectors by slopes at the directions after the layers."""
        slopes = np.zeros_like(here.users)
        slopes[at] = of_users
        if not self.method.by_pairs:
            at_vectors(here.users, _ones(slopes), slopes, executor)
            at_vectors(here.items, self.scales, of_items, executor)
        before = self.graph.mean_of_layers(slopes, of_items, self.method.layers_within, executor)
        self._shrink(at, *before)
        for table, slope in zip((self.users, self.items), before, strict=True):
            table.ascend(slope, rate, executor)
        return self.here(executor)

    def _shrink(self, at: slice, of_users: F32, of_items: F32) -> None:
        """Add the slopes of the regularization: each vector as often as it takes part in a pair, as positive or drawn."""
        if self.method.by_pairs and self.method.shrinkage:
            by_user, share = self.observed[self.bounds.index(at)].by_user, np.float32(self.method.shrinkage)
            of_users[at] -= share * np.diff(by_user.indptr)[:, None].astype(np.float32) * self.users.vectors[at]
            counts = (counts_of(by_user) + by_user.nnz / by_user.shape[1]).astype(np.float32)
            of_items -= share * counts[:, None] * self.items.vectors

    def _weigh(self, here: Here, executor: Executor) -> None:
        """Weigh pairs by where the item stands to the user's list: ``sigma((cos - beta_u) / list_temperature)`` (SL@K)."""
        sharp = np.float32(self.method.temperature / self.method.list_temperature)
        k = min(self.method.list_length, len(here.items))
        for b, (at, pairs) in enumerate(zip(self.bounds, self.pairs, strict=True)):
            users = here.unit_users[at]
            last = top_k(users, here.unit_items, k, executor=executor)[1][:, -1]
            above = scores_of_pairs(users, here.unit_items, pairs.by_user) - np.repeat(last, np.diff(pairs.by_user.indptr))
            self.observed[b] = pairs.weighted((pairs.by_user.data / (1 + np.exp(-sharp * above))).astype(np.float32))

    def arrays(self) -> dict[str, Array]:
        """Return what a checkpoint holds."""
        found: dict[str, Array] = {}
        for side, table in (("users", self.users), ("items", self.items)):
            found |= {f"{side}.vectors": table.vectors, f"{side}.first": table.first, f"{side}.second": table.second}
        if self.method.list_length:
            found["pair_weights"] = np.concatenate([observed.by_user.data for observed in self.observed])
        return found | {"steps": np.array([self.users.steps, self.items.steps])}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Go on from such arrays."""
        for side, steps in (("users", 0), ("items", 1)):
            vectors, first, second = (arrays[f"{side}.{part}"].copy() for part in ("vectors", "first", "second"))
            setattr(self, side, Table(vectors, first, second, int(arrays["steps"][steps])))
        if self.method.list_length:
            edges = np.cumsum([pairs.by_user.nnz for pairs in self.pairs])[:-1]
            parts = np.split(arrays["pair_weights"], edges)
            self.observed = [pairs.weighted(part) for pairs, part in zip(self.pairs, parts, strict=True)]


def ascend(ascent: Ascent, training: Training) -> tuple[str, ...]:
    """Take the steps of all epochs, and return notes for the model: that it diverged, if it did.

    Raises
    ------
    DivergedError
        Where the first epoch already left the finite numbers.
    """
    done, arrays = training.restore()
    if done:
        ascent.load(arrays)
    method, executor = ascent.method, training.runtime.executor
    first = training.curve[0]["loss"] if done else float("nan")
    for number in range(done + 1, method.epochs + 1):
        good = ascent.users.vectors.copy(), ascent.items.vectors.copy()
        loss = ascent.epoch(number, training)
        first = loss if number == 1 else first
        if not np.isfinite(loss) or loss > WORSE * max(first, 1.0):
            advice = f"lower learning_rate (it is {method.learning_rate:g})"
            if number == 1:
                raise DivergedError(f"{method.name} left the finite numbers in epoch 1; {advice}")
            ascent.users.vectors, ascent.items.vectors = good
            return (f"{method.name} diverged in epoch {number} of {method.epochs}: this is the model of epoch {number - 1}; {advice}",)
        users, items = good  # nobody looks at them where nobody watches
        if training.monitor is not None or training.checkpoint is not None:
            here = ascent.here(executor)
            users, items = ascent.in_rows(here.unit_users), here.unit_items * np.float32(1 if method.by_pairs else method.temperature)
        training.end_epoch(number, users, items, arrays=ascent.arrays(), loss=loss)
    return ()


def _start(vectors: F32, rng: np.random.Generator) -> F32:
    size = max(float(vectors.std()), 1e-12)
    noise = rng.standard_normal(vectors.shape, dtype=np.float32)
    return (vectors * np.float32(SPREAD / size) + noise * np.float32(SPREAD * NOISE)).astype(np.float32)


def _drawn(n_items: int, n: int, rng: np.random.Generator) -> I64:
    """Return n distinct items, ascending; all where there are no more."""
    return np.arange(n_items) if n >= n_items else np.sort(rng.choice(n_items, n, replace=False, shuffle=False))


def _ones(rows: F32) -> F32:
    return np.ones(len(rows), np.float32)

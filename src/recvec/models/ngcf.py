"""Neural graph collaborative filtering: propagation with learned transforms, and with products of the two ends of an edge.

With S the normalized adjacency of users and items (`kernels.graph`), E^(0) the learned vectors and * products number by number::

    E^(l+1) = LeakyReLU( (E^(l) + S E^(l)) W_1  +  ((S E^(l)) * E^(l)) W_2 + b ),      vectors = [E^(0), unit E^(1), ..., unit E^(L)]

so a user has L + 1 parts of length d, and the score is the inner product of all of them. Parts of the layers have unit length, as in the
authors' code. Dropout of messages (`dropout`) leaves out numbers of E^(l+1), while learning alone.

The loss is the softmax of `softmax-mf` (``loss=softmax``), on all pairs of a batch of users at once: whole vectors have unit length,
those of items ``(n_i / typical n) ** item_power``, in the loss and in the model. Or it is the published one by pairs of items on
products, with `reg` (``loss=bpr``). Vectors start from singular vectors, transforms W_1 at the
identity plus Glorot's draw, so that the first step begins at a propagation. Steps are Adam's.

A person is folded in by one forward pass in numpy, whose E^(0) is what one propagation step gives from the items, ``sum_i S_ui e_i^(0)``;
the stored vector has a learned E^(0). So lists agree in most places, not in all. The score is no sum over the history: no explanation.
A person without history has the zero vector. An item without interactions keeps what its own vector makes of itself.

Shapes: users and items (n, (L + 1) d). Cost of a step: ``8 nnz d L + 24 n d^2 L`` operations beside the products of the softmax.

Source: Wang, He, Wang, Feng, Chua, "Neural graph collaborative filtering", SIGIR 2019, equations 3-8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from recvec.contract import Cost, DataShape, DotModel, FoldIn, Method, Runtime, State, Training, needs_history, no_new_items, param
from recvec.contract.fold_in import Parts
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.errors import ArtifactError, NotSupportedError
from recvec.kernels.factorization import sparse_dense
from recvec.types import F32, Array

SLOPE = 0.2  # of LeakyReLU below 0, as in the authors' code


@dataclass(frozen=True, kw_only=True)
class NGCF(Method):
    """Graph convolution with feature transforms and products of the ends of an edge."""

    name: ClassVar[str] = "ngcf"
    family: ClassVar[str] = "graph neural networks"
    gives: ClassVar[str] = "user and item vectors of all layers, side by side"
    extra: ClassVar[str] = "torch"

    embedding_dim: int = param(64, "length of the vectors of a layer", low=1, high=2048, search=(16, 128, "log"))
    n_layers: int = param(1, "layers of propagation", low=1, high=10, search=(1, 3))
    loss: str = param("softmax", "softmax on cosines, or pairs of items on products", choices=("softmax", "bpr"))
    epochs: int = param(60, "passes over the interactions", low=1, high=10_000, search=(20, 400, "log"))
    batches: int = param(1, "steps of an epoch, each over so many-th part of the users", low=1, high=10_000, search=(1, 16, "log"))
    learning_rate: float = param(0.02, "size of the first steps; it falls to zero", low=1e-8, high=1e3, search=(0.001, 0.1, "log"))
    temperature: float = param(0.12, "by what cosines are divided (softmax only)", low=1e-3, high=100.0, search=(0.05, 0.3, "log"))
    item_power: float = param(0.1, "exponent of the counts in the lengths of items (softmax only)", low=0.0, high=2.0, search=(0.0, 0.3))
    n_negatives: int = param(1024, "items drawn for all users of a step", low=1, high=1_000_000, search=(256, 4096, "log"))
    dropout: float = param(0.0, "share of numbers left out of each layer while learning", low=0.0, high=0.9, search=(0.0, 0.3))
    reg: float = param(1e-5, "regularization (bpr only)", low=0.0, high=1e6, search=(1e-6, 1e-2, "log"))

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Train the network; its layers are the vectors."""
        from recvec.models.ngcf_network import learn  # noqa: PLC0415  docs/decisions/0027

        learned = learn(self, dataset, training)
        learned.users[dataset.histories().lengths == 0] = 0
        degrees = np.asarray(dataset.matrix().sum(axis=0), np.float32)  # in the units of the table, as those of a history will be
        roots = np.where(degrees > 0, np.where(degrees > 0, degrees, 1) ** -0.5, 0).astype(np.float32)
        fold_in = NGCFFoldIn(self.name, learned.layers, roots, learned.transforms, self.loss == "softmax")
        return DotModel(
            method=self,
            user_vectors=learned.users,
            item_vectors=learned.items,
            fold_in=fold_in,
            curve=tuple(training.curve),
            notes=learned.notes,
        )

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        layers, roots, transforms = (state.arrays[f"fold_in.{name}"] for name in ("layers", "roots", "transforms"))
        n_items, width = state.arrays["item_vectors"].shape
        d, n_layers = width // (self.n_layers + 1), self.n_layers
        wanted = ((n_layers, n_items, d), (n_items,), (n_layers, 2 * d + 1, d))
        if (layers.shape, roots.shape, transforms.shape) != wanted:
            raise ArtifactError(f"the arrays of {self.name} do not fit its vectors; fit the model again")
        return DotModel.restored(self, state, NGCFFoldIn(self.name, layers, roots, transforms, self.loss == "softmax"))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Layers there and back, the products with the negatives, and the steps of all vectors."""
        d, rows, steps = self.embedding_dim, shape.n_users + shape.n_items, self.epochs * self.batches
        width = (self.n_layers + 1) * d
        layers = steps * self.n_layers * (8.0 * shape.n_interactions * d + 40.0 * rows * d)
        products = steps * self.n_layers * 24.0 * rows * d * d + 6.0 * self.epochs * shape.n_users * self.n_negatives * width
        drawn = 12 * (shape.n_users // self.batches) * min(self.n_negatives, shape.n_items)
        memory = 60 * shape.n_interactions + 4 * rows * d * (8 + 14 * self.n_layers) + drawn
        return Cost(operations=layers + 30.0 * steps * rows * d, products=products, bytes_moved=layers, memory=memory)


@dataclass(frozen=True, eq=False)
class NGCFFoldIn(FoldIn):
    """One forward pass for people, the items as they are.

    Parameters
    ----------
    name : str
        Method, for messages.
    layers : F32, shape (L, n_items, d)
        What items give to each layer: E^(0), ..., E^(L-1), not of unit length.
    roots : F32, shape (n_items,)
        ``d_i ** -1/2``, 0 without interactions.
    transforms : F32, shape (L, 2 d + 1, d)
        W_1, W_2 and b of each layer, one above the other.
    to_unit : bool
        Whether whole vectors have unit length.
    """

    name: str
    layers: F32
    roots: F32
    transforms: F32
    to_unit: bool

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return the vectors, shape (B, (L + 1) d)."""
        known = needs_history(self.name, histories).matrix()
        totals = np.asarray(known.sum(axis=1), np.float32)
        of_people = np.where(totals > 0, np.where(totals > 0, totals, 1) ** -0.5, 0).astype(np.float32)[:, None]
        d, x = self.layers.shape[2], np.zeros((0, 0), np.float32)
        parts: list[F32] = []
        for items, transform in zip(self.layers, self.transforms, strict=True):
            received = of_people * sparse_dense(known, items * self.roots[:, None], executor=Runtime().executor)
            if not parts:
                x = received
                parts.append(x)
            x = (x + received) @ transform[:d] + (received * x) @ transform[d : 2 * d] + transform[2 * d]
            x = np.maximum(x, np.float32(SLOPE) * x)
            parts.append(_unit(x))
        vectors: F32 = np.concatenate(parts, axis=1)
        vectors[totals <= 0] = 0
        return _unit(vectors) if self.to_unit else vectors

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.name)

    def parts(self, history: Histories, vector: F32) -> Parts:
        """See `FoldIn.parts`."""
        raise NotSupportedError(
            f"the score of {self.name} is no sum over a history; use a method that has reasons, such as lightgcn or als"
        )

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        return {"layers": self.layers, "roots": self.roots, "transforms": self.transforms}


def _unit(rows: F32) -> F32:
    """Return rows of length 1, zero for zero, shape (b, d)."""
    lengths: F32 = np.sqrt(np.einsum("bd,bd->b", rows, rows))[:, None]
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)

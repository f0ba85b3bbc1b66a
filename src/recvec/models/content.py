"""What content methods share: items by what they are, people by the items they liked.

With E (n, d) the vectors of the items (`encoders.terms`: weighted sums E = X W of vectors of terms) and the history of a person ::

    p = sum_i w_i e_i / sum_i |w_i|

is the profile. w is the weight of the history; with ``likes="rating"`` it is the rating less `neutral_rating`, so that
disliked items are subtracted. It may fade with the age of the interaction, by half every `half_life` days before the person's last.
The score is ::

    cosine      p . e / (|p| |e|)        both kept at unit length; the items of a history count alike, however long their texts
    dot         p . e
    euclidean   -|p - e|^2 / 2           as a dot product with two extra columns

A person without a history has the profile of everyone together. An item without a known term has the zero vector: it is similar
to nothing, and its score is 0 (cosine, dot). New items need no new fit: their terms have vectors.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, DotModel, FoldIn, Method, Parts, Runtime, State, Training, lengthened, needs_history, param
from recvec.data.dataset import Dataset, Value
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.encoders.terms import TermEncoder
from recvec.errors import ArtifactError
from recvec.kernels.factorization import sparse_dense
from recvec.types import F32, F64, Array, Json

DAY = 86_400.0  # seconds
MOST_TERMS = 12  # that an explanation names


@dataclass(frozen=True, kw_only=True)
class ContentMethod(Method):
    """Hyper-parameters of the profile, and the fit that all content methods have; a method says how items are encoded."""

    family: ClassVar[str] = "content-based"
    needs: ClassVar[frozenset[str]] = frozenset({"interactions", "item attributes"})

    embedding_dim: int = param(256, "length of the vectors", low=1, high=2048, search=(32, 1024, "log"))
    metric: str = param("cosine", "how a profile and an item are compared", choices=("cosine", "dot", "euclidean"))
    likes: str = param(
        "weight", "what an item of a history counts: its weight, or its rating less neutral_rating", choices=("weight", "rating")
    )
    neutral_rating: float = param(
        0.0, "the rating that counts nothing; 0: the middle between the lowest and the highest", low=-1e6, high=1e6
    )
    half_life: float = param(
        0.0, "days in which what an item counts halves, back from the person's last; 0: it does not", low=0.0, high=1e6
    )

    @property
    def history_value(self) -> Value:
        """See `Method.history_value`."""
        return "rating" if self.likes == "rating" else "weight"

    @abstractmethod
    def encoder(self, dataset: Dataset, training: Training) -> TermEncoder:
        """Learn how items of the dataset are encoded."""

    @abstractmethod
    def restored_encoder(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> TermEncoder:
        """Build the encoder of a saved model again."""

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Encode the items; the user vectors are the fold-in of the training histories."""
        encoder = self.encoder(dataset, training)
        method = replace(self, embedding_dim=encoder.vectors.shape[1], neutral_rating=self._neutral(dataset))
        matrix = encoder.matrix(dataset.item_features)
        found = encoder.embed(matrix, executor=training.runtime.executor)
        fold_in = ContentFoldIn(method, encoder, matrix, *_as_compared(found, method.metric), np.zeros(found.shape[1], np.float32))
        histories = dataset.histories(self.history_value)
        fold_in = replace(fold_in, usual=fold_in.mean_profile(histories))
        return DotModel(
            method=method,
            user_vectors=fold_in.queries(histories, None),
            item_vectors=fold_in.items(fold_in.vectors),
            n_extra=fold_in.n_extra,
            fold_in=fold_in,
            notes=encoder.reader.notes,
        )

    def _neutral(self, dataset: Dataset) -> float:
        if self.likes != "rating" or self.neutral_rating:
            return self.neutral_rating
        ratings = dataset.matrix("rating").data
        return float(ratings.min() + ratings.max()) / 2

    def _update(self, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
        """Encode new items as they are, then fold in the people who have new interactions."""
        fold_in: Any = model.fold_in
        executor = training.runtime.executor
        if dataset.n_items > model.n_items and dataset.item_features is not None:
            added = fold_in.encoder.matrix(dataset.item_features.take(np.arange(model.n_items, dataset.n_items)))
            vectors, lengths = _as_compared(fold_in.encoder.embed(added, executor=executor), self.metric)
            fold_in = replace(
                fold_in,
                matrix=sp.csr_array(sp.vstack([fold_in.matrix, added], format="csr")),
                vectors=np.concatenate([fold_in.vectors, vectors]),
                lengths=np.concatenate([fold_in.lengths, lengths]),
            )
        changed = np.arange(dataset.n_users) if new is None else np.union1d(new.users, np.arange(model.n_users, dataset.n_users))
        users = lengthened(model.user_vectors, dataset.n_users)
        users[changed] = fold_in.queries(dataset.histories(self.history_value).take(changed), None)
        return replace(model, user_vectors=users, item_vectors=fold_in.items(fold_in.vectors), fold_in=fold_in)

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        arrays = {name.removeprefix("fold_in."): array for name, array in state.arrays.items() if name.startswith("fold_in.")}
        meta: Any = state.meta["fold_in"]
        below = {name.removeprefix("encoder."): array for name, array in arrays.items() if name.startswith("encoder.")}
        encoder = self.restored_encoder(meta["encoder"], below)
        n, t, d = len(state.arrays["item_vectors"]), len(encoder.terms), self.embedding_dim
        arrays["item_vectors"] = state.arrays["item_vectors"]
        shapes = {
            "item_vectors": (n, d + (2 if self.metric == "euclidean" else 0)),
            "vectors": (n, d),
            "lengths": (n,),
            "usual": (d,),
            "encoder.vectors": (t, d),
            "encoder.weights": (t,),
        }
        wrong = [name for name, shape in shapes.items() if arrays[name].shape != shape or arrays[name].dtype != np.float32]
        if wrong or not (arrays["lengths"] > 0).all():
            name = (wrong or ["lengths"])[0]
            raise ArtifactError(f"the array '{name}' of the content model does not fit the others; fit the model again")
        parts = (arrays["matrix.data"], arrays["matrix.indices"], arrays["matrix.indptr"])
        matrix = sp.csr_array(parts, shape=(n, t), dtype=np.float32)
        matrix.check_format(full_check=True)
        return DotModel.restored(self, state, ContentFoldIn(self, encoder, matrix, arrays["vectors"], arrays["lengths"], arrays["usual"]))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Texts of 100 words, the vectors of the items, and one sparse product over the histories."""
        words, d = 100.0 * shape.n_items, self.embedding_dim
        work = 2.0 * shape.n_interactions * d + 5_000 * words + 16.0 * words * d
        memory = 4 * d * (2 * shape.n_users + 4 * shape.n_items) + 60 * words + 16 * shape.n_interactions
        return Cost(operations=work, bytes_moved=4.0 * shape.n_interactions * d, memory=int(memory))


@dataclass(frozen=True, eq=False)
class ContentFoldIn(FoldIn):
    """Profiles of histories, vectors of new items, and reasons by terms.

    Parameters
    ----------
    method : ContentMethod
        The recipe.
    encoder : TermEncoder
        Terms and their vectors W.
    matrix : csr_array, shape (n_items, t)
        X, the terms of the items.
    vectors : F32, shape (n_items, d)
        E; of unit length where compared by cosine.
    lengths : F32, shape (n_items,)
        What each row of X W was divided by to give E.
    usual : F32, shape (d,)
        Profile of everyone together.
    """

    method: ContentMethod
    encoder: TermEncoder
    matrix: sp.csr_array
    vectors: F32
    lengths: F32
    usual: F32

    @property
    def n_extra(self) -> int:
        """Columns behind the vectors themselves."""
        return 2 if self.method.metric == "euclidean" else 0

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return profiles as queries, shape (B, d + n_extra)."""
        known = needs_history(self.method.name, histories)
        profiles = sparse_dense(self._shares(known), self.vectors, executor=Runtime().executor)
        profiles[known.lengths == 0] = self.usual
        if self.method.metric == "cosine":
            return profiles / _lengths(profiles)[:, None]
        if self.method.metric == "dot":
            return profiles
        return np.column_stack([profiles, np.ones(len(profiles), np.float32), -_half_squares(profiles)])

    def items(self, vectors: F32) -> F32:
        """Return vectors of items as they meet a query, shape (n, d + n_extra)."""
        if self.method.metric != "euclidean":
            return vectors
        return np.column_stack([vectors, -_half_squares(vectors), np.ones(len(vectors), np.float32)])

    def item_queries(self, features: pl.DataFrame) -> F32:
        """Return vectors of new items from their texts and attributes, shape (B, d + n_extra)."""
        return self.items(_as_compared(self.encoder.transform(features), self.method.metric)[0])

    def exact_scores(self, histories: Histories) -> F32:
        """Return the cosines of profiles and items by their terms alone, without vectors of terms, shape (B, n_items).

        Cost: one product of sparse matrices; for some people at a time, the result is dense.
        """
        profiles = self._shares(histories) @ self.matrix
        own, other = (np.sqrt(np.asarray(x.multiply(x).sum(axis=1), np.float32)).ravel() for x in (profiles, self.matrix))
        cosines: F32 = (profiles @ sp.csr_array(self.matrix.T.tocsr())).toarray()
        cosines /= np.where(own > 0, own, 1)[:, None]
        cosines /= np.where(other > 0, other, 1)
        return cosines

    def mean_profile(self, histories: Histories) -> F32:
        """Return the mean of all items of all histories, by how often they were met, shape (d,)."""
        counts = np.bincount(histories.items, minlength=len(self.vectors)).astype(np.float64)
        mean: F32 = (counts @ self.vectors / max(counts.sum(), 1)).astype(np.float32)
        return mean

    def parts(self, history: Histories, vector: F32) -> Parts:
        """Return what each item of the history adds."""
        if not len(history.items):
            return {"what everyone likes": float(self.queries(history, None)[0] @ vector)}, np.zeros(0, np.float32)
        d, named = self.vectors.shape[1], {}
        if self.method.metric == "euclidean":
            named = {"distance of profile and item from the origin": float(self.queries(history, None)[0, d:] @ vector[d:])}
        products = self.vectors[history.items].astype(np.float64) @ vector[:d].astype(np.float64)
        return named, (self._factors(history) * products).astype(np.float32)

    def parts_of_item(self, history: Histories, item: int, vector: F32) -> Parts:
        """Return what terms add that the item shares with the history, by name, and what each item of the history adds beside.

        With E = X W the score is a sum over pairs of an item i of the history and a term t of the item: ``a_i x_t w_t . e_i``.
        """
        named, whole = self.parts(history, vector)
        if not len(history.items):
            return named, whole
        at = slice(self.matrix.indptr[item], self.matrix.indptr[item + 1])
        shared = np.isin(self.matrix.indices[at], self.matrix[history.items].indices)
        terms = self.matrix.indices[at][shared]
        weights = self.matrix.data[at][shared].astype(np.float64) / float(self.lengths[item])
        met = self.vectors[history.items].astype(np.float64)  # (n, d)
        products = met @ self.encoder.vectors[terms].T.astype(np.float64)
        table = self._factors(history)[:, None] * products * weights  # (n, terms)
        order = np.argsort(-np.abs(table.sum(axis=0)), kind="stable")[:MOST_TERMS]
        told = {self.encoder.terms[terms[t]]: float(table[:, t].sum()) for t in order}
        return {**named, **told}, (whole - table[:, order].sum(axis=1)).astype(np.float32)

    def _factors(self, history: Histories) -> F64:
        """Return what each item's vector is multiplied by on its way into the query, of one person, shape (n,)."""
        shares: F64 = self._shares(history).data.astype(np.float64)
        if self.method.metric != "cosine":
            return shares
        profile = shares @ self.vectors[history.items].astype(np.float64)
        length = float(np.sqrt(profile @ profile))
        return shares / (length if length > 0 else 1.0)

    def _shares(self, histories: Histories) -> sp.csr_array:
        """Return what each item counts in the profile, (B, n_items); the sizes of a row add up to 1."""
        weights = histories.weights.astype(np.float64)
        if self.method.likes == "rating":
            weights = weights - self.method.neutral_rating
        people = np.repeat(np.arange(len(histories)), histories.lengths)
        if self.method.half_life and histories.times is not None:
            times = np.nan_to_num(histories.times, nan=-np.inf)
            last = np.full(len(histories), -np.inf)
            np.maximum.at(last, people, times)
            age = np.where(np.isfinite(times), last[people] - times, 0.0)
            weights = weights * 0.5 ** (age / (DAY * self.method.half_life))
        size = np.bincount(people, np.abs(weights), minlength=len(histories))
        shares = (weights / np.where(size > 0, size, 1)[people]).astype(np.float32)
        return sp.csr_array((shares, histories.items, histories.indptr), shape=(len(histories), histories.n_items))

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        x = self.matrix
        found = {"matrix.indptr": x.indptr, "matrix.indices": x.indices, "matrix.data": x.data}
        found |= {"vectors": self.vectors, "lengths": self.lengths, "usual": self.usual}
        return found | {f"encoder.{name}": array for name, array in self.encoder.arrays().items()}

    def meta(self) -> Mapping[str, Json]:
        """See `FoldIn.meta`."""
        return {"encoder": self.encoder.meta()}


def _as_compared(vectors: F32, metric: str) -> tuple[F32, F32]:
    """Return the vectors, of unit length for cosine, and what they were divided by."""
    lengths = _lengths(vectors) if metric == "cosine" else np.ones(len(vectors), np.float32)
    return vectors / lengths[:, None], lengths


def _lengths(vectors: F32) -> F32:
    """Return the length of each vector, 1 for a zero vector."""
    lengths: F32 = np.sqrt(np.einsum("bd,bd->b", vectors, vectors))
    return np.where(lengths > 0, lengths, np.float32(1))


def _half_squares(vectors: F32) -> F32:
    squares: F32 = np.einsum("bd,bd->b", vectors, vectors) / np.float32(2)
    return squares

"""What a fit returns: row numbers in, lists and vectors out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from recvec.contract.runtime import Runtime
from recvec.data.histories import Histories
from recvec.errors import NotSupportedError, ValueRangeError
from recvec.kernels.similarity import Metric, nearest
from recvec.types import F32, I32, Array, Json


@dataclass(frozen=True, eq=False)
class State:
    """A model or a half-done fit as plain arrays and JSON: what is saved and restored, never pickled.

    Parameters
    ----------
    arrays : mapping of str to array
        Numbers.
    meta : mapping of str to JSON
        Everything else.
    """

    arrays: Mapping[str, Array]
    meta: Mapping[str, Json]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Top-k lists of B queries, best first, ties to the smaller row.

    Parameters
    ----------
    rows : I32, shape (B, k)
        Row numbers; -1 where a list is shorter than k.
    scores : F32, shape (B, k)
        Scores, higher is better; -inf where a list is shorter than k.
    """

    rows: I32
    scores: F32

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Array:
        """How many entries each list really has, shape (B,)."""
        return (self.rows >= 0).sum(axis=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation:
    """Parts that add up to the score of a person and an item, up to float32 rounding.

    Parameters
    ----------
    score : float
        The score, for ratings on the scale of the ratings before they are clipped.
    parts : mapping of str to float
        Parts with a name of their own, such as ``"item bias"``.
    items : I32, shape (n,)
        Items of the person's history.
    contributions : F32, shape (n,)
        What each of them adds.
    """

    score: float
    parts: Mapping[str, float]
    items: I32
    contributions: F32


class Model(ABC):
    """A fitted, frozen result. It knows row numbers only; ids live in `Recommender`."""

    method: Any
    user_vectors: F32
    item_vectors: F32
    n_extra: int
    curve: tuple[Mapping[str, float], ...]
    notes: tuple[str, ...] = ()  # what a person should know of the data as the method read them, a line each
    answers_attributes = False  # whether `queries` answers for people who are described by attributes
    uses_context = False  # whether queries and predictions may be given a context

    @property
    def n_users(self) -> int:
        """Number of users it was fitted on."""
        return len(self.user_vectors)

    @property
    def n_items(self) -> int:
        """Number of items it was fitted on."""
        return len(self.item_vectors)

    @abstractmethod
    def queries(
        self,
        users: Array | None = None,
        *,
        histories: Histories | None = None,
        features: pl.DataFrame | None = None,
        context: pl.DataFrame | None = None,
    ) -> Any:
        """Return query vectors, shape (B, d + n_extra): the one door for every person.

        Parameters
        ----------
        users : array of int, shape (B,), optional
            Rows of known users.
        histories : Histories, optional
            Histories of people who need not be known.
        features : polars.DataFrame, optional
            Attributes of people, one row each; with histories, of the same people.
        context : polars.DataFrame, optional
            Context of the request, for methods that use it: one row each, or one row for all.

        Raises
        ------
        NotSupportedError
            Where the method cannot answer from what is given.
        """

    @abstractmethod
    def item_queries(self, features: pl.DataFrame) -> F32:
        """Return vectors of new items from their attributes, shape (B, d + n_extra)."""

    @abstractmethod
    def scores(self, queries: Any, items: Array | None = None) -> F32:
        """Return scores of all items, or of the `items` given, shape (B, n_items or len(items))."""

    @abstractmethod
    def predict(self, users: Array, items: Array, *, context: pl.DataFrame | None = None) -> F32:
        """Return one value a pair on the task's scale: stars, a probability, or the ranking score; shape (n,)."""

    @abstractmethod
    def recommend(
        self,
        queries: Any,
        k: int = 10,
        *,
        exclude: Histories | None = None,
        candidates: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """Return the best `k` items of each query.

        Parameters
        ----------
        queries : as `queries` returns them
            B queries.
        k : int
            Length of the lists; beyond what is available they are shorter, see `Ranked.lengths`.
        exclude : Histories, optional
            Items that must not appear, one row per query.
        candidates : array of int, optional
            The only item rows allowed.
        runtime : Runtime, optional
            Threads to use.
        """

    @abstractmethod
    def audience(
        self,
        items: Array,
        k: int = 100,
        *,
        exclude: Histories | None = None,
        users: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """Return the `k` known users with the largest score for each item, ties to the smaller row.

        Parameters
        ----------
        items : array of int, shape (B,)
            Item rows.
        k : int
            Length of the lists; beyond what is available they are shorter, see `Ranked.lengths`.
        exclude : Histories, optional
            User rows that must not appear, one row per item.
        users : array of int, optional
            The only user rows allowed.
        runtime : Runtime, optional
            Threads to use.
        """

    @abstractmethod
    def explain(self, history: Histories, item: int, *, user: int | None = None, context: pl.DataFrame | None = None) -> Explanation:
        """Return the parts of the score of an item for a person with this history.

        For a known user give the training history: folded in, it is the stored user again. A model that knows more of
        people than their history explains a `user` by that too.

        Parameters
        ----------
        history : Histories
            Of one person.
        item : int
            Item row.
        user : int, optional
            Row of the person, if known.
        context : polars.DataFrame, optional
            One row, for methods that use context.

        Raises
        ------
        NotSupportedError
            Where the score has no parts that add up.
        """

    @abstractmethod
    def state(self) -> State:
        """Return arrays and JSON from which the method's `restore` builds the same model, to the bit."""

    def attribute_vectors(self, column: str) -> tuple[list[str], F32]:
        """Return the levels of an attribute and their vectors, shape (n, d + n_extra).

        Raises
        ------
        NotSupportedError
            Where the method has no vectors of attributes.
        """
        name = self.method.name
        raise NotSupportedError(f"{name} has no vectors of the values of '{column}'; use user_embeddings or item_embeddings")

    def similar_items(self, items: Array, k: int = 10, *, metric: Metric = "cosine", runtime: Runtime | None = None) -> Ranked:
        """Return the `k` nearest other items of each item row, by item vectors without their extra columns."""
        return _neighbours(self.item_vectors, items, k, self.n_extra, metric, runtime, "item")

    def similar_users(self, users: Array, k: int = 10, *, metric: Metric = "cosine", runtime: Runtime | None = None) -> Ranked:
        """Return the `k` nearest other users of each user row, by user vectors without their extra columns."""
        return _neighbours(self.user_vectors, users, k, self.n_extra, metric, runtime, "user")


def _neighbours(vectors: F32, rows: Array, k: int, n_extra: int, metric: Metric, runtime: Runtime | None, side: str) -> Ranked:
    own = checked_rows(rows, len(vectors), side)
    if n_extra and metric != "dot":
        vectors = np.ascontiguousarray(vectors[:, : vectors.shape[1] - n_extra])
    itself = (np.arange(len(own) + 1, dtype=np.int64), own)
    executor = (runtime or Runtime()).executor
    return Ranked(*nearest(vectors[own], vectors, checked_k(k), metric=metric, exclude=itself, executor=executor))


def checked_rows(rows: Array, n: int, side: str) -> I32:
    """Return row numbers as int32, or refuse those outside 0 to n - 1.

    Raises
    ------
    ValueRangeError
        Names the row and the range.
    """
    given = np.atleast_1d(np.asarray(rows))
    if given.size and given.dtype.kind not in "iu":
        raise ValueRangeError(f"{side} rows have type {given.dtype}; allowed: whole numbers; ids go through a Recommender")
    if given.size and (given.min() < 0 or given.max() >= n):
        wrong = given[(given < 0) | (given >= n)][0]
        raise ValueRangeError(f"{side} row {wrong} does not exist; allowed: 0 to {n - 1}")
    return given.astype(np.int32)


def checked_k(k: int) -> int:
    """Return k, or refuse it where it is not a whole number of 1 or more.

    Raises
    ------
    ValueRangeError
        Names the value.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueRangeError(f"k is {k}; allowed: a whole number, 1 or more")
    return int(k)


def checked_history(history: Histories, n_items: int) -> Histories:
    """Return the history of one person, or refuse those of several and those over another catalogue.

    Raises
    ------
    ValueRangeError
        Names what is wrong.
    """
    if len(history) != 1:
        raise ValueRangeError(f"an explanation is of one person, not of {len(history)}; give one history")
    checked_histories(history, n_items)
    return history


def checked_histories(histories: Histories | None, n_items: int) -> Histories | None:
    """Return the histories, or refuse those over another catalogue.

    Raises
    ------
    ValueRangeError
        Names both sizes.
    """
    if histories is not None and histories.n_items != n_items:
        raise ValueRangeError(f"the histories are over {histories.n_items} items; allowed: the model's {n_items}")
    return histories


def refuse_context(method: Any, context: pl.DataFrame | None) -> None:
    """Refuse a context, for models that do not use any.

    Raises
    ------
    NotSupportedError
        Where there is one.
    """
    if context is not None:
        raise NotSupportedError(f"{method.name} does not use context; leave it out, or use fm")

"""How a model answers for people and items outside its training table, and the plainest way: a weighted sum over a history."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from recvec.contract.runtime import Runtime
from recvec.data.histories import Histories
from recvec.errors import NotSupportedError
from recvec.kernels.factorization import sparse_dense
from recvec.types import F32, Array, Json

Parts = tuple[Mapping[str, float], F32]
"""What a score is made of: parts with a name, and what each item of a history adds."""


class FoldIn(ABC):
    """How a method answers for people and items that were not in its training table.

    A method composes its `DotModel` or `PairModel` with one of these. Every answer is computed in numpy
    from arrays, so that a saved model recommends without what it was trained with.
    """

    @abstractmethod
    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return one query vector per person, shape (B, d + n_extra).

        Raises
        ------
        NotSupportedError
            Where the method has no answer for what is given; the message says what it takes.
        """

    @abstractmethod
    def item_queries(self, features: pl.DataFrame) -> F32:
        """Return vectors of new items, shape (B, d + n_extra).

        Raises
        ------
        NotSupportedError
            Where the method knows items by their interactions only.
        """

    @abstractmethod
    def parts(self, history: Histories, vector: F32) -> Parts:
        """Return what the score of an item is made of.

        Parameters
        ----------
        history : Histories
            Of one person.
        vector : F32, shape (d + n_extra,)
            Of the item.

        Returns
        -------
        named : mapping of str to float
            Parts that belong to no item of the history.
        contributions : F32, shape (n,)
            Of each item of the history.

        Raises
        ------
        NotSupportedError
            Where the score is no sum over the history.
        """

    def parts_of_item(self, history: Histories, item: int, vector: F32) -> Parts:
        """Return as `parts` does, where the row of the item says more than its vector."""
        return self.parts(history, vector)

    answers_attributes = False  # whether people may be described by attributes
    uses_context = False

    def in_context(self, queries: F32, context: pl.DataFrame) -> F32:
        """Return the queries (B, d + n_extra), each in its row of the context, or all in the one row; only where `uses_context`."""
        raise NotSupportedError("this model does not use context; leave it out, or use fm")

    def reasons(self, user: int, history: Histories, query: F32, item: int, vector: F32, context: pl.DataFrame | None) -> Parts | None:
        """Return as `parts` does, of a known user, where more is known of people than their history; else None.

        Parameters
        ----------
        user, item : int
            Rows.
        history : Histories
            What the user met in training.
        query, vector : F32, shape (d + n_extra,)
            Of the user, without the context, and of the item.
        context : polars.DataFrame, optional
            One row.
        """
        return None

    def attribute_vectors(self, column: str) -> tuple[list[str], F32] | None:
        """Return the levels of an attribute and their vectors, shape (n, d + n_extra); None where there are none."""
        return None

    def arrays(self) -> Mapping[str, Array]:
        """Return what must be saved beside the vectors to build this again."""
        return {}

    def meta(self) -> Mapping[str, Json]:
        """Return what must be saved and is no array."""
        return {}


def needs_history(name: str, histories: Histories | None) -> Histories:
    """Return the histories, or say that this method knows people by nothing else.

    Raises
    ------
    NotSupportedError
        Where there are none.
    """
    if histories is None:
        raise NotSupportedError(f"{name} knows people by their history only; give histories, or use a demographic method")
    return histories


def no_new_items(name: str) -> NotSupportedError:
    """Return the error of methods that know items by their interactions only."""
    return NotSupportedError(f"{name} knows items by their interactions only; use a content method for new items")


@dataclass(frozen=True, eq=False)
class LinearFoldIn(FoldIn):
    """``query = scale * sum_i w_i into_i`` over a history with weights w.

    Parameters
    ----------
    name : str
        Method, for messages.
    into : F32, shape (n_items, d)
        What each item contributes.
    scale : str
        ``"degree"``: 1 / sqrt(sum of weights); ``"unit"``: to unit length. Empty histories give zeros.
    """

    name: str
    into: F32
    scale: Literal["degree", "unit"]

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return the sums, shape (B, d)."""
        sums, size = self._sums(needs_history(self.name, histories))
        return sums / size[:, None]

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.name)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return ``scale * w_i into_i . vector`` for each item of the history."""
        _, size = self._sums(history)
        return {}, history.weights * (self.into[history.items] @ vector) / size[0]

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        return {"into": self.into}

    def _sums(self, histories: Histories) -> tuple[F32, F32]:
        """Return the weighted sums, shape (B, d), and what to divide them by, shape (B,)."""
        known = histories.matrix()
        sums = sparse_dense(known, self.into, executor=Runtime().executor)
        if self.scale == "degree":
            size: F32 = np.sqrt(np.asarray(known.sum(axis=1), dtype=np.float32))
        else:
            size = np.sqrt(np.einsum("bd,bd->b", sums, sums))
        size[size == 0] = 1
        return sums, size

"""External ids and the cold-start ladder: the only place that knows both a model and what its rows are called."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from recvec.contract import Method, Model, Ranked, Runtime, checked_k
from recvec.data.dataset import Dataset, Value
from recvec.data.histories import Histories
from recvec.data.readers import Source
from recvec.data.vocabulary import Vocabulary
from recvec.errors import InputError, NotSupportedError
from recvec.kernels.similarity import Metric
from recvec.models.popularity import Popularity
from recvec.retrieval.update import UpdateReport, updated
from recvec.types import I32, Array

Route = Literal["stored", "history", "attributes", "popular"]
ROUTES: tuple[Route, ...] = ("stored", "history", "attributes", "popular")

Id = int | str


class Recommender:
    """A model with the ids of its rows, the histories that it was fitted on, and rungs for everyone else.

    The ladder is stored -> history -> attributes -> popular: the first rung that can answer does, and the column
    ``route`` of every list names it.

    Parameters
    ----------
    model : Model
        Fitted on `train`.
    train : Dataset
        Ids, histories and attributes.
    rungs : mapping of str to Method or Model, optional
        Lower rungs by name (``"attributes"``, ``"popular"``), over the same vocabulary; a method is fitted here.
        ``"popular"`` is added by itself; an empty mapping means no lower rungs at all.
    runtime : Runtime, optional
        Threads to use.

    Raises
    ------
    InputError
        Where a model is not over the vocabulary of `train`, or a rung has an unknown name.
    """

    forgotten = False  # whether the histories are gone: saved without them

    def __init__(
        self,
        model: Model,
        train: Dataset,
        *,
        rungs: Mapping[str, Method | Model] | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.model = model
        self.train = train
        self.runtime = runtime or Runtime()
        wanted: dict[str, Method | Model] = {} if rungs == {} else {"popular": Popularity(), **(rungs or {})}
        unknown = sorted(set(wanted) - {"attributes", "popular"})
        if unknown:
            raise InputError(f"there is no rung '{unknown[0]}'; allowed: attributes, popular")
        self.rungs = {name: rung if isinstance(rung, Model) else rung.fit(train) for name, rung in wanted.items()}
        for name, part in {"the model": model, **self.rungs}.items():
            if (part.n_users, part.n_items) != (train.n_users, train.n_items):
                raise InputError(
                    f"{name} knows {part.n_users} users and {part.n_items} items, the data have {train.n_users} and "
                    f"{train.n_items}; fit it on the same dataset"
                )

    def __repr__(self) -> str:
        return f"Recommender({self.model.method.name}, {self.train.n_users:,} users, {self.train.n_items:,} items)"

    @property
    def users(self) -> Vocabulary:
        """Ids of the user rows."""
        return self.train.users

    @property
    def items(self) -> Vocabulary:
        """Ids of the item rows."""
        return self.train.items

    @property
    def history_value(self) -> Value:
        """What the weights of histories mean to the model: strengths, or ratings."""
        return "rating" if getattr(self.model.method, "task", "ranking") == "rating" else "weight"

    @cached_property
    def histories(self) -> Histories:
        """Training history of each user row.

        Raises
        ------
        NotSupportedError
            Where they were left out when the model was saved.
        """
        if self.forgotten:
            raise NotSupportedError(
                "this model was saved without histories: what people know cannot be left out of lists, and explain, update and evaluate "
                "do not work; recommend with exclude_known=False (--with-known), or fit again with histories"
            )
        return self.train.histories(self.history_value)

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the table that the model was fitted on; a loaded recommender keeps it, not the table."""
        return self.train.fingerprint

    # ------------------------------------------------------------ lists of items

    def recommend(
        self,
        users: Iterable[Id] | pl.Series,
        k: int = 10,
        *,
        candidates: Iterable[Id] | None = None,
        exclude_known: bool = True,
    ) -> pl.DataFrame:
        """Return the best `k` items of known users, without those in their training history.

        Parameters
        ----------
        users : iterable of ids
            Users of the vocabulary.
        k : int
            Length of the lists; beyond the catalogue they are shorter.
        candidates : iterable of ids, optional
            The only items allowed.
        exclude_known : bool
            False lets items of the training history into the lists. A model without histories needs it, and then gives
            everyone the stored list, those without history too.

        Returns
        -------
        polars.DataFrame
            user_id, item_id, score, rank (from 1), route.

        Raises
        ------
        UnknownUserError, UnknownItemError
            For an id that the vocabulary does not hold; the nearest ids are named.
        ValueRangeError
            For a k that is not a whole number of 1 or more.
        """
        rows, k = self.users.rows(users), min(checked_k(k), self.train.n_items)
        allowed = None if candidates is None else self.items.rows(candidates)
        blind = self.forgotten and not exclude_known
        warm = np.ones(len(rows), bool) if blind else self.histories.lengths[rows] > 0
        parts = []
        for route, model, mine in (("stored", self.model, warm), (*self._cold, ~warm)):
            at = np.flatnonzero(mine)
            if len(at):
                queries = model.queries(rows[at])
                exclude = self.histories.take(rows[at]) if exclude_known else None
                lists = model.recommend(queries, k, exclude=exclude, candidates=allowed, runtime=self.runtime)
                parts.append(self._frame(lists, route, at, rows[at]))
        if not parts:
            return self._frame(Ranked(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32)), "stored", rows, rows).drop("place")
        return pl.concat(parts).sort("place", "rank").drop("place")

    def recommend_for(
        self,
        *,
        history: Sequence[Id] | None = None,
        weights: Sequence[float] | None = None,
        attributes: Mapping[str, object] | None = None,
        k: int = 10,
        candidates: Iterable[Id] | None = None,
    ) -> pl.DataFrame:
        """Return the best `k` items for a person described by a history, by attributes, or by nothing.

        Parameters
        ----------
        history : sequence of item ids, optional
            What the person liked; these items are left out of the list.
        weights : sequence of float, optional
            Strength (or rating, for rating models) of each item of the history; 1 by default (the mean
            rating, for rating models).
        attributes : mapping, optional
            Attributes of the person, for the rung ``attributes``.
        k, candidates
            As in `recommend`.

        Returns
        -------
        polars.DataFrame
            item_id, score, rank, route.

        Raises
        ------
        UnknownItemError
            For an item of the history that the vocabulary does not hold.
        """
        rows = [] if history is None else self.items.rows(history).tolist()
        if weights is not None and len(weights) != len(rows):
            raise InputError(f"{len(weights)} weights for a history of {len(rows)} items; allowed: one weight per item")
        given = [[self._usual_weight] * len(rows) if weights is None else list(weights)]
        person = Histories.from_lists([rows], self.train.n_items, given)
        route, model, queries = self._door(person, attributes)
        allowed = None if candidates is None else self.items.rows(candidates)
        lists = model.recommend(queries, min(checked_k(k), self.train.n_items), exclude=person, candidates=allowed, runtime=self.runtime)
        return self._frame(lists, route, np.zeros(1, np.int32), None).drop("place")

    @property
    def _usual_weight(self) -> float:
        if self.history_value == "rating" and self.forgotten:
            return float(getattr(self.model, "offset", 1.0))
        return float(self.histories.weights.mean()) if self.history_value == "rating" and len(self.histories.items) else 1.0

    @cached_property
    def _cold(self) -> tuple[Route, Model]:
        """The rung for vocabulary users without history: by attributes where there are some, else popular."""
        if "attributes" in self.rungs and self.train.user_features is not None:
            return "attributes", self.rungs["attributes"]
        return "popular", self._popular

    @property
    def _popular(self) -> Model:
        if "popular" not in self.rungs:
            raise NotSupportedError("this model has no rung for people without history; fit it again without --rungs none")
        return self.rungs["popular"]

    def _door(self, person: Histories, attributes: Mapping[str, object] | None) -> tuple[Route, Model, Array]:
        """Return the first rung that can answer, and its query."""
        if len(person.items):
            return "history", self.model, self.model.queries(histories=person)
        if attributes and "attributes" in self.rungs:
            model = self.rungs["attributes"]
            return "attributes", model, model.queries(features=pl.DataFrame([dict(attributes)]))
        return "popular", self._popular, self._popular.queries(histories=person)

    # ------------------------------------------------------------ new interactions

    def update(
        self,
        table: Source,
        *,
        users: Source | Sequence[Source] | None = None,
        items: Source | Sequence[Source] | None = None,
        against_refit: bool = False,
        seed: int = 0,
    ) -> tuple["Recommender", UpdateReport]:
        """Return a recommender that knows new interactions too, and a report of what they have changed.

        Old users and items keep their rows; the histories become those of both tables, where repeated pairs merge as
        `Dataset.matrix` says. Rungs are updated, or fitted again where their method cannot be.

        Parameters
        ----------
        table : path or table
            The new interactions alone, with columns as for `read`.
        users, items : path or table, or several, optional
            Attributes of new users and items; known ones keep theirs.
        against_refit : bool
            Also fit again, on all but one new pair of each of up to 1,000 users, and ask both models for that pair.
        seed : int
            Seed of the samples, of the fit, and of vectors that are drawn.

        Raises
        ------
        NotSupportedError
            Where the method can only be fitted again, or there are no histories.
        InputError
            Where a table is not usable.
        """
        return updated(self, table, users=users, items=items, against_refit=against_refit, seed=seed)

    # ------------------------------------------------------------ neighbours and vectors

    def similar_items(self, item: Id, k: int = 10, *, metric: Metric = "cosine") -> pl.DataFrame:
        """Return the `k` nearest items of an item: item_id, score, rank."""
        lists = self.model.similar_items(self.items.rows([item]), min(checked_k(k), len(self.items)), metric=metric, runtime=self.runtime)
        return _listed(lists, self.items)

    def similar_users(self, user: Id, k: int = 10, *, metric: Metric = "cosine") -> pl.DataFrame:
        """Return the `k` nearest users of a user: user_id, score, rank."""
        lists = self.model.similar_users(self.users.rows([user]), min(checked_k(k), len(self.users)), metric=metric, runtime=self.runtime)
        return _listed(lists, self.users)

    def user_embeddings(self) -> pl.DataFrame:
        """Return id and embedding (list of Float32, extra columns included) of every user."""
        return _embeddings(self.model.user_vectors, self.users)

    def item_embeddings(self) -> pl.DataFrame:
        """Return id and embedding (list of Float32, extra columns included) of every item."""
        return _embeddings(self.model.item_vectors, self.items)

    def titles(self, ids: pl.Series) -> pl.Series | None:
        """Return the titles of items, null where unknown; None without a column of titles."""
        features = self.train.item_features
        if features is None or features.title is None:
            return None
        return features.frame[features.title][self.items.rows(ids)].alias("title")

    def _frame(self, lists: Ranked, route: str, place: Array, users: I32 | None) -> pl.DataFrame:
        """Turn lists into rows with ids; `place` keeps the order in which people were asked for."""
        real = lists.rows >= 0
        person, rank = np.nonzero(real)
        columns = {} if users is None else {"user_id": self.users.ids[users[person]]}
        columns["item_id"] = self.items.ids[lists.rows[real]]
        columns["score"] = pl.Series(lists.scores[real], dtype=pl.Float32)
        columns["rank"] = pl.Series(rank + 1, dtype=pl.Int32)
        columns["route"] = pl.Series([route], dtype=pl.String).new_from_index(0, len(person))
        columns["place"] = pl.Series(np.asarray(place)[person], dtype=pl.Int64)
        return pl.DataFrame(columns)


def _listed(lists: Ranked, vocabulary: Vocabulary) -> pl.DataFrame:
    real = lists.rows[0] >= 0
    ids = vocabulary.ids[lists.rows[0][real]]
    rank = pl.Series("rank", np.arange(1, real.sum() + 1), dtype=pl.Int32)
    return pl.DataFrame([ids, pl.Series("score", lists.scores[0][real], dtype=pl.Float32), rank])


def _embeddings(vectors: Array, vocabulary: Vocabulary) -> pl.DataFrame:
    width = vectors.shape[1]
    listed = pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, width)).arr.to_list()
    return pl.DataFrame([vocabulary.ids.alias("id"), listed])

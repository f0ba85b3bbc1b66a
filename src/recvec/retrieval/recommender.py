"""External ids and the cold-start ladder: the only place that knows both a model and what its rows are called."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import polars as pl

from recvec.contract import Method, Model, Runtime, checked_k
from recvec.data.dataset import Dataset, Value
from recvec.data.histories import Histories
from recvec.data.readers import Source
from recvec.data.reading import Reading
from recvec.data.vocabulary import Vocabulary
from recvec.errors import InputError, NotSupportedError
from recvec.kernels.diversity import check_diversity
from recvec.kernels.similarity import Metric
from recvec.models.popularity import Popularity
from recvec.retrieval.explaining import explain_known
from recvec.retrieval.frames import embeddings_frame, lists_frame, one_list, parts_frame, titles
from recvec.retrieval.graph import InteractionGraph, walk_of
from recvec.retrieval.graph_walk import GraphWalk, Walker
from recvec.retrieval.ladder import ROUTES, Ladder, as_frame
from recvec.retrieval.limits import Denials, Id, allowed_items, denials, denied_to_users
from recvec.retrieval.lists import Limits, check_context, known_lists, ranked
from recvec.retrieval.new_items import audience_of, filled
from recvec.retrieval.update import UpdateReport, updated

__all__ = ["ROUTES", "Recommender"]


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
        Lower rungs by name (``"attributes"``, ``"popular"``), over the same vocabulary; a method is fitted here. ``"content"``
        is a content method, which gives items without interactions a vector of the model (`retrieval.new_items`).
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
        unknown = sorted(set(wanted) - {"attributes", "content", "popular"})
        if unknown:
            raise InputError(f"there is no rung '{unknown[0]}'; allowed: attributes, content, popular")
        self.rungs = {name: rung if isinstance(rung, Model) else rung.fit(train) for name, rung in wanted.items()}
        full = filled(model, self.rungs.get("content"), train, self.runtime)
        self._ladder = Ladder(model=full, rungs={n: rung for n, rung in self.rungs.items() if n != "content"}, train=train)

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
        return self.model.method.history_value

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
    def graph(self) -> InteractionGraph:
        """Who met what as a graph, for paths and pictures; refused as `histories` is."""
        if self.forgotten:
            raise NotSupportedError("this model was saved without histories, so there is no graph for walks and paths; fit again with them")
        return InteractionGraph(self.train, self.histories, self.history_value)

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
        deny: Denials | None = None,
        diversity: float = 0.0,
        exclude_known: bool = True,
        context: Mapping[str, object] | None = None,
        retrieval: str | GraphWalk = "exact",
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
        deny : iterable of ids, or a table, optional
            Items that must not appear: ids, or the column item_id. In a table that has user_id as well, each row is
            for that user only. Ids that the vocabulary does not hold deny nothing.
        diversity : float
            0: the best by score. Up to 1: of the best ``max(100, 5 k)``, those that differ more from each other, by
            maximal marginal relevance over the item vectors (see `recvec.kernels.diversity`).
        exclude_known : bool
            False lets items of the training history into the lists. A model without histories needs it, and then gives
            everyone the stored list, those without history too.
        context : mapping, optional
            Circumstances, such as ``{"weekday": "sunday"}``, for models that use them; lists of lower rungs do not change.
        retrieval : str or GraphWalk
            ``"exact"``: the model's best. ``"walk"``, or a `GraphWalk` with settings: what walks from the history find in the
            graph of who met what, or re-ranked candidates of the model; the route is then ``history``.

        Returns
        -------
        polars.DataFrame
            user_id, item_id, score, rank (from 1), route. The score is the model's, also where diversity has
            changed the order.

        Raises
        ------
        UnknownUserError, UnknownItemError
            For an id that the vocabulary does not hold; the nearest ids are named.
        ValueRangeError
            For a k that is not a whole number of 1 or more, or a diversity outside 0 to 1.
        """
        check_diversity(diversity)
        rows, k = self.users.rows(users), min(checked_k(k), self.train.n_items)
        denied, walker = denials(deny), self._walker(retrieval)
        allowed = allowed_items(self.items, candidates, denied)
        blind = self.forgotten and not exclude_known
        warm = np.ones(len(rows), bool) if blind else self.histories.lengths[rows] > 0
        limits = Limits(k, allowed, denied_to_users(self.train, denied), diversity)
        known = self.histories if exclude_known else None
        return known_lists(self._ladder, rows, warm, known, limits, context, self.runtime, walker)

    def recommend_for(
        self,
        *,
        history: Sequence[Id] | None = None,
        weights: Sequence[float] | None = None,
        attributes: Mapping[str, object] | None = None,
        k: int = 10,
        candidates: Iterable[Id] | None = None,
        deny: Denials | None = None,
        diversity: float = 0.0,
        context: Mapping[str, object] | None = None,
        retrieval: str | GraphWalk = "exact",
    ) -> pl.DataFrame:
        """Return the best `k` items for a person described by a history, by attributes, or by nothing.

        Parameters
        ----------
        history : sequence of item ids, optional
            What the person liked; these items are left out of the list.
        weights : sequence of float, optional
            Strength, or rating for rating models, of each item of the history; 1, or the mean rating, by default.
        attributes : mapping, optional
            Attributes of the person, for a model that uses them, else for the rung ``attributes``, where a history goes first.
        k, candidates, deny, diversity, context, retrieval
            As in `recommend`; denied items are those of this one person.

        Returns
        -------
        polars.DataFrame
            item_id, score, rank, route.

        Raises
        ------
        UnknownItemError
            For an item of the history that the vocabulary does not hold.
        NotSupportedError
            Where nothing but attributes is given, and the model has no rung for them.
        """
        check_diversity(diversity)
        denied, walker = denials(deny), self._walker(retrieval)
        if denied is not None and "user_id" in denied.columns:
            raise InputError("deny names users, but this person is not one of them; allowed: item ids; leave user_id out")
        allowed = allowed_items(self.items, candidates, denied)
        person = self._person(history, weights)
        check_context(self._ladder, as_frame(context), walker)
        route, model, queries = self._ladder.door(person, attributes, context)
        scorer: Model | Walker = model if walker is None or route != "history" else walker
        if isinstance(scorer, Walker):
            queries = scorer.asked(self.graph.strengths(person), queries)
        limits = Limits(min(checked_k(k), self.train.n_items), allowed, diversity=diversity)
        lists = ranked(self._ladder.model, scorer, queries, person, limits, self.runtime)
        return lists_frame(lists, route, np.zeros(1, np.int32), self.items, None).drop("place")

    def _walker(self, retrieval: str | GraphWalk) -> Walker | None:
        walk = walk_of(retrieval)
        return None if walk is None else self.graph.walker(walk, self._ladder.model, self.runtime)

    def _person(self, history: Sequence[Id] | None, weights: Sequence[float] | None) -> Histories:
        """Return the history of someone who need not be known."""
        rows = [] if history is None else self.items.rows(history).tolist()
        if weights is not None and len(weights) != len(rows):
            raise InputError(f"{len(weights)} weights for a history of {len(rows)} items; allowed: one weight per item")
        given = [[self._usual_weight] * len(rows) if weights is None else list(weights)]
        return Histories.from_lists([rows], self.train.n_items, given)

    @property
    def _usual_weight(self) -> float:
        if self.history_value == "rating" and self.forgotten:
            return float(getattr(self.model, "offset", 1.0))
        return float(self.histories.weights.mean()) if self.history_value == "rating" and len(self.histories.items) else 1.0

    # ------------------------------------------------------------ reasons, and lists of users

    def explain(self, user: Id, item: Id, *, context: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Return what the score of an item is made of, for a known user.

        The parts are the items of the history or, of a model with features, the features and their pairs.

        Parameters
        ----------
        user, item : id
            Of the vocabulary. The user may have met the item; then its own contribution is among the parts.
        context : mapping, optional
            Circumstances, for models that use them.

        Returns
        -------
        polars.DataFrame
            part, item_id, contribution, route. First the parts with a name, such as ``item bias``, without item_id;
            then the part ``history`` once for each item that the user has met, the largest contributions first, those
            of 0 left out. They add up to the score of `recommend`, for ratings to the rating before it is clipped.

        Raises
        ------
        UnknownUserError, UnknownItemError
            For an id that the vocabulary does not hold.
        NotSupportedError
            Where the score of this model has no parts that add up.
        """
        row, wanted = self.users.rows([user]), int(self.items.rows([item])[0])
        person = self.histories.take(row)
        route, model = self._ladder.known(warm=len(person.items) > 0)
        return parts_frame(explain_known(model, int(row[0]), person, wanted, as_frame(context)), route, self.items)

    def explain_for(self, *, item: Id, history: Sequence[Id] | None = None, weights: Sequence[float] | None = None) -> pl.DataFrame:
        """Return what the score of an item is made of, for a person described by a history or by nothing; see `explain`.

        Parameters
        ----------
        item : id
            Item of the vocabulary.
        history, weights
            As in `recommend_for`.
        """
        person, wanted = self._person(history, weights), int(self.items.rows([item])[0])
        route, model, _ = self._ladder.door(person, None)
        return parts_frame(model.explain(person, wanted), route, self.items)

    def audience(self, item: Id, k: int = 100, *, exclude_known: bool = True) -> pl.DataFrame:
        """Return the `k` users to whom an item suits best: user_id, score, rank.

        Only users with a training history are listed: of the others the model knows nothing. Scores of two users are as
        comparable as the method makes them: `als` aims at 1 for everyone, `svd` gives larger scores to longer vectors.

        Parameters
        ----------
        item : id
            Item of the vocabulary.
        k : int
            Length of the list; where fewer users remain it is shorter.
        exclude_known : bool
            Leave out the users who have met the item.
        """
        row, k = self.items.rows([item]), min(checked_k(k), self.train.n_users)
        warm = self.histories.lengths > 0
        listed = None if warm.all() else np.flatnonzero(warm)  # None spares a copy of the vectors
        exclude = Histories.from_lists([self.graph.who_met(int(row[0])) if exclude_known else []], self.train.n_users)
        return one_list(self._ladder.model.audience(row, k, exclude=exclude, users=listed, runtime=self.runtime), self.users)

    def audience_for(self, attributes: Mapping[str, object], k: int = 100) -> pl.DataFrame:
        """Return the `k` users to whom a new item with these attributes suits best: user_id, score, rank; see `new_items.audience_of`."""
        return one_list(audience_of(self._ladder.model, self.rungs.get("content"), self.train, attributes, k, self.runtime), self.users)

    def update(
        self,
        table: Source,
        *,
        users: Source | Sequence[Source] | None = None,
        items: Source | Sequence[Source] | None = None,
        reading: Reading | None = None,
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
        reading : Reading, optional
            What the columns of the tables are called, and which rows count.
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
        return updated(self, table, users=users, items=items, reading=reading, against_refit=against_refit, seed=seed)

    # ------------------------------------------------------------ neighbours and vectors

    def similar_items(self, item: Id, k: int = 10, *, metric: Metric = "cosine") -> pl.DataFrame:
        """Return the `k` nearest items of an item: item_id, score, rank."""
        rows, k = self.items.rows([item]), min(checked_k(k), len(self.items))
        return one_list(self._ladder.model.similar_items(rows, k, metric=metric, runtime=self.runtime), self.items)

    def similar_users(self, user: Id, k: int = 10, *, metric: Metric = "cosine") -> pl.DataFrame:
        """Return the `k` nearest users of a user: user_id, score, rank."""
        lists = self.model.similar_users(self.users.rows([user]), min(checked_k(k), len(self.users)), metric=metric, runtime=self.runtime)
        return one_list(lists, self.users)

    def user_embeddings(self) -> pl.DataFrame:
        """Return id and embedding (list of Float32, extra columns included) of every user."""
        return embeddings_frame(self.model.user_vectors, self.users.ids)

    def item_embeddings(self) -> pl.DataFrame:
        """Return id and embedding (list of Float32, extra columns included) of every item."""
        return embeddings_frame(self._ladder.model.item_vectors, self.items.ids)

    def attribute_embeddings(self, column: str) -> pl.DataFrame:
        """Return id and embedding of every value of an attribute; a number without buckets has one, whose id is empty.

        Raises
        ------
        NotSupportedError
            Where the method has no vectors of attributes.
        """
        levels, vectors = self.model.attribute_vectors(column)
        return embeddings_frame(vectors, pl.Series(levels, dtype=pl.String))

    def titles(self, ids: pl.Series) -> pl.Series | None:
        """Return the titles of items, null where unknown; None without a column of titles."""
        return titles(self.train, ids)

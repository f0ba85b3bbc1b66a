"""The graph of who met what behind a recommender: walks, paths and pictures, for every kind of model, because they are of the histories."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from recvec.contract import Model, Runtime, checked_k
from recvec.data.dataset import Dataset, Value
from recvec.data.histories import Histories
from recvec.data.vocabulary import Vocabulary
from recvec.errors import InputError
from recvec.kernels.topk import top_k_of_scores
from recvec.kernels.walks import normalized, visits
from recvec.retrieval.frames import titles
from recvec.retrieval.graph_paths import Paths, paths_to, who_met
from recvec.retrieval.graph_picture import Drawing, Node, draw
from recvec.retrieval.graph_walk import GraphWalk, Walker, walker
from recvec.retrieval.limits import Id
from recvec.types import F64, I64

RETRIEVALS = ("exact", "walk")
_ENDS = 6  # items that a picture around a user or an item leads to
_SPAN = 3  # paths to each of them


def walk_of(retrieval: "str | GraphWalk") -> GraphWalk | None:
    """Return the walk that `retrieval` means, None for the model's own lists.

    Raises
    ------
    InputError
        For another word.
    """
    if isinstance(retrieval, GraphWalk):
        return retrieval
    if retrieval not in RETRIEVALS:
        raise InputError(f"retrieval is {retrieval!r}; allowed: {', '.join(RETRIEVALS)}, or a GraphWalk")
    return GraphWalk() if retrieval == "walk" else None


class InteractionGraph:
    """Users and items as nodes, interactions as edges.

    Parameters
    ----------
    train : Dataset
        Ids and titles.
    histories : Histories
        Who met what, in the values that the model reads.
    value : str
        What those are. Ratings are no strengths: there every edge counts 1.
    """

    def __init__(self, train: Dataset, histories: Histories, value: Value = "weight") -> None:
        self.train, self.value = train, value
        self.histories = self.strengths(histories)
        self._walkers: dict[tuple[GraphWalk, int], Walker] = {}

    @property
    def users(self) -> Vocabulary:
        """Ids of the user rows."""
        return self.train.users

    @property
    def items(self) -> Vocabulary:
        """Ids of the item rows."""
        return self.train.items

    @cached_property
    def degrees(self) -> F64:
        """Sum of the weights of each item's edges, shape (n_items,)."""
        sums: F64 = np.bincount(self.histories.items, self.histories.weights, minlength=self.histories.n_items).astype(np.float64)
        return sums

    def strengths(self, histories: Histories) -> Histories:
        """Return histories whose weights a walk can use."""
        return histories if self.value == "weight" else replace(histories, weights=np.ones_like(histories.weights))

    def who_met(self, item: int) -> I64:
        """Return the rows of the users who met an item row."""
        return who_met(self.histories, item)

    def walker(self, recipe: GraphWalk, model: Model | None = None, runtime: Runtime | None = None) -> Walker:
        """Return the graph, ready for walks of a recipe; it is prepared once."""
        key = (recipe, id(model))
        if key not in self._walkers:
            self._walkers[key] = walker(recipe, self.histories, model=model, runtime=runtime)
        return self._walkers[key]

    # ------------------------------------------------------------ paths

    def paths(self, user: Id | None, item: Id, k: int = 10, *, history: Sequence[Id] | None = None) -> pl.DataFrame:
        """Return the strongest paths from a person to an item: person - item met - other user - item.

        Parameters
        ----------
        user : id or None
            Known user; None for a person who is described by `history`.
        item : id
            Where the paths end.
        k : int
            How many.
        history : sequence of item ids, optional
            What a person who is not known met.

        Returns
        -------
        polars.DataFrame
            item_id (the item met), user_id (the other user), weight: the probability that a random walk of three steps
            takes this path. The weights of all paths add up to the probability of coming to the item over somebody else.

        Raises
        ------
        UnknownUserError, UnknownItemError
            For an id that the vocabulary does not hold.
        """
        return self.frame(self.all_paths(user, item, history).best(checked_k(k)))

    def all_paths(self, user: Id | None, item: Id, history: Sequence[Id] | None = None) -> Paths:
        """Return every path, as rows: see `paths`."""
        itself, person = self._person(user, history)
        return self._paths_to(itself, person, int(self.items.rows([item])[0]))

    def frame(self, found: Paths) -> pl.DataFrame:
        """Return paths as a table with ids: item_id, user_id, weight."""
        weight = pl.Series("weight", found.weights, dtype=pl.Float64)
        return pl.DataFrame([self.items.ids[found.items].alias("item_id"), self.users.ids[found.users].alias("user_id"), weight])

    def _paths_to(self, itself: int | None, person: Histories, item: int) -> Paths:
        return paths_to(self.histories.matrix(), self.degrees, person, itself, item, self.who_met(item))

    def _person(self, user: Id | None, history: Sequence[Id] | None) -> tuple[int | None, Histories]:
        if user is not None:
            row = int(self.users.rows([user])[0])
            return row, self.histories.take(np.array([row]))
        rows = [] if history is None else self.items.rows(history).tolist()
        return None, Histories.from_lists([rows], self.histories.n_items)

    # ------------------------------------------------------------ pictures

    def picture(self, user: Id | None = None, item: Id | None = None, k: int = 10, *, history: Sequence[Id] | None = None) -> str:
        """Return a drawing of the graph as SVG.

        With a person and an item: the `k` strongest paths between them. With a person alone: the ways to the items that a
        walk of three steps finds most. With an item alone: who met it, and what they met most besides.

        Raises
        ------
        InputError
            Where neither a person nor an item is given.
        UnknownUserError, UnknownItemError
            For an id that the vocabulary does not hold.
        """
        k = checked_k(k)
        if user is None and history is None:
            if item is None:
                raise InputError("a picture is around a user or an item; give one, or both for the paths between them")
            return draw(self._around_item(int(self.items.rows([item])[0])))
        itself, person = self._person(user, history)
        name = "this person" if user is None else f"user {user}"
        if item is None:
            return draw(self._around_person(itself, person, name))
        row = int(self.items.rows([item])[0])
        found = self._paths_to(itself, person, row)
        return draw(self._between(itself, found.best(k), len(found.weights), f"From {name} to item {self._label('item', row)}", name))

    def _between(self, itself: int | None, found: Paths, of: int, title: str, name: str) -> Drawing:
        me: Node = ("user", "me" if itself is None else itself)
        rows = zip(found.items.tolist(), found.users.tolist(), found.ends.tolist(), found.weights.tolist(), strict=True)
        paths = [((me, ("item", met), ("user", other), ("item", end)), weight) for met, other, end, weight in rows]
        columns = ("user" if itself is not None else "person", "items met", "others who met them", "items they met")
        said = f"the {len(paths)} strongest of {of:,} paths" if of > len(paths) else f"{of} paths"
        labels = {node: self._label(*node) for nodes, _ in paths for node in nodes if node != me}
        return self._drawing(title, f"{said}; lines as thick as they are likely", columns, paths, {**labels, me: name})

    @staticmethod
    def _drawing(
        title: str, said: str, columns: Sequence[str], paths: Sequence[tuple[Sequence[Node], float]], labels: dict[Node, str]
    ) -> Drawing:
        return Drawing(title=title, subtitle=said if paths else "no path", columns=columns, paths=paths, labels=labels)

    def _around_person(self, itself: int | None, person: Histories, name: str) -> Drawing:
        reached = visits(normalized(self.histories.matrix()), person.matrix(), 0.0, 1)
        rows, scores = top_k_of_scores(reached, _ENDS, exclude=person.exclude)
        parts = [self._paths_to(itself, person, int(end)) for end in rows[0][scores[0] > 0]]
        empty = Paths(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))
        best = Paths(*(np.concatenate(part) for part in zip(empty, *(p.best(_SPAN) for p in parts), strict=True)))
        return self._between(itself, best, sum(len(p.weights) for p in parts), f"The graph around {name}", name)

    def _around_item(self, item: int) -> Drawing:
        """Draw item - users who met it - other items, by the probability of these two steps."""
        users = self.who_met(item)
        rows = self.histories.take(users).matrix()
        mine, sums = np.asarray(rows[:, [item]].toarray()[:, 0], dtype=np.float64), rows.sum(axis=1, dtype=np.float64)
        step = np.divide(mine, sums * self.degrees[item], out=np.zeros_like(mine), where=(sums > 0) & (mine > 0))
        reached = (rows.T @ step).astype(np.float32)[None, :]
        ends, scores = top_k_of_scores(reached, _ENDS, exclude=(np.array([0, 1]), np.array([item], np.int32)))
        paths: list[tuple[Sequence[Node], float]] = []
        for end in ends[0][scores[0] > 0].tolist():
            taken = rows[:, [end]].toarray()[:, 0] * step
            best = np.argsort(-taken, kind="stable")[:_SPAN]
            over = zip(users[best].tolist(), taken[best].tolist(), strict=True)
            paths += [((("item", item), ("user", user), ("item", end)), weight) for user, weight in over if weight > 0]
        labels = {node: self._label(*node) for nodes, _ in paths for node in nodes}
        said = f"{len(users):,} users met it; shown are the {_ENDS} items that they met most besides, each over {_SPAN} of them"
        title = f"The graph around item {self._label('item', item)}"
        return self._drawing(title, said, ("item", "users who met it", "what they met besides"), paths, labels)

    def _label(self, kind: str, row: Any) -> str:
        """Return the title of an item where it has one, else the id."""
        ids = (self.items if kind == "item" else self.users).ids[[row]]
        named = titles(self.train, ids) if kind == "item" else None
        return str(ids[0] if named is None or named[0] is None else named[0])

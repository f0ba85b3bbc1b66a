"""What a competitor, a model or any function that scores, says about the people of a split."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recvec.contract import Model, Ranked, Runtime
from recvec.data.dataset import Value
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.data.splits import Split
from recvec.errors import InputError
from recvec.kernels.diversity import mmr, pool_size
from recvec.kernels.topk import top_k_of_scores
from recvec.types import F32, I32, Array

Scorer = Callable[[I32], F32]
"""Any competitor: user rows (B,) -> scores of all items (B, n_items), higher is better."""


@dataclass(frozen=True, eq=False)
class Answers:
    """A competitor in front of a split.

    People whose rows are folded in are asked about by that history. A model that is older than the ids of the test part
    (it has the sizes ``split.n_known``) answers for further users as for people without history; further items rank last.

    Parameters
    ----------
    competitor : Model or callable
        Who is asked.
    split : Split
        About whom.
    runtime : Runtime
        Threads to use.

    Raises
    ------
    InputError
        Where a model is over another vocabulary.
    """

    competitor: Model | Scorer
    split: Split
    runtime: Runtime

    def __post_init__(self) -> None:
        sizes = (self.split.train.n_users, self.split.train.n_items)
        if isinstance(self.competitor, Model) and (self.competitor.n_users, self.competitor.n_items) not in (sizes, self.split.n_known):
            raise InputError(
                f"the model knows {self.competitor.n_users} users and {self.competitor.n_items} items, the split has {sizes[0]} and "
                f"{sizes[1]}; fit the method on split.train"
            )

    @property
    def name(self) -> str:
        """What results call the competitor."""
        if isinstance(self.competitor, Model):
            return str(self.competitor.method.name)
        return str(getattr(self.competitor, "__name__", type(self.competitor).__name__))

    @property
    def task(self) -> str | None:
        """What a model was fitted for; None for a function."""
        return str(getattr(self.competitor.method, "task", "ranking")) if isinstance(self.competitor, Model) else None

    @cached_property
    def known(self) -> Histories:
        """What is known of each user, and must not be in their list."""
        return self.split.histories()

    @cached_property
    def _folded(self) -> Histories:
        """The histories by which held-out people are asked about, in the values that the model reads."""
        reads: Value = self.competitor.method.history_value if isinstance(self.competitor, Model) else "weight"
        return self.split.histories(reads)

    def lists(self, users: I32, k: int, candidates: I32 | None, scores: F32 | None = None) -> Ranked:
        """Return the best items of each user without what is known of them; from `scores` where they are there already."""
        exclude = self.known.take(users)
        if isinstance(self.competitor, Model):
            queries = self._queries(self.competitor, users)
            return self.competitor.recommend(queries, k, exclude=exclude, candidates=candidates, runtime=self.runtime)
        scores = self.scores(users) if scores is None else scores
        return Ranked(*top_k_of_scores(scores, k, exclude=exclude.exclude, candidates=candidates, executor=self.runtime.executor))

    def diverse_lists(self, users: I32, k: int, diversity: float, candidates: I32 | None) -> Ranked:
        """Return the lists that a recommender makes with a `diversity`.

        Raises
        ------
        InputError
            For a function, which has no vectors to compare items by.
        """
        pools = self.lists(users, min(pool_size(k), self.split.train.n_items), candidates)
        return Ranked(*mmr(pools.rows, pools.scores, self.item_vectors, k, diversity, executor=self.runtime.executor))

    @cached_property
    def item_vectors(self) -> F32:
        """What items are compared by: the model's vectors without their extra columns."""
        if not isinstance(self.competitor, Model):
            raise InputError("diversity compares items by their vectors, and a function has none; leave diversity out")
        vectors = self.competitor.item_vectors
        return np.ascontiguousarray(vectors[:, : vectors.shape[1] - self.competitor.n_extra])

    def scores(self, users: I32) -> F32:
        """Return the scores of all items, shape (B, n_items); -inf for items that the model does not know."""
        n_items = self.split.train.n_items
        if isinstance(self.competitor, Model):
            scores = self.competitor.scores(self._queries(self.competitor, users))
            further = n_items - scores.shape[1]
            return np.pad(scores, ((0, 0), (0, further)), constant_values=-np.inf) if further else scores
        scores = np.ascontiguousarray(self.competitor(users), dtype=np.float32)
        if scores.shape != (len(users), n_items):
            raise InputError(f"the callable gave scores of shape {scores.shape}; allowed: {(len(users), n_items)}")
        return scores

    def predictions(self, rows: Interactions) -> F32:
        """Return one value a row on the task's scale, in its context; NaN for pairs of which the model knows only one side or none."""
        users, items = rows.users, rows.items
        if self.split.folded is not None:
            raise InputError("protocol strong is for rankings: predictions of folded-in people are not there; use another protocol")
        if isinstance(self.competitor, Model):
            known = (users < self.competitor.n_users) & (items < self.competitor.n_items)
            values = np.full(len(users), np.nan, np.float32)
            context = rows.context if self.competitor.uses_context else None
            told = None if context is None else context.take(known).frame
            values[known] = self.competitor.predict(users[known], items[known], context=told)
            return values
        order = np.argsort(users, kind="stable")
        people, first = np.unique(users[order], return_index=True)
        values = np.empty(len(users), np.float32)
        for user, mine in zip(people, np.split(order, first[1:]), strict=True):
            values[mine] = np.asarray(self.competitor(user[None]))[0, items[mine]]
        return values

    def blocks(self, users: I32, size: int) -> list[I32]:
        """Cut ascending user rows into blocks; people whom a model does not know are apart from those it does."""
        n_known = self.competitor.n_users if isinstance(self.competitor, Model) else self.split.train.n_users
        known, further = users[users < n_known], users[users >= n_known]
        return [part[start : start + size] for part in (known, further) for start in range(0, len(part), size)]

    def _queries(self, model: Model, users: I32) -> Array:
        if self.split.folded is not None:
            return model.queries(histories=self._folded.take(users))
        if users[0] < model.n_users:
            return model.queries(users)
        return model.queries(histories=Histories.empty(len(users), model.n_items))

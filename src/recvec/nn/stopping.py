"""Early stopping: how many epochs rank held-out items best; then everything is learned for as many."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from recvec.contract import Training
from recvec.data.dataset import Dataset
from recvec.types import F32, F64, I32

K = 20
MOST_USERS = 2000  # held out are items of so many users at most


@dataclass
class Watch:
    """Ranks held-out items after each epoch, and says when enough epochs went by without a better order.

    Parameters
    ----------
    train : Dataset
        The rest, which is learned from.
    users, items : I32, shape (n,)
        A held-out item for each of n users.
    patience : int
        Epochs without a higher NDCG@20 after which to stop.
    scores : callable, optional
        Set by the method: returns the scores of all items for user rows (B,), shape (B, n_items).
    """

    train: Dataset
    users: I32
    items: I32
    patience: int
    scores: Callable[[I32], F32] | None = None
    values: list[float] = field(default_factory=list)

    def __call__(self, epoch: int) -> bool:
        """Measure, and return whether to stop."""
        assert self.scores is not None  # noqa: S101  the method sets it before it trains
        self.values.append(float(_gains(self.scores, self.train, self.users, self.items).mean()))
        return len(self.values) - 1 - int(np.argmax(self.values)) >= self.patience

    @property
    def best(self) -> int:
        """The epoch that ranked best, the first of equals."""
        return 1 + int(np.argmax(self.values))


def best_epoch(run: Callable[[Watch, Training], None], dataset: Dataset, training: Training, *, epochs: int, patience: int) -> int:
    """Return for how many epochs to learn.

    Held out is one item for each of up to 2,000 users who have two or more (or the rows of ``training.valid``). A resumed fit
    knows the number from its checkpoint, where the method keeps it as ``epochs``.

    Parameters
    ----------
    run : callable
        Learns from ``watch.train``, sets ``watch.scores`` and calls the watch after each epoch, see `loop.train`.
    dataset : Dataset
        What the fit is given.
    training : Training
        Of the fit; random numbers of their own are drawn from it.
    epochs : int
        The most.
    patience : int
        See `Watch`; 0: learn for all epochs, nothing is held out.
    """
    if not patience:
        return epochs
    rng = np.random.default_rng(training.rng.integers(1 << 62))
    if training.resume is not None:
        return int(training.resume.arrays["epochs"][0])
    watch = _held_out(dataset, training.valid, rng, patience)
    if not len(watch.users):
        return epochs
    run(watch, replace(training, rng=rng, monitor=None, on_epoch=None, checkpoint=None, curve=[]))
    return watch.best


def _held_out(dataset: Dataset, valid: Dataset | None, rng: np.random.Generator, patience: int) -> Watch:
    if valid is not None:
        users, first = np.unique(valid.interactions.users, return_index=True)
        return Watch(dataset, users, valid.interactions.items[first], patience)
    rows = dataset.interactions
    order = rng.permutation(len(rows) if rows.label is None else np.flatnonzero(rows.label > 0))
    users, first = np.unique(rows.users[order], return_index=True)  # a random row of each user
    several = dataset.user_counts[users] >= 2
    chosen = order[first[several]]
    chosen = np.sort(chosen[rng.permutation(len(chosen))[:MOST_USERS]])
    kept = np.ones(len(rows), bool)
    kept[chosen] = False
    return Watch(dataset.with_interactions(rows.take(kept)), rows.users[chosen], rows.items[chosen], patience)


def _gains(scores: Callable[[I32], F32], train: Dataset, users: I32, items: I32) -> F64:
    """Return NDCG@20 of the one held-out item of each user among all that the user has not met, shape (n,)."""
    met, gains = train.histories(), np.empty(len(users))
    for start in range(0, len(users), 256):
        block = slice(start, start + 256)
        values = scores(users[block]).copy()  # (B, n_items)
        own = np.take_along_axis(values, items[block, None].astype(np.int64), axis=1)
        some = met.take(users[block])
        values[np.repeat(np.arange(len(some)), some.lengths), some.items] = -np.inf
        rank = 1 + (values > own).sum(axis=1) + ((values == own).sum(axis=1) - 1) / 2  # the mean rank of equals
        gains[block] = np.where(rank <= K, 1 / np.log2(rank + 1), 0.0)
    return gains

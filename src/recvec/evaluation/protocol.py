"""Measuring a model on the test part of a split, by the protocols of the design page."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from recvec.contract import Model, Ranked, Runtime, checked_k
from recvec.data.histories import Histories
from recvec.data.splits import Split
from recvec.errors import InputError, ValueRangeError
from recvec.evaluation.report import Evaluation
from recvec.evaluation.significance import bootstrap_intervals
from recvec.kernels import metrics
from recvec.kernels.topk import top_k_of_scores
from recvec.types import F32, F64, I32, Bool

Scorer = Callable[[I32], F32]
"""Any competitor: user rows (B,) -> scores of all items (B, n_items), higher is better."""

_LONGEST_LIST = 1000  # or the catalogue, where that is longer
_USERS_PER_BLOCK = 4096
_SCORED_USERS_PER_BLOCK = 256  # users whose scores of the whole catalogue are held at once


def evaluate(
    model: Model | Scorer,
    split: Split,
    *,
    k: Sequence[int] | int = 10,
    task: str | None = None,
    runtime: Runtime | None = None,
) -> Evaluation:
    """Measure a model, or anything that scores, on the test part of a split.

    Rankings go over the whole catalogue without the user's training items, or over the split's negatives where it
    has them (then ties take their mean rank). Users without test items are left out and counted; users and items
    unseen in training are ranked by the model's documented answer and counted.

    Parameters
    ----------
    model : Model or callable
        A model fitted on ``split.train``, or a callable from user rows (B,) to scores (B, n_items).
    split : Split
        Both parts.
    k : int or sequence of int
        Lengths of the lists.
    task : str, optional
        ``"ranking"`` or ``"rating"``; by default the task of the model's method.
    runtime : Runtime, optional
        Threads to use.

    Returns
    -------
    Evaluation
        Means over users with 95 % bootstrap intervals, and the values of each user.

    Raises
    ------
    InputError
        Where model and split do not belong together, or the test part has nothing to ask.
    """
    started = time.perf_counter()
    lengths = sorted({checked_k(length) for length in ([k] if isinstance(k, int) else k)})
    if isinstance(model, Model) and (model.n_users, model.n_items) != (split.train.n_users, split.train.n_items):
        raise InputError(
            f"the model knows {model.n_users} users and {model.n_items} items, the split has {split.train.n_users} and "
            f"{split.train.n_items}; fit the method on split.train"
        )
    longest = max(split.train.n_items, _LONGEST_LIST)
    if lengths[-1] > longest:
        raise ValueRangeError(f"k is {lengths[-1]}; allowed: up to {longest} here; shorten the list")
    own = str(getattr(model.method, "task", "ranking")) if isinstance(model, Model) else task
    task = task or own or "ranking"
    if task not in ("ranking", "rating") or (task == "rating" and own != task):
        raise InputError(
            f"the task is '{task}', but the model was fitted for {own}; allowed: ranking, or rating for a model that predicts ratings"
        )
    if task == "rating":
        values, weights, users = _rating_errors(model, split)
    else:
        values, users = _ranking_values(model, split, lengths, runtime or Runtime())
        weights = np.ones(len(users))
    return _summary(model, split, task, values, weights, users, time.perf_counter() - started)


def _summary(
    model: Model | Scorer, split: Split, task: str, values: dict[str, F64], weights: F64, users: I32, seconds: float
) -> Evaluation:
    table = np.column_stack(list(values.values()))
    bounds = bootstrap_intervals(table, weights)
    means = table.sum(axis=0) / weights.sum()
    if task == "rating":  # the root is taken of the mean, not of each user's error
        values = {"rmse": values["squared_error"], "mae": values["absolute_error"]}
        means[0], bounds[0] = np.sqrt(means[0]), np.sqrt(bounds[0])
    return Evaluation(
        method=model.method.name if isinstance(model, Model) else getattr(model, "__name__", type(model).__name__),
        protocol=split.protocol,
        task=task,
        sampled=split.negatives is not None and task == "ranking",
        metrics=dict(zip(values, means.tolist(), strict=True)),
        intervals={name: (low, high) for name, (low, high) in zip(values, bounds.tolist(), strict=True)},
        per_user=values,
        users=users,
        counts=_counts(split, len(users)),
        seconds=seconds,
    )


def _counts(split: Split, n_evaluated: int) -> dict[str, int]:
    return {
        "n_users_evaluated": n_evaluated,
        "n_users_without_test": split.train.n_users - n_evaluated,
        "n_unseen_users": split.n_unseen_users,
        "n_unseen_items": split.n_unseen_items,
        "n_test_rows": len(split.test),
        "n_test_pairs_in_train": split.n_repeated,
    }


def _ranking_values(model: Model | Scorer, split: Split, lengths: list[int], runtime: Runtime) -> tuple[dict[str, F64], I32]:
    relevant = split.relevant
    users = np.flatnonzero(relevant.lengths > 0).astype(np.int32)
    if not len(users):
        raise InputError("no user of the test part has an item to find; allowed: test pairs that are not in the training part")
    if split.negatives is not None:
        return _sampled_values(model, relevant, split.negatives, users, lengths), users
    known = split.train.histories()
    blocks = [
        _block_values(_lists(model, at, known.take(at), lengths[-1], runtime), relevant.take(at), lengths)
        for at in _in_blocks(users, _USERS_PER_BLOCK if isinstance(model, Model) else _SCORED_USERS_PER_BLOCK)
    ]
    return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}, users


def _in_blocks(users: I32, size: int) -> list[I32]:
    return [users[start : start + size] for start in range(0, len(users), size)]


def _lists(model: Model | Scorer, users: I32, exclude: Histories, k: int, runtime: Runtime) -> Ranked:
    if isinstance(model, Model):
        return model.recommend(model.queries(users), k, exclude=exclude, runtime=runtime)
    scores = np.ascontiguousarray(model(users), dtype=np.float32)
    if scores.shape != (len(users), exclude.n_items):
        raise InputError(f"the callable gave scores of shape {scores.shape}; allowed: {(len(users), exclude.n_items)}")
    return Ranked(*top_k_of_scores(scores, k, exclude=exclude.exclude, executor=runtime.executor))


def _block_values(lists: Ranked, relevant: Histories, lengths: list[int]) -> dict[str, F64]:
    hits = _hits(lists, relevant)
    n_relevant = relevant.lengths
    return {f"{name}@{k}": metric(hits[:, :k], n_relevant).sum(axis=1) for k in lengths for name, metric in metrics.RANKING.items()}


def _hits(lists: Ranked, relevant: Histories) -> Bool:
    """Mark the list entries that are relevant, shape (B, k), by one search among sorted (user, item) keys."""
    people = np.arange(len(relevant), dtype=np.int64)
    keys = np.repeat(people, relevant.lengths) * relevant.n_items + relevant.items
    wanted = people[:, None] * relevant.n_items + lists.rows
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return (keys[at] == wanted) & (lists.rows >= 0)


def _sampled_values(model: Model | Scorer, relevant: Histories, negatives: Histories, users: I32, lengths: list[int]) -> dict[str, F64]:
    """Rank each test item among the user's negatives; a user's value is the mean over their test items."""
    ranks, owners = [], []
    for at in _in_blocks(users, _SCORED_USERS_PER_BLOCK):
        scores = np.asarray(model.scores(model.queries(at)) if isinstance(model, Model) else model(at))
        asked, against = relevant.take(at), negatives.take(at)
        person = np.repeat(np.arange(len(at)), asked.lengths)
        others = _padded(scores, against)[person]  # (n_asked, m)
        others[_padded_items(against)[person] == asked.items[:, None]] = np.nan  # a negative that is the test item itself
        ranks.append(metrics.mean_rank(scores[person, asked.items], others))
        owners.append(np.repeat(at, asked.lengths))
    rank, owner = np.concatenate(ranks), np.searchsorted(users, np.concatenate(owners))
    per_user = np.bincount(owner)
    return {f"{name}@{k}": np.bincount(owner, values) / per_user for k in lengths for name, values in metrics.from_rank(rank, k).items()}


def _padded_items(lists: Histories) -> I32:
    """Return the items of each row side by side, -1 behind a shorter row, shape (B, m)."""
    width = int(lists.lengths.max(initial=0))
    items = np.full((len(lists), width), -1, np.int32)
    items[np.arange(width) < lists.lengths[:, None]] = lists.items
    return items


def _padded(scores: F32, lists: Histories) -> F32:
    items = _padded_items(lists)
    values = np.take_along_axis(scores, items.clip(min=0), axis=1).astype(np.float32)
    return np.where(items >= 0, values, np.float32(np.nan))


def _rating_errors(model: Model | Scorer, split: Split) -> tuple[dict[str, F64], F64, I32]:
    """Return sums of squared and absolute errors of each user, the number of their test ratings, and the users."""
    truth = split.test.rating
    if truth is None:
        raise InputError("the task is rating, but the test part has no column 'rating'; add it or use task ranking")
    if isinstance(model, Model):
        predicted = model.predict(split.test.users, split.test.items)
    else:
        predicted = np.concatenate([np.asarray(model(split.test.users[[n]]))[0, [i]] for n, i in enumerate(split.test.items)])
    known = split.train.interactions.rating
    if known is not None:
        predicted = predicted.clip(known.min(), known.max())
    error = predicted.astype(np.float64) - truth
    users, person, counts = np.unique(split.test.users, return_inverse=True, return_counts=True)
    sums: dict[str, F64] = {
        "squared_error": np.bincount(person, error**2).astype(np.float64),
        "absolute_error": np.bincount(person, np.abs(error)).astype(np.float64),
    }
    return sums, counts.astype(np.float64), users

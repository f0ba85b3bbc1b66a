"""Measuring a model, or a method over folds and seeds, by the protocols of the design page."""

import time
from collections.abc import Callable, Sequence

from recvec.contract import Method, Model, Runtime, checked_k
from recvec.data.dataset import Dataset
from recvec.data.splits import Split
from recvec.errors import InputError, ValueRangeError
from recvec.evaluation.answers import Answers, Scorer
from recvec.evaluation.measured import Measured, pooled
from recvec.evaluation.prediction import measure_clicks, measure_ratings
from recvec.evaluation.ranking import measure_ranking
from recvec.evaluation.report import Evaluation
from recvec.evaluation.summary import summarize
from recvec.kernels.diversity import check_diversity

Fit = Callable[[Dataset, int], Model]

TASKS = ("ranking", "rating", "click")
_LONGEST_LIST = 1000  # or the catalogue, where that is longer


def evaluate(
    model: Model | Scorer,
    split: Split,
    *,
    k: Sequence[int] | int = 10,
    task: str | None = None,
    diversity: float = 0.0,
    runtime: Runtime | None = None,
) -> Evaluation:
    """Measure a model, or anything that scores, on the test part of a split.

    Rankings go over the whole catalogue (the held-out items, where the protocol is ``new-items``) without what is known
    of the user, or over the split's negatives where it has them (then ties take their mean rank). Users without test
    items are left out and counted; users and items unseen in training are ranked by the model's documented answer and
    counted.

    Parameters
    ----------
    model : Model or callable
        A model fitted on ``split.train``, or a callable from user rows (B,) to scores (B, n_items).
    split : Split
        Both parts.
    k : int or sequence of int
        Lengths of the lists.
    task : str, optional
        ``"ranking"``, ``"rating"`` or ``"click"``; by default the task of the model's method.
    diversity : float
        Where positive, lists re-ranked for diversity (as by `Recommender.recommend`) are measured beside the plain ones:
        ``recall_diverse@k``, ``ndcg_diverse@k``, and ``similarity@k``, ``similarity_diverse@k``, the mean cosine within
        the lists.
    runtime : Runtime, optional
        Threads to use.

    Returns
    -------
    Evaluation
        Means with 95 % bootstrap intervals, parts of people and items, and the values of each user.

    Raises
    ------
    InputError
        Where model and split do not belong together, or the test part has nothing to ask.
    """
    started = time.perf_counter()
    answers = Answers(model, split, runtime or Runtime())
    task = checked_task(answers, task)
    measured = _measure(answers, _lengths(k, split), task, diversity)
    result = summarize([measured], [split], method=answers.name, task=task, seconds=0.0)
    return result.taking(time.perf_counter() - started)


def cross_validate(
    method: Method,
    splits: Sequence[Split],
    *,
    k: Sequence[int] | int = 10,
    seeds: Sequence[int] = (0,),
    diversity: float = 0.0,
    runtime: Runtime | None = None,
    fit: Fit | None = None,
) -> Evaluation:
    """Fit a method on every split with every seed, measure each model, and put the values of all users together.

    Parameters
    ----------
    method : Method
        The recipe; its task is what is measured.
    splits : sequence of Split
        One split, or the folds of one dataset.
    k : int or sequence of int
        Lengths of the lists.
    seeds : sequence of int
        Seeds of the fits. With several, metrics are means over them and intervals hold the noise of training.
    diversity : float
        As in `evaluate`.
    runtime : Runtime, optional
        Threads to use.
    fit : callable, optional
        ``fit(dataset, seed) -> Model``, instead of ``method.fit``; to show progress, or to keep the models.

    Returns
    -------
    Evaluation
        As from `evaluate`, pooled.

    Raises
    ------
    InputError
        As in `evaluate`.
    """
    runtime = runtime or Runtime()
    fit = fit or (lambda data, seed: method.fit(data, rng=seed, runtime=runtime))
    runs, seconds, task = [], 0.0, ""
    for seed in seeds:
        parts = []
        for split in splits:
            answers = Answers(fit(split.train, seed), split, runtime)
            started = time.perf_counter()
            task = checked_task(answers, None)
            parts.append(_measure(answers, _lengths(k, split), task, diversity))
            seconds += time.perf_counter() - started
        runs.append(pooled(parts))
    started = time.perf_counter()
    result = summarize(runs, splits, method=method.name, task=task, seconds=0.0)
    return result.taking(seconds + time.perf_counter() - started)


def checked_task(answers: Answers, task: str | None) -> str:
    """Return the task that is measured, or refuse one that the competitor was not made for."""
    own = answers.task or task or "ranking"
    task = task or own
    if task not in TASKS or task not in (own, "ranking"):
        raise InputError(
            f"the task is '{task}', but the model was fitted for {own}; allowed: ranking, or rating and click for a model fitted for these"
        )
    return task


def _measure(answers: Answers, lengths: list[int], task: str, diversity: float) -> Measured:
    check_diversity(diversity)
    if diversity and task != "ranking":
        raise InputError(f"diversity re-ranks lists, and the task is {task}; leave diversity out")
    match task:
        case "rating":
            return measure_ratings(answers)
        case "click":
            return measure_clicks(answers)
        case _:
            return measure_ranking(answers, lengths, diversity)


def _lengths(k: Sequence[int] | int, split: Split) -> list[int]:
    lengths = sorted({checked_k(length) for length in ([k] if isinstance(k, int) else k)})
    longest = max(split.train.n_items, _LONGEST_LIST)
    if lengths[-1] > longest:
        raise ValueRangeError(f"k is {lengths[-1]}; allowed: up to {longest} here; shorten the list")
    return lengths

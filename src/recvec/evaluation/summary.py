"""From what was measured user by user to means with intervals."""

from collections.abc import Sequence

import numpy as np

from recvec.data.splits import Split
from recvec.evaluation.measured import Measured, averaged
from recvec.evaluation.report import Evaluation
from recvec.evaluation.significance import auc_interval, bootstrap_intervals, two_way_intervals
from recvec.evaluation.slices import slices
from recvec.kernels import catalogue
from recvec.kernels.auc import auc
from recvec.types import F64

Ends = tuple[float, float]
_NONE = (np.nan, np.nan)


def summarize(runs: Sequence[Measured], splits: Sequence[Split], *, method: str, task: str, seconds: float) -> Evaluation:
    """Return means and intervals of one method.

    Parameters
    ----------
    runs : sequence of Measured
        One per seed, each pooled over `splits`.
    splits : sequence of Split
        One, or the folds.
    method, task : str
        What was measured.
    seconds : float
        Time it took, fits left out.
    """
    mean, clustered = averaged(runs), len(splits) > 1
    by_seed = [_estimates(run, task) for run in runs]
    intervals = _ratio_intervals(runs, clustered=clustered)
    if splits[0].candidates is not None:  # items were drawn too
        intervals |= _two_way(mean, [name for name in mean.pairs.values if name != "found"])
    if task == "click":
        pairs = mean.pairs
        low, high = auc_interval(pairs.values["label"], pairs.values["probability"], pairs.users).tolist()
        intervals["auc"] = (low, high)
    if task == "rating":  # the root is taken of the mean, not of each user's error
        intervals["rmse"] = (float(np.sqrt(intervals["rmse"][0])), float(np.sqrt(intervals["rmse"][1])))
    names = list(by_seed[0])
    return Evaluation(
        method=method,
        protocol=splits[0].protocol,
        task=task,
        sampled=splits[0].negatives is not None and task == "ranking",
        metrics={name: float(np.mean([e[name] for e in by_seed])) for name in names},
        intervals={name: intervals.get(name, _NONE) for name in names},
        by_seed={name: tuple(e[name] for e in by_seed) for name in names},
        slices=slices(mean, splits[0].train, _sliced(names, task), "found" if task == "ranking" else names[-1 if task == "click" else 0]),
        per_user={name: np.where(mean.counts[name] > 0, values, np.nan) for name, values in mean.sums.items()},
        users=mean.users,
        counts=_counts(splits, mean),
        n_folds=len(splits),
        seconds=seconds,
    )


def _estimates(run: Measured, task: str) -> dict[str, float]:
    """Return every metric of one run."""
    means = {name: float(values.sum() / run.counts[name].sum()) if run.counts[name].any() else np.nan for name, values in run.sums.items()}
    for k, shown in run.shown.items():
        means[f"coverage@{k}"], means[f"gini@{k}"] = catalogue.coverage(shown[run.allowed]), catalogue.gini(shown[run.allowed])
    if task == "rating":
        means["rmse"] = float(np.sqrt(means["rmse"]))
    if task == "click":
        means = {"auc": auc(run.pairs.values["label"], run.pairs.values["probability"]), **means}
    return means


def _ratio_intervals(runs: Sequence[Measured], *, clustered: bool) -> dict[str, Ends]:
    first = runs[0]
    sums = np.stack([np.column_stack(list(run.sums.values())) for run in runs])  # (n_seeds, n, m)
    counts = np.column_stack(list(first.counts.values()))
    ends = bootstrap_intervals(sums, counts, first.users if clustered else None)
    return {name: (low, high) for name, (low, high) in zip(first.sums, ends.tolist(), strict=True)}


def _two_way(mean: Measured, names: list[str]) -> dict[str, Ends]:
    pairs = mean.pairs
    gains: F64 = np.column_stack([pairs.values[name] for name in names])
    ends = two_way_intervals(pairs.users, pairs.items, gains, pairs.shares)
    return {name: (low, high) for name, (low, high) in zip(names, ends.tolist(), strict=True)}


def _sliced(names: list[str], task: str) -> list[str]:
    """Return the metrics that parts of people and items are judged by: those of the longest list, or the error."""
    if task != "ranking":
        return [{"rating": "rmse", "click": "logloss"}[task]]
    longest = max(int(name.partition("@")[2]) for name in names if "@" in name)
    return [f"recall@{longest}", f"ndcg@{longest}"]


def _counts(splits: Sequence[Split], mean: Measured) -> dict[str, int]:
    n_evaluated = len(np.unique(mean.users))
    return {
        "n_users_evaluated": n_evaluated,
        "n_users_without_test": splits[0].train.n_users - n_evaluated,
        "n_unseen_users": sum(s.n_unseen_users for s in splits),
        "n_unseen_items": sum(s.n_unseen_items for s in splits),
        "n_distinct_unseen_items": sum(s.n_distinct_unseen_items for s in splits),
        "n_test_rows": sum(len(s.test) for s in splits),
        "n_test_pairs_in_train": sum(s.n_repeated for s in splits),
    }

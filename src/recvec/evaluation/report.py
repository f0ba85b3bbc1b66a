"""The result of a measurement, to read and to keep."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from recvec.types import F64, I32, Json


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """Means over users with their uncertainty.

    Parameters
    ----------
    method : str
        What was measured.
    protocol, task : str
        How.
    sampled : bool
        Whether test items were ranked among given negatives instead of the whole catalogue.
    metrics : mapping of str to float
        Such as ``"recall@20"``: mean over users (and seeds).
    intervals : mapping of str to (float, float)
        95 % bootstrap intervals; NaN where there is none (coverage and gini are of all lists together).
    by_seed : mapping of str to tuple of float
        The metrics of each seed.
    slices : polars.DataFrame
        Parts of people and items: slice, group, n, and some metrics.
    per_user : mapping of str to F64, shape (n_users_evaluated,)
        Values of each user, for paired comparisons, NaN where one is not defined; for ratings and clicks the sums over
        the user's rows. With folds a user has a value in each fold that asks about them.
    users : I32, shape (n_users_evaluated,)
        Rows of those users.
    counts : mapping of str to int
        Who and what was asked, left out, or unseen in training.
    n_folds : int
        Splits that were pooled.
    seconds : float
        Time of the evaluation.
    """

    method: str
    protocol: str
    task: str
    sampled: bool
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    by_seed: Mapping[str, tuple[float, ...]]
    slices: pl.DataFrame
    per_user: Mapping[str, F64]
    users: I32
    counts: Mapping[str, int]
    n_folds: int
    seconds: float

    @property
    def n_seeds(self) -> int:
        """Number of fits on each split."""
        return len(next(iter(self.by_seed.values())))

    @property
    def headline(self) -> str:
        """The metric by which rankings, ratings or clicks are judged: NDCG of the longest list, RMSE, AUC."""
        if self.task != "ranking":
            return "rmse" if self.task == "rating" else "auc"
        return max((m for m in self.metrics if m.startswith("ndcg@")), key=lambda m: int(m.partition("@")[2]))

    def taking(self, seconds: float) -> "Evaluation":
        """Return the same result with the time it took."""
        return replace(self, seconds=seconds)

    def frame(self) -> pl.DataFrame:
        """Return one row per metric: metric, value, low, high; null where there is no interval."""
        rows = [(name, value, *self.intervals[name]) for name, value in self.metrics.items()]
        return pl.DataFrame(rows, schema=["metric", "value", "low", "high"], orient="row").fill_nan(None)

    def json(self) -> dict[str, Json]:
        """Return metrics, intervals, parts and counts as JSON; what is not defined is null."""
        return {
            "method": self.method,
            "protocol": self.protocol,
            "task": self.task,
            "sampled": self.sampled,
            "n_folds": self.n_folds,
            "n_seeds": self.n_seeds,
            "metrics": {name: _number(value) for name, value in self.metrics.items()},
            "intervals": {name: [_number(end) for end in ends] for name, ends in self.intervals.items()},
            "by_seed": {name: [_number(v) for v in values] for name, values in self.by_seed.items()},
            "slices": [dict(row) for row in self.slices.iter_rows(named=True)],
            **self.counts,
            "evaluate_seconds": self.seconds,
        }

    @property
    def title(self) -> str:
        """What was measured and how, in one line."""
        kind = "ranked among sampled negatives" if self.sampled else f"task {self.task}"
        more = [f"{n} {word}" for n, word in ((self.n_folds, "folds"), (self.n_seeds, "seeds")) if n > 1]
        return ", ".join([self.method, self.protocol, kind, f"{self.counts['n_users_evaluated']:,} users", *more])

    def __str__(self) -> str:
        lines = [f"  {name:<20} {value:.4f}{_shown(self.intervals[name])}" for name, value in self.metrics.items()]
        return "\n".join([self.title, *lines])


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _shown(ends: tuple[float, float]) -> str:
    return "" if math.isnan(ends[0]) else f"  [{ends[0]:.4f}, {ends[1]:.4f}]"

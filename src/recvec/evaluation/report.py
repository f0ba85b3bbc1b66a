"""The result of a measurement, to read and to keep."""

from collections.abc import Mapping
from dataclasses import dataclass

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
        Such as ``"recall@20"``: mean over users.
    intervals : mapping of str to (float, float)
        95 % user-bootstrap intervals.
    per_user : mapping of str to F64, shape (n_users_evaluated,)
        Values of each user, for paired comparisons; for ratings the sums of errors.
    users : I32, shape (n_users_evaluated,)
        Rows of those users.
    counts : mapping of str to int
        Who and what was asked, left out, or unseen in training.
    seconds : float
        Time of the evaluation.
    """

    method: str
    protocol: str
    task: str
    sampled: bool
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    per_user: Mapping[str, F64]
    users: I32
    counts: Mapping[str, int]
    seconds: float

    def frame(self) -> pl.DataFrame:
        """Return one row per metric: metric, value, low, high."""
        rows = [(name, value, *self.intervals[name]) for name, value in self.metrics.items()]
        return pl.DataFrame(rows, schema=["metric", "value", "low", "high"], orient="row")

    def json(self) -> dict[str, Json]:
        """Return metrics, intervals and counts as JSON."""
        return {
            "method": self.method,
            "protocol": self.protocol,
            "task": self.task,
            "sampled": self.sampled,
            "metrics": dict(self.metrics),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            **self.counts,
            "evaluate_seconds": self.seconds,
        }

    def __str__(self) -> str:
        kind = "ranked among sampled negatives" if self.sampled else f"task {self.task}"
        head = f"{self.method}, {self.protocol}, {kind}, {self.counts['n_users_evaluated']:,} users"
        lines = [
            f"  {name:<18} {value:.4f}  [{self.intervals[name][0]:.4f}, {self.intervals[name][1]:.4f}]"
            for name, value in self.metrics.items()
        ]
        return "\n".join([head, *lines])

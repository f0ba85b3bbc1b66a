"""The same figures for parts of the people and of the items: who is served well, and who is not."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from recvec.data.dataset import Dataset
from recvec.evaluation.measured import Measured
from recvec.types import F64, Array

_HISTORY = (0, 5, 20)  # last length of each group but the open one
_POPULARITY = (0, 5, 20, 100)
_MOST_GROUPS = 10  # of an attribute; what is rarer is shown together
_MOST_VALUES = 10  # a number with no more values is shown value by value, others by quarters

Groups = tuple[Sequence[str], Array]
"""Names of groups, and the group of each user or pair."""


def slices(measured: Measured, data: Dataset, names: Sequence[str], by_pair: str) -> pl.DataFrame:
    """Return metrics by history length, by the popularity of the item that was asked for, and by user attributes.

    Parameters
    ----------
    measured : Measured
        Values of users and pairs.
    data : Dataset
        Attributes of users.
    names : sequence of str
        Metrics to show.
    by_pair : str
        What of a pair is averaged in the groups of items, shown under the first of `names`.

    Returns
    -------
    polars.DataFrame
        slice, group, n (users, or pairs in the groups of items), and one column per metric; groups without anyone
        are left out. For ratings the figure is the root of the mean.
    """
    parts = [_by_users("history length", _ranges(measured.history, _HISTORY), measured, names)]
    parts.append(_by_pairs(_ranges(measured.pairs.popularity, _POPULARITY), measured, names, by_pair))
    parts += [_by_users(column, groups, measured, names) for column, groups in _attributes(data, measured.users)]
    return pl.concat(parts)


def _ranges(values: Array, ends: Sequence[int]) -> Groups:
    """Group whole numbers by the ranges that end at `ends`, the last one open."""
    starts = [0, *(end + 1 for end in ends)]
    names = [str(s) if s == e else f"{s} to {e}" for s, e in zip(starts, ends, strict=False)]
    return [*names, f"{starts[-1]} or more"], np.searchsorted(ends, values)


def _attributes(data: Dataset, users: Array) -> Iterable[tuple[str, Groups]]:
    table = data.user_features
    if table is None:
        return
    for column in table.of_type("category"):
        yield column, _values(table.frame[column][users])
    for column in table.of_type("number"):
        values = table.frame[column][users]
        yield column, _values(values) if values.n_unique() <= _MOST_VALUES else _quarters(values)


def _values(values: pl.Series) -> Groups:
    known = values.drop_nulls()
    usual = known.value_counts(sort=True).head(_MOST_GROUPS)[values.name].sort().to_list()
    place = {value: n for n, value in enumerate(usual)}
    names = [f"{v:g}" if isinstance(v, float) else v for v in usual]
    groups = [len(usual) + 1 if v is None else place.get(v, len(usual)) for v in values.to_list()]
    return [*names, "all others", "unknown"], np.array(groups)


def _quarters(values: pl.Series) -> Groups:
    numbers = values.to_numpy().astype(np.float64)
    ends = np.nanquantile(numbers, [0.25, 0.5, 0.75])
    names = [f"up to {ends[0]:g}", *(f"above {a:g}, up to {b:g}" for a, b in pairwise(ends)), f"above {ends[-1]:g}"]
    return [*names, "unknown"], np.where(np.isnan(numbers), len(names), np.searchsorted(ends, numbers))


def _by_users(name: str, groups: Groups, measured: Measured, metrics: Sequence[str]) -> pl.DataFrame:
    names, group = groups
    n = np.bincount(group, minlength=len(names))
    columns = {metric: _means(group, measured.sums[metric], measured.counts[metric], len(names), metric) for metric in metrics}
    return _frame(name, names, n, columns)


def _by_pairs(groups: Groups, measured: Measured, metrics: Sequence[str], by_pair: str) -> pl.DataFrame:
    names, group = groups
    n = np.bincount(group, minlength=len(names))
    found = _means(group, measured.pairs.values[by_pair], np.ones(len(group)), len(names), metrics[0])
    return _frame("item popularity", names, n, {m: found if m == metrics[0] else np.full(len(names), np.nan) for m in metrics})


def _means(group: Array, sums: F64, counts: F64, n: int, metric: str) -> F64:
    total = np.bincount(group, counts, minlength=n)
    means = np.divide(np.bincount(group, sums, minlength=n), total, out=np.full(n, np.nan), where=total > 0)
    return np.sqrt(means) if metric == "rmse" else means


def _frame(name: str, names: Sequence[str], n: Array, columns: dict[str, F64]) -> pl.DataFrame:
    there = n > 0
    frame = pl.DataFrame({"slice": [name] * len(names), "group": list(names), "n": n.astype(np.int64), **columns})
    return frame.filter(pl.Series(there)).with_columns(pl.col(list(columns)).fill_nan(None))

"""A recommender that has met new interactions, and a report of what that has changed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from recvec.contract import Model, Runtime
from recvec.data.dataset import Value
from recvec.data.growth import Growth, grow, joined, known_pairs
from recvec.data.histories import Histories
from recvec.data.readers import Source
from recvec.data.reading import Reading
from recvec.errors import InputError, NotSupportedError
from recvec.types import F32, I32, Bool, Json

if TYPE_CHECKING:
    from recvec.retrieval.recommender import Recommender

_K = 10  # length of the lists that are compared
_SAMPLE = 1000  # users whose lists are compared


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How many vectors an update has changed, and how much.

    Parameters
    ----------
    n : int
        Users or items of the old model whose vectors are others now.
    mean, p95 : float
        Mean and 95th percentile of their change: the length of the difference over that of the longer of the two.
    """

    n: int
    mean: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class AgainstRefit:
    """An update and a full fit, asked for the same hidden items.

    Parameters
    ----------
    n_users : int
        Users of whom one new pair was hidden from both.
    updated, refitted : float
        Share of them whose hidden item is among the first 10.
    update_seconds, refit_seconds : float
        Time of each, without reading the table.
    """

    n_users: int
    updated: float
    refitted: float
    update_seconds: float
    refit_seconds: float


@dataclass(frozen=True, kw_only=True)
class UpdateReport:
    """What an update has changed.

    Parameters
    ----------
    method : str
        Of the model.
    n_rows : int
        Rows of the table.
    n_new_pairs, n_known_pairs : int
        Distinct pairs of it that the histories did not have, and that they had.
    n_new_users, n_new_items : int
        Ids that the model did not have.
    users, items : Moved
        Vectors that are others now, among the old ones.
    overlap : float or None
        Mean share of the old top 10 that is in the new top 10, each without what the user knew then; None where nobody can be asked.
    n_compared : int
        Old users of whom that is the mean.
    rungs : mapping of str to str
        ``"updated"`` or ``"fitted again"`` for each lower rung.
    seconds : float
        Time of the update of the model and the rungs, without reading the table.
    refit : AgainstRefit or None
        Quality against a full fit, where it was asked for.
    """

    method: str
    n_rows: int
    n_new_pairs: int
    n_known_pairs: int
    n_new_users: int
    n_new_items: int
    users: Moved
    items: Moved
    overlap: float | None
    n_compared: int
    rungs: Mapping[str, str]
    seconds: float
    refit: AgainstRefit | None = None

    def frame(self) -> pl.DataFrame:
        """Return one row per figure: figure, value (to six decimals)."""
        figures: dict[str, float | None] = {
            "rows": self.n_rows, "new pairs": self.n_new_pairs, "known pairs": self.n_known_pairs,
            "new users": self.n_new_users, "new items": self.n_new_items,
            "users moved": self.users.n, "change of users, mean": self.users.mean, "change of users, 95 %": self.users.p95,
            "items moved": self.items.n, "change of items, mean": self.items.mean, "change of items, 95 %": self.items.p95,
            "overlap of the top 10": self.overlap, "users compared": self.n_compared, "seconds": self.seconds,
        }  # fmt: skip
        if self.refit is not None:
            figures |= {
                "users asked for a hidden item": self.refit.n_users,
                "recall@10, updated": self.refit.updated, "recall@10, fitted again": self.refit.refitted,
                "seconds, updated": self.refit.update_seconds, "seconds, fitted again": self.refit.refit_seconds,
            }  # fmt: skip
        rows = [(name, round(float(value), 6)) for name, value in figures.items() if value is not None]
        return pl.DataFrame(rows, schema={"figure": pl.String, "value": pl.Float64}, orient="row")

    def json(self) -> dict[str, Json]:
        """Return all of it as JSON."""
        content: dict[str, Json] = {**asdict(self), "rungs": dict(self.rungs)}
        return content

    def __str__(self) -> str:
        lines = [f"  {name:<30} {value:,.4f}".rstrip("0").rstrip(".") for name, value in self.frame().iter_rows()]
        return "\n".join([f"{self.method}, updated", *lines])


def updated(
    who: "Recommender",
    table: Source,
    *,
    users: Source | Sequence[Source] | None,
    items: Source | Sequence[Source] | None,
    reading: Reading | None,
    against_refit: bool,
    seed: int,
) -> tuple["Recommender", UpdateReport]:
    """See `Recommender.update`."""
    value = who.history_value
    growth = grow(who.train, who.histories, value, table, users=users, items=items, reading=reading)
    refit = _compared(who, growth, seed) if against_refit else None
    started = time.perf_counter()
    model = _model(who.model, growth, seed, who.runtime)
    rungs, done = {}, {}
    for name, rung in who.rungs.items():
        rungs[name], done[name] = _rung(rung, growth, seed, who.runtime)
    seconds = time.perf_counter() - started
    now = type(who)(model, growth.dataset, rungs=rungs, runtime=who.runtime)
    overlap, n_compared = _overlap(who, now, seed)
    n_pairs = len(growth.dataset.with_interactions(growth.new).histories(value).items)
    n_new_pairs = len(now.histories.items) - len(who.histories.items)
    report = UpdateReport(
        method=model.method.name,
        n_rows=len(growth.new),
        n_new_pairs=n_new_pairs,
        n_known_pairs=n_pairs - n_new_pairs,
        n_new_users=now.train.n_users - who.train.n_users,
        n_new_items=now.train.n_items - who.train.n_items,
        users=_moved(who.model.user_vectors, model.user_vectors),
        items=_moved(who.model.item_vectors, model.item_vectors),
        overlap=overlap,
        n_compared=n_compared,
        rungs=done,
        seconds=seconds,
        refit=refit,
    )
    return now, report


def _model(model: Model, growth: Growth, seed: int, runtime: Runtime) -> Model:
    made: Model = model.method.update(model, growth.dataset, new=growth.new, rng=seed, runtime=runtime)
    return made


def _rung(rung: Model, growth: Growth, seed: int, runtime: Runtime) -> tuple[Model, str]:
    try:
        return _model(rung, growth, seed, runtime), "updated"
    except NotSupportedError:
        return rung.method.fit(growth.dataset, rng=seed, runtime=runtime), "fitted again"


def _moved(old: F32, new: F32) -> Moved:
    """Compare the vectors of old rows."""
    changed = np.flatnonzero((old != new[: len(old)]).any(axis=1))
    if not len(changed):
        return Moved(n=0, mean=0.0, p95=0.0)
    before, after = old[changed].astype(np.float64), new[changed].astype(np.float64)
    longer = np.maximum(np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1))
    change = np.linalg.norm(after - before, axis=1) / longer
    return Moved(n=len(changed), mean=float(change.mean()), p95=float(np.quantile(change, 0.95)))


def _overlap(old: "Recommender", new: "Recommender", seed: int) -> tuple[float | None, int]:
    """Return how much of the lists of some old users is still there, and of how many users."""
    warm = np.flatnonzero(old.histories.lengths > 0)
    some = np.random.default_rng(seed).choice(warm, min(len(warm), _SAMPLE), replace=False)
    before, after = (_lists(who.model, who.histories, some, who.runtime) for who in (old, new))
    lengths = (before >= 0).sum(axis=1)
    some_list = lengths > 0  # nobody can be told more than the whole catalogue
    if not some_list.any():
        return None, 0
    still = ((before[:, :, None] == after[:, None, :]) & (before[:, :, None] >= 0)).any(axis=2).sum(axis=1)
    return float((still[some_list] / lengths[some_list]).mean()), int(some_list.sum())


def _lists(model: Model, histories: Histories, users: I32, runtime: Runtime) -> I32:
    return model.recommend(model.queries(users), _K, exclude=histories.take(users), runtime=runtime).rows


def _compared(who: "Recommender", growth: Growth, seed: int) -> AgainstRefit:
    """Hide one new pair of each of some users from an update and from a full fit, and ask both for it."""
    value = who.history_value
    hidden = _hidden(growth, who.histories, value, seed)
    part = joined(who.histories, growth.dataset.with_interactions(growth.new.take(~hidden)), value)
    asked = growth.new.take(hidden)
    users, first = np.unique(asked.users, return_index=True)
    _model(who.model, part, seed, who.runtime)  # kernels that load now count for neither
    started = time.perf_counter()
    one = _model(who.model, part, seed, who.runtime)
    between = time.perf_counter()
    other = who.model.method.fit(part.dataset, rng=seed, runtime=who.runtime)
    seconds = (between - started, time.perf_counter() - between)
    known, wanted = part.dataset.histories(value), asked.items[first, None]
    found = [float((_lists(model, known, users, who.runtime) == wanted).any(axis=1).mean()) for model in (one, other)]
    return AgainstRefit(n_users=len(users), updated=found[0], refitted=found[1], update_seconds=seconds[0], refit_seconds=seconds[1])


def _hidden(growth: Growth, old: Histories, value: Value, seed: int) -> Bool:
    """Mark the rows of one new pair of each of some users, of whom something else is known.

    Raises
    ------
    InputError
        Where there is no such user.
    """
    dataset, new = growth
    usable = ~known_pairs(old, new) & (dataset.histories(value).lengths[new.users] > 1)
    if value == "weight" and new.label is not None:
        usable &= new.label > 0
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(usable))
    if not len(rows):
        raise InputError(
            "against-refit hides one new pair of each user, but no user has a new pair and anything else to be known by; leave it out"
        )
    _, first = np.unique(new.users[rows], return_index=True)
    chosen = rng.permutation(rows[first])[:_SAMPLE]
    pairs = new.users.astype(np.int64) * dataset.n_items + new.items
    return np.isin(pairs, pairs[chosen])

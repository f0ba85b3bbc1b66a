"""Update of ALS with 1 % new interactions against a full fit: quality, time, and what other plans would have given.

MovieLens-1M with the test part and the negatives of the NCF paper, the published setting of `als`, 64, 128 and 192
dimensions. One row in a hundred of the training part comes later, chosen in six ways (`VARIANTS`). For each, the model of
the other rows is updated and compared with a fit of all rows with the same seed.

Quality: HR@10 and NDCG@10, all users and those with new rows, relative to the full fit; means over seeds and the value of
each seed. Overlap: share of the top 10 by folding in the history that is in the top 10 by the stored vector. Time:
medians of interleaved repetitions; the update counts the merging of the histories and `Method.update`, the full fit
`Method.fit` on the merged histories, both without reading tables. `plans` are the other ways that were tried, built here
from the same kernel, at 64 dimensions. Usage: python benchmarks/accuracy/update.py [--dim 64] [--variant new_users]; what is
left out stays as the file has it. Data folder: RECVEC_DATA. Takes about ten minutes; times want an idle machine.
Writes benchmarks/accuracy/results/update.json.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

import recvec as rv
from recvec.cli.output import environment
from recvec.contract import DotModel, Runtime, lengthened
from recvec.data.dataset import Dataset
from recvec.data.growth import Growth, joined
from recvec.data.interactions import Interactions
from recvec.data.vocabulary import Vocabulary
from recvec.kernels.least_squares import WeightedRows, gramian, half_step

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RECVEC_DATA", ROOT.parent / "shared" / "data")) / "ncf-movielens-1m"
SEEDS = {64: 4, 128: 2, 192: 2}
REPEATED = 9
EXECUTOR = Runtime().executor

Pair = tuple[np.ndarray, np.ndarray]


def method(d: int) -> rv.ALS:
    return rv.ALS(embedding_dim=d, reg=0.007, unobserved_weight=0.3, epochs=12)


# ---------------------------------------------------------------- which rows come later


def _of_some(rng: np.random.Generator, side: np.ndarray, share: float, target: int, order: np.ndarray | None = None) -> np.ndarray:
    """Mark a share of the rows of one user or item after the other, until there are enough."""
    later = np.zeros(len(side), bool)
    for one in rng.permutation(np.unique(side)) if order is None else order:
        rows = np.flatnonzero(side == one)
        later[rng.permutation(rows)[: int(np.ceil(share * len(rows)))]] = True
        if later.sum() >= target:
            return later
    return later


def random_rows(rng: np.random.Generator, users: np.ndarray, items: np.ndarray, target: int) -> np.ndarray:
    """Choose any rows: nearly two thirds of the users, with most of all interactions, are touched."""
    later = np.zeros(len(users), bool)
    later[rng.permutation(len(users))[:target]] = True
    return later


def half_of_few_users(rng: np.random.Generator, users: np.ndarray, items: np.ndarray, target: int) -> np.ndarray:
    """Choose half of the rows of about a hundred users."""
    return _of_some(rng, users, 0.5, target)


def fifth_of_heavy_users(rng: np.random.Generator, users: np.ndarray, items: np.ndarray, target: int) -> np.ndarray:
    """Choose a fifth of the rows of the most active users."""
    return _of_some(rng, users, 0.2, target, np.argsort(-np.bincount(users)))


def new_users(rng: np.random.Generator, users: np.ndarray, items: np.ndarray, target: int) -> np.ndarray:
    """Choose all rows of about sixty users."""
    return _of_some(rng, users, 1.0, target)


def new_items(rng: np.random.Generator, users: np.ndarray, items: np.ndarray, target: int) -> np.ndarray:
    """Choose all rows of about forty items."""
    return _of_some(rng, items, 1.0, target)


def new_users_and_items(rng: np.random.Generator, users: np.ndarray, items: np.ndarray, target: int) -> np.ndarray:
    """Choose half of each."""
    return new_users(rng, users, items, target // 2) | new_items(rng, users, items, target // 2)


VARIANTS = (random_rows, half_of_few_users, fifth_of_heavy_users, new_users, new_items, new_users_and_items)


def cut(table: pl.DataFrame, later: np.ndarray) -> tuple[Dataset, Dataset, Interactions]:
    """Return the data before, those after (old rows first), and the new rows, in row numbers of after."""
    vocabularies, sizes = [], []
    for side in ("user", "item"):
        column = table[f"{side}_id"]
        first = column.filter(pl.Series(~later)).unique().sort()
        both = Vocabulary(first, side).extended(column)
        vocabularies.append(both)
        sizes.append(len(first))
    rows = pl.concat([table.filter(pl.Series(~later)), table.filter(pl.Series(later))])
    users, items = (v.lookup(rows[f"{v.side}_id"]) for v in vocabularies)
    after = Dataset(interactions=Interactions(users=users, items=items), users=vocabularies[0], items=vocabularies[1])
    n = int((~later).sum())
    heads = {f"{v.side}s": Vocabulary(v.ids.head(size), v.side) for v, size in zip(vocabularies, sizes, strict=True)}
    before = Dataset(interactions=after.interactions.take(np.arange(n)), **heads)
    return before, after, after.interactions.take(np.arange(n, len(rows)))


# ---------------------------------------------------------------- other plans


def solve(m: rv.ALS, start: np.ndarray, entries: sp.csr_array, fixed: np.ndarray, steps: int) -> np.ndarray:
    """Solve rows by warm conjugate gradient, or exactly for 0 steps."""
    reg = m.reg * (np.diff(entries.indptr) + m.unobserved_weight * len(fixed))
    rows = WeightedRows(entries.indptr, entries.indices, entries.data, entries.data)
    gram = np.float32(m.unobserved_weight) * gramian(fixed, executor=EXECUTOR)
    solver = "cg" if steps else "cholesky"
    return half_step(start, rows, fixed, gram, reg.astype(np.float32), solver=solver, cg_steps=max(1, steps), executor=EXECUTOR)


def plan(m: rv.ALS, old: DotModel, growth: Growth, *, items_too: int = 0, place_items: bool = True, users: int = 1) -> Pair:
    """Solve new items if wanted, touched items by so many steps, then touched users by so many (0: exactly)."""
    by_user = growth.dataset.matrix()
    fresh = growth.dataset.with_interactions(growth.new).matrix()
    p, q = lengthened(old.user_vectors, by_user.shape[0]), lengthened(old.item_vectors, by_user.shape[1])
    n_users, n_items = old.n_users, old.n_items
    if len(q) > n_items and place_items:
        p[n_users:] = solve(m, p[n_users:], by_user[n_users:], q, 0)
        q[n_items:] = solve(m, q[n_items:], sp.csr_array(fresh[:, n_items:].T.tocsr()), p, 0)
    if items_too:
        touched = np.unique(fresh.indices)
        q[touched] = solve(m, q[touched], sp.csr_array(by_user.T.tocsr())[touched], p, items_too)
    people = np.flatnonzero(np.diff(fresh.indptr))
    p[people] = solve(m, p[people], by_user[people], q, users)
    return p, q


PLANS: dict[str, Callable[[rv.ALS, DotModel, Growth], Pair]] = {
    "nothing": lambda m, old, g: (lengthened(old.user_vectors, g.dataset.n_users), lengthened(old.item_vectors, g.dataset.n_items)),
    "touched users, no new items": lambda m, old, g: plan(m, old, g, place_items=False),
    "new items, touched users by 2 steps": lambda m, old, g: plan(m, old, g, users=2),
    "new items, touched users by 3 steps": lambda m, old, g: plan(m, old, g, users=3),
    "new items, touched users exactly": lambda m, old, g: plan(m, old, g, users=0),
    "new items, touched items by 1 step, touched users": lambda m, old, g: plan(m, old, g, items_too=1),
    "new items, touched items by 2 steps, touched users": lambda m, old, g: plan(m, old, g, items_too=2),
}


# ---------------------------------------------------------------- measuring


class Case:
    """One choice of later rows and one seed: the model before, and the full fit to compare with."""

    def __init__(self, variant: Callable[..., np.ndarray], d: int, table: pl.DataFrame, seed: int) -> None:
        self.method, rng = method(d), np.random.default_rng(seed)
        later = variant(rng, table["user_id"].to_numpy(), table["item_id"].to_numpy(), len(table) // 100)
        self.before, after, self.new = cut(table, later)
        self.split = rv.split(after, test=DATA / "test.parquet", negatives=DATA / "test_negatives.parquet")
        self.histories, self.added = self.before.histories(), self.split.train.with_interactions(self.new)
        self.growth = self.grown()
        self.old, self.full = self.method.fit(self.before, rng=seed), self.method.fit(self.split.train, rng=seed)
        self.touched = np.unique(self.new.users)
        self.reference = self.quality(self.full)

    def grown(self) -> Growth:
        """Return the merged dataset and the new rows."""
        return joined(self.histories, self.added, "weight")

    def update(self) -> DotModel:
        """Merge the histories and update."""
        growth = self.grown()
        return self.method.update(self.old, growth.dataset, new=growth.new)

    def refit(self) -> DotModel:
        """Fit all rows, already merged."""
        return self.method.fit(self.growth.dataset)

    def planned(self, name: str) -> DotModel:
        """Merge the histories and follow another plan."""
        users, items = PLANS[name](self.method, self.old, self.grown())
        return DotModel(method=self.method, user_vectors=users, item_vectors=items, fold_in=self.full.fold_in)

    def quality(self, model: DotModel) -> np.ndarray:
        """Return HR@10 and NDCG@10 of all users, and of those with new rows."""
        result = rv.evaluate(model, self.split)
        mine = np.isin(result.users, self.touched)
        values = [result.per_user[name] for name in ("hit_rate@10", "ndcg@10")]
        return np.array([*(v.mean() for v in values), *(v[mine].mean() for v in values)])

    def loss(self, model: DotModel) -> np.ndarray:
        """Return `quality` relative to the full fit."""
        return self.quality(model) / self.reference - 1

    def about(self) -> dict[str, object]:
        """Return sizes, the reference, and how far folding in agrees with what is stored after the update."""
        model = self.update()
        folded = model.queries(histories=self.growth.dataset.histories())
        rest = np.setdiff1d(np.arange(self.before.n_users), self.touched)
        return {
            "full fit": {"HR@10": round(float(self.reference[0]), 4), "NDCG@10": round(float(self.reference[1]), 4)},
            "n_new_rows": len(self.new),
            "n_touched_users": len(self.touched),
            "n_new_users": model.n_users - self.before.n_users,
            "n_new_items": model.n_items - self.before.n_items,
            "overlap of fold-in, touched users": round(overlap(model, folded, self.touched), 4),
            "overlap of fold-in, other users": round(overlap(model, folded, rest), 4),
        }


def overlap(model: DotModel, folded: np.ndarray, users: np.ndarray) -> float:
    """Return the share of the top 10 by folding in that is in the top 10 by the stored vectors."""
    lists = [model.recommend(v[users], 10).rows for v in (folded, model.user_vectors)]
    return float((lists[0][:, :, None] == lists[1][:, None, :]).any(axis=2).mean())


def timed(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the seconds of each call, in turns, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for n in range(REPEATED + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if n:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def percent(values: list[np.ndarray]) -> dict[str, object]:
    """Return relative differences in percent: means over seeds, and each seed."""
    names = ("HR@10", "NDCG@10", "HR@10 of touched users", "NDCG@10 of touched users")
    columns = np.round(100 * np.array(values), 2).T.tolist()
    return {name: {"mean": round(statistics.mean(v), 2), "seeds": v} for name, v in zip(names, columns, strict=True)}


def measured(variant: Callable[..., np.ndarray], d: int, table: pl.DataFrame) -> dict[str, object]:
    """Measure one variant at one width."""
    plans = list(PLANS) if d == 64 else []
    losses: dict[str, list[np.ndarray]] = {name: [] for name in ("update", *plans)}
    for seed in range(SEEDS[d]):
        case = Case(variant, d, table, seed)
        losses["update"].append(case.loss(case.update()))
        for name in plans:
            losses[name].append(case.loss(case.planned(name)))
    seconds = timed({"full": case.refit, "update": case.update, **{name: partial(case.planned, name) for name in plans}})
    share = {name: 100 * statistics.median(s) / statistics.median(seconds["full"]) for name, s in seconds.items()}
    pairs = [100 * u / f for u, f in zip(seconds["update"], seconds["full"], strict=True)]
    row = {
        "variant": variant.__name__,
        "embedding_dim": d,
        "seeds": SEEDS[d],
        **case.about(),
        "full_s": round(statistics.median(seconds["full"]), 4),
        "update_s": round(statistics.median(seconds["update"]), 4),
        "share of its time, %": round(share["update"], 2),
        "share of each pair of runs, %": [round(p, 2) for p in sorted(pairs)],
        "update against the full fit, %": percent(losses["update"]),
    }
    print(json.dumps(row), flush=True)
    if plans:
        row["plans"] = {name: {"share of its time, %": round(share[name], 2), **percent(losses[name])} for name in plans}
    return row


def main() -> None:
    """Measure what is asked for, and write it into the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, choices=SEEDS, action="append", help="width (default: all)")
    parser.add_argument("--variant", choices=[v.__name__ for v in VARIANTS], action="append", help="choice of later rows (default: all)")
    given = parser.parse_args()
    out = ROOT / "benchmarks/accuracy/results/update.json"
    rows = {(row["variant"], row["embedding_dim"]): row for row in json.loads(out.read_text())["rows"]} if out.exists() else {}
    table = pl.read_parquet(DATA / "train.parquet").select("user_id", "item_id")
    for d in given.dim or SEEDS:
        for variant in (v for v in VARIANTS if v.__name__ in (given.variant or [v.__name__])):
            rows[variant.__name__, d] = measured(variant, d, table)
    ordered = [rows[v.__name__, d] for d in SEEDS for v in VARIANTS if (v.__name__, d) in rows]
    out.write_text(json.dumps({"version": rv.__version__, "environment": environment(), "rows": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Choose `rp3beta` on validation parts of training tables; test parts are never read.

For Gowalla in four ways. ``random``: 10 % of the rows of its training part, three draws. ``last``: the last row of each
of its users in file order. ``core``: as the published split was made, once more inside its training part: users and
items with at least ten rows each, then 20 % of each user's rows, three draws. ``carried``: 10 % of the rows of the
training part of ultragcn-amazon-cds, three draws. And for Yelp2018 in the first of them: ``yelp2018``. Each way looks at
the same random settings and at some around its best one, by ndcg@20 on its first draw; the ten best are scored on its
other draws, and the best mean is chosen. What the choices give on test parts is measured by
benchmarks/accuracy/run.py (rp3beta-validated).
Usage: python benchmarks/tuning/rp3beta_gowalla.py [--out FILE]; ways that the file already has are not searched again;
data folder: RECVEC_DATA. Takes about half an hour on two free cores.
"""

import argparse
import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

import recvec as rv
from recvec.contract import ItemModel, Runtime
from recvec.models.rp3beta import walks

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RECVEC_DATA", ROOT.parent / "shared" / "data"))
WAYS = {
    "random": ("lightgcn-gowalla", "random", 3),
    "last": ("lightgcn-gowalla", "leave-last-out", 1),
    "core": ("lightgcn-gowalla", "core", 3),
    "carried": ("ultragcn-amazon-cds", "random", 3),
    "yelp2018": ("lightgcn-yelp2018", "random", 3),
}
CORE_SHARE = 0.2
N_GLOBAL, N_LOCAL, N_FINAL = 40, 20, 10

Row = dict[str, object]


def drawn(rng: np.random.Generator) -> rv.RP3Beta:
    """Draw a setting from the whole space."""
    return rv.RP3Beta(
        alpha=round(float(rng.uniform(0.2, 1.4)), 3),
        beta=round(float(rng.uniform(0.0, 0.8)), 3),
        n_neighbours=int(np.exp(rng.uniform(np.log(50), np.log(1000)))),
        normalize=bool(rng.random() < 0.7),
    )


def near(best: rv.RP3Beta, rng: np.random.Generator) -> rv.RP3Beta:
    """Draw a setting around another."""
    return replace(
        best,
        alpha=round(float(np.clip(best.alpha + rng.normal(0, 0.1), 0.1, 2.0)), 3),
        beta=round(float(np.clip(best.beta + rng.normal(0, 0.08), 0.0, 1.0)), 3),
        n_neighbours=int(np.clip(best.n_neighbours * np.exp(rng.normal(0, 0.3)), 20, 2000)),
    )


@cache
def cut(data: str, protocol: str, seed: int) -> rv.Split:
    """Cut the training part of a data set."""
    if protocol != "core":
        return rv.split(rv.read(DATA / data / "train.parquet"), protocol, seed=seed)
    rows = core(pl.read_parquet(DATA / data / "train.parquet"), 10).sample(fraction=1, shuffle=True, seed=seed)
    held_out = rows.select(pl.int_range(pl.len()).over("user_id") < CORE_SHARE * pl.len().over("user_id")).to_series()
    return rv.split(rv.read(rows.filter(~held_out)), test=rows.filter(held_out))


def core(rows: pl.DataFrame, least: int) -> pl.DataFrame:
    """Leave out users and items with few rows until none is left."""
    while True:
        kept = rows.filter((pl.len().over("user_id") >= least) & (pl.len().over("item_id") >= least))
        if len(kept) == len(rows):
            return rows
        rows = kept


def score(method: rv.RP3Beta, split: rv.Split) -> float:
    """Return ndcg@20; the vectors are left out, lists do not need them."""
    histories = split.train.histories()
    users, items = (np.zeros((n, 1), np.float32) for n in (split.train.n_users, split.train.n_items))
    weights = walks(method, histories.matrix(), Runtime().executor)
    model = ItemModel(method=method, user_vectors=users, item_vectors=items, trained=histories, weights=weights)
    return rv.evaluate(model, split, k=20).metrics["ndcg@20"]


def searched(way: str, log: list[Row]) -> rv.RP3Beta:
    """Search in one way; every look is logged."""
    data, protocol, n_draws = WAYS[way]
    seen: dict[rv.RP3Beta, list[float]] = {}

    def look(method: rv.RP3Beta, draw: int) -> None:
        seen.setdefault(method, []).append(score(method, cut(data, protocol, draw)))
        settings = {name: getattr(method, name) for name in ("alpha", "beta", "n_neighbours", "normalize")}
        log.append({"way": way, "draw": draw, **settings, "ndcg@20": round(seen[method][-1], 5)})
        print(log[-1], flush=True)

    rng = np.random.default_rng(0)
    for _ in range(N_GLOBAL):
        look(drawn(rng), 0)
    for _ in range(N_LOCAL):
        look(near(max(seen, key=lambda m: seen[m][0]), rng), 0)
    finalists = sorted(seen, key=lambda m: -seen[m][0])[:N_FINAL]
    for draw in range(1, n_draws):
        for method in finalists:
            look(method, draw)
    return max(finalists, key=lambda m: float(np.mean(seen[m])))


def main() -> None:
    """Search in every way and write the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/tuning/rp3beta_gowalla.json")
    out = parser.parse_args().out
    before = json.loads(out.read_text()) if out.exists() else {"chosen": {}, "log": []}
    chosen, log = before["chosen"], before["log"]
    for way in WAYS:
        if way in chosen:
            continue
        best = searched(way, log)
        chosen[way] = {name: getattr(best, name) for name in ("alpha", "beta", "n_neighbours", "normalize")}
        print(way, chosen[way], flush=True)
        out.write_text(json.dumps({"chosen": chosen, "log": log}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Choose the defaults of `ease`, `rp3beta` and `item-knn`: one grid each, several data sets, validation parts only.

As tuning/als_defaults.py: the training part of each data set is cut once more (`random`, 10 %), every setting is fitted
on the rest and scored by ndcg@20 on the cut. The default is the setting whose score, relative to the best of its data
set, is highest on average. `ease` takes its `reg` as a multiple of the popularity that its docstring names, and leaves
out the one data set that would take it minutes. A setting that the log already holds is not fitted again.
Usage: python benchmarks/tuning/item_model_defaults.py [--out FILE]; data folder: RECVEC_DATA. Takes about half an hour.
"""

import argparse
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

import recvec as rv
from recvec.contract import ItemModel, Runtime
from recvec.models import ease
from recvec.models.item_knn import similarities
from recvec.models.rp3beta import walks

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RECVEC_DATA", ROOT.parent / "shared" / "data"))
SETS = ("ultragcn-amazon-cds", "ncf-movielens-1m", "deepcf-lastfm", "lastfm-2k", "sample")
GRIDS: dict[str, dict[str, tuple[object, ...]]] = {
    "ease": {"balance": (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)},
    "rp3beta": {
        "alpha": (0.4, 0.6, 0.8, 1.0), "beta": (0.0, 0.2, 0.4, 0.6), "n_neighbours": (50, 200, 500), "normalize": (True, False),
    },
    "item-knn": {"n_neighbours": (20, 50, 100, 200), "alpha": (0.5, 0.6, 0.7, 0.8), "shrink": (0.0, 10.0, 50.0)},
}  # fmt: skip

Weights = np.ndarray | sp.csr_array


def training_part(name: str) -> rv.Dataset:
    """Read what a method may see of a data set."""
    if name == "sample":
        return rv.split(rv.sample(seed=1)).train
    if name == "lastfm-2k":
        return rv.read(pl.read_parquet(DATA / name / "user_artists.parquet").drop("weight"))
    return rv.read(DATA / name / "train.parquet")


def regression(balance: float) -> Callable[[sp.csr_array], Weights]:
    """Return `ease` with a multiple of its measure of popularity."""
    return lambda by_user: ease.solve(by_user, balance / ease.BALANCE * ease.default_reg(by_user), 0, Runtime().executor)


METHODS: dict[str, Callable[..., Callable[[sp.csr_array], Weights]]] = {
    "ease": regression,
    "rp3beta": lambda **s: lambda by_user: walks(rv.RP3Beta(**s), by_user, Runtime().executor),
    "item-knn": lambda **s: lambda by_user: similarities(rv.ItemKNN(**s), by_user, Runtime().executor),
}


def score(weigh: Callable[[sp.csr_array], Weights], cut: rv.Split) -> float:
    """Return ndcg@20; the vectors are left out, lists do not need them."""
    histories = cut.train.histories()
    users, items = (np.zeros((n, 1), np.float32) for n in (cut.train.n_users, cut.train.n_items))
    weights = weigh(histories.matrix())
    model = ItemModel(method=rv.ItemKNN(), user_vectors=users, item_vectors=items, trained=histories, weights=weights)
    return rv.evaluate(model, cut, k=20).metrics["ndcg@20"]


def means(log: list[dict[str, object]], names: list[str]) -> list[dict[str, object]]:
    """Return each setting with the mean and the worst of its relative scores, the best first."""
    best = {name: max(float(row["ndcg@20"]) for row in log if row["data"] == name) for name in SETS if any(r["data"] == name for r in log)}
    grouped: dict[tuple[object, ...], list[float]] = {}
    for row in log:
        grouped.setdefault(tuple(row[name] for name in names), []).append(float(row["ndcg@20"]) / best[str(row["data"])])
    table = [
        {**dict(zip(names, setting, strict=True)), "relative": round(float(np.mean(scores)), 4), "worst": round(min(scores), 4)}
        for setting, scores in grouped.items()
    ]
    return sorted(table, key=lambda row: -float(row["relative"]))


def main() -> None:
    """Score the grids and write the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/tuning/item_model_defaults.json")
    out = parser.parse_args().out
    cuts = {name: rv.split(training_part(name), "random", seed=0) for name in SETS}
    result: dict[str, dict[str, list[dict[str, object]]]] = json.loads(out.read_text()) if out.exists() else {}
    for method, grid in GRIDS.items():
        log = result.setdefault(method, {"means": [], "log": []})["log"]
        for name in SETS[1:] if method == "ease" else SETS:
            for values in itertools.product(*grid.values()):
                setting = dict(zip(grid, values, strict=True))
                if any(row | {"data": name, **setting} == row for row in log):
                    continue
                log.append({"data": name, **setting, "ndcg@20": round(score(METHODS[method](**setting), cuts[name]), 5)})
                print(method, log[-1], flush=True)
            result[method] = {"means": means(log, list(grid)), "log": log}
            out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Choose the defaults of `als`: one grid, several data sets, validation parts of the training tables only.

For each data set the training part is cut once more (`random`, 10 %), every setting is fitted on the rest and scored by
ndcg@20 on the cut; the test parts are never read. `balance` is the
weight of all pairs together over that of the observed ones: a fixed weight per pair that is right for a dense
table is ruinous for a sparse one. The default is the setting whose score, relative to the best of its
data set, is highest on average. Usage: python benchmarks/tuning/als_defaults.py [--out FILE]; data folder: RECVEC_DATA.
"""

import argparse
import itertools
import json
import os
from pathlib import Path

import polars as pl

import recvec as rv

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RECVEC_DATA", ROOT.parent / "shared" / "data"))
SETS = ("ultragcn-amazon-cds", "ncf-movielens-1m", "deepcf-lastfm", "lastfm-2k", "sample")
GRID = {"reg": (0.003, 0.006, 0.012, 0.025, 0.05), "balance": (5.0, 10.0, 20.0, 40.0)}


def training_part(name: str) -> rv.Dataset:
    """Read what a method may see of a data set."""
    if name == "sample":
        return rv.split(rv.sample(seed=1)).train
    if name == "lastfm-2k":
        return rv.read(pl.read_parquet(DATA / name / "user_artists.parquet").drop("weight"))
    return rv.read(DATA / name / "train.parquet")


def density(data: rv.Dataset) -> float:
    """Return the share of user-item pairs that were observed."""
    return data.matrix().nnz / (data.n_users * data.n_items)


def main() -> None:
    """Score the grid and write the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/tuning/als_defaults.json")
    out = parser.parse_args().out
    log = []
    for name in SETS:
        cut = rv.split(training_part(name), "random", seed=0)
        for values in itertools.product(*GRID.values()):
            setting = dict(zip(GRID, values, strict=True))
            weight = setting["balance"] * density(cut.train)
            model = rv.ALS(embedding_dim=64, reg=setting["reg"], unobserved_weight=weight).fit(cut.train)
            score = rv.evaluate(model, cut, k=20).metrics["ndcg@20"]
            log.append({"data": name, **setting, "ndcg@20": round(score, 5)})
            print(log[-1], flush=True)
    best = {name: max(row["ndcg@20"] for row in log if row["data"] == name) for name in SETS}
    means = []
    for values in itertools.product(*GRID.values()):
        setting = dict(zip(GRID, values, strict=True))
        scores = [r["ndcg@20"] / best[r["data"]] for r in log if all(r[p] == v for p, v in setting.items())]
        means.append({**setting, "relative": round(sum(scores) / len(scores), 4), "worst": round(min(scores), 4)})
    means.sort(key=lambda row: -row["relative"])
    out.write_text(json.dumps({"means": means, "log": log}, indent=1) + "\n")
    for row in means[:5]:
        print(row)


if __name__ == "__main__":
    main()

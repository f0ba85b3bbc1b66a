"""Accuracy of the first methods on real data, next to the figures they have to reach.

Usage: python benchmarks/accuracy/first_light.py; data folder: RECVEC_DATA. Settings are fixed in this file and were
not chosen here: those of `als` on ML-1M came with the figure to reach, those of `svd` are its defaults at 256 dimensions.
Writes benchmarks/accuracy/results/first_light.json. Takes a minute and a half.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
import polars as pl

import recvec as rv
from recvec.cli.output import environment
from recvec.contract import Method

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RECVEC_DATA", ROOT.parent / "shared" / "data"))


def given(name: str, *, negatives: bool = False) -> rv.Split:
    """Return a data set with its own test part."""
    folder = DATA / name
    listed = folder / "test_negatives.parquet" if negatives else None
    return rv.split(rv.read(folder / "train.parquet"), test=folder / "test.parquet", negatives=listed)


def measured(data: str, method: Method, split: rv.Split, k: int, names: tuple[str, ...], seeds: int = 1) -> dict[str, object]:
    """Fit and evaluate with some seeds; return means over seeds, the interval of the first, and times."""
    started = time.perf_counter()
    results = [rv.evaluate(method.fit(split.train, rng=seed), split, k=k) for seed in range(seeds)]
    seconds = (time.perf_counter() - started) / seeds
    row: dict[str, object] = {"data": data, "method": method.name, "hyperparameters": method.recipe, "seeds": seeds}
    for name in names:
        row[name] = round(float(np.mean([r.metrics[name] for r in results])), 5)
        row[f"{name} interval"] = [round(end, 5) for end in results[0].intervals[name]]
    row["seconds"] = round(seconds, 2)
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measure everything and write the file."""
    ncf = given("ncf-movielens-1m", negatives=True)
    sampled, full = ("hit_rate@10", "ndcg@10"), ("recall@20", "ndcg@20")
    published = rv.ALS(embedding_dim=64, reg=0.007, unobserved_weight=0.3, epochs=12)
    rows = [
        measured("ncf-movielens-1m", rv.Popularity(), ncf, 10, sampled),
        measured("ncf-movielens-1m", published, ncf, 10, sampled, seeds=3),
        measured("ncf-movielens-1m", rv.ALS(), ncf, 10, sampled, seeds=3),
    ]
    for name in ("lightgcn-gowalla", "lightgcn-yelp2018"):
        split = given(name)
        rows += [
            measured(name, rv.Popularity(), split, 20, full),
            measured(name, rv.SVD(embedding_dim=256), split, 20, full, seeds=3),
            measured(name, rv.ALS(), split, 20, full, seeds=3),
        ]
    table = pl.read_parquet(DATA / "movielens-100k" / "ratings.parquet")
    errors = []
    for number in range(1, 6):
        held_out = pl.col(f"in_u{number}_test")
        split = rv.split(rv.read(table.filter(~held_out)), test=table.filter(held_out))
        errors.append(round(rv.evaluate(rv.SVD(task="rating").fit(split.train), split).metrics["rmse"], 5))
    rows.append(
        {"data": "movielens-100k u1..u5", "method": "svd", "task": "rating", "rmse of each": errors, "rmse": round(np.mean(errors), 5)}
    )
    print(rows[-1])
    out = ROOT / "benchmarks/accuracy/results/first_light.json"
    out.write_text(json.dumps({"version": rv.__version__, "environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

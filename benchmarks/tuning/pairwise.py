"""Settings of bpr and warp for a data set, by a climb on a validation part of its training table; test parts are never read.

::

    python benchmarks/tuning/pairwise.py lightgcn-gowalla bpr --steps 20

One tenth of the training rows is held out at random. The climb begins at the defaults, or at the best of the log that is
there already; each step changes some of the settings at random, and is kept where ndcg@20 of 5,000 users is better;
``--set ... --steps 1`` adds a point chosen by hand. Numbers of epochs are fixed (`--epochs`), because more are better and
only cost time. The log keeps every step.
Data: the folder that RECVEC_DATA names. Results: benchmarks/tuning/<method>_<data>.json.
"""

import argparse
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import recvec as rv
from recvec.contract import DotModel, Runtime, Threads
from recvec.kernels.topk import top_k

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
N_USERS = 5000
FACTORS = {"learning_rate": 0.5, "reg_user": 0.7, "reg_positive": 0.9, "reg_negative": 0.7, "mean_rank": 0.5, "max_draws": 0.5}

Row = dict[str, Any]


def main() -> None:
    """Climb, writing the log after every step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("method", choices=("bpr", "warp"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--set", action="append", default=[], help="a setting to begin with, name=value")
    given = parser.parse_args()
    out = HERE / f"{given.method}_{given.data.replace('-', '_')}.json"
    log: list[Row] = json.loads(out.read_text())["log"] if out.exists() else []
    split = rv.split(rv.read(pl.read_parquet(DATA / given.data / "train.parquet")), "random", seed=0)
    begin = rv.method(given.method, epochs=given.epochs, settings=dict(pair.split("=", 1) for pair in given.set))
    rng = np.random.default_rng(len(log))
    for step in range(given.steps):
        chosen = begin if step == 0 and (given.set or not log) else near(best(log, begin), rng)
        row = {"settings": asdict(chosen), **score(chosen.fit(split.train, rng=0, runtime=Runtime(threads=given.threads)), split)}
        log.append(row)
        out.write_text(json.dumps({"data": given.data, "split": "random", "log": log}, indent=1) + "\n")
        print(row, flush=True)


def best(log: list[Row], begin: Any) -> Any:
    """Return the best settings with that number of epochs."""
    rows = [row for row in log if row["settings"]["epochs"] == begin.epochs] or log
    top = max(rows, key=lambda row: row["ndcg@20"])
    return replace(begin, **{**top["settings"], "epochs": begin.epochs})


def near(method: Any, rng: np.random.Generator) -> Any:
    """Return settings with some of the numbers multiplied by a random factor."""
    settings = asdict(method)
    for name, spread in FACTORS.items():
        if name in settings and rng.random() < 0.5:
            value = settings[name] * float(np.exp(rng.normal(0, spread)))
            settings[name] = max(1, round(value)) if name == "max_draws" else float(f"{value:.3g}")
    return type(method)(**settings)


def score(model: DotModel, split: rv.Split) -> dict[str, float]:
    """Return recall@20 and ndcg@20 of some users of the held-out part."""
    train, test = split.train.matrix(), split.train.with_interactions(split.test).matrix()
    people = np.random.default_rng(1).permutation(np.flatnonzero(np.diff(test.indptr)))[:N_USERS]
    known, wanted = train[people], test[people]
    exclude = (known.indptr.astype(np.int64), known.indices)
    lists, _ = top_k(model.user_vectors[people], model.item_vectors, 20, exclude=exclude, executor=Threads())
    held = np.repeat(np.arange(len(people)), np.diff(wanted.indptr)) * np.int64(train.shape[1]) + wanted.indices
    hits = np.isin(np.arange(len(people))[:, None] * np.int64(train.shape[1]) + lists, held)
    discount, n = 1 / np.log2(np.arange(2, 22)), np.diff(wanted.indptr)
    ideal = np.cumsum(discount)[np.minimum(n, 20) - 1]
    return {"recall@20": round(float((hits.sum(axis=1) / n).mean()), 5), "ndcg@20": round(float((hits @ discount / ideal).mean()), 5)}


if __name__ == "__main__":
    main()

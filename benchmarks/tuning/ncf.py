"""Settings of the networks of pairs for MovieLens-1M, on a validation part of its training table; the test part is never read.

::

    python benchmarks/tuning/ncf.py gmf --set reg=0.01 --set epochs=20

Held out is one random row of each user, judged among 99 items that the user has not met, drawn once; each run is one point that
was chosen by hand, and the log keeps every one, with the mean over the last epochs too, so that no point wins by the moment it stops.
``--users .25`` takes a quarter of the users (conv-ncf). Data: the folder that RECVEC_DATA names. Results: tuning/ncf.json.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import recvec as rv
from recvec.contract import Model, Runtime
from recvec.data.dataset import Dataset
from recvec.kernels.negatives import draw_unmet
from recvec.types import F32, I32

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
OUT = HERE / "ncf.json"


def main() -> None:
    """Fit once, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method")
    parser.add_argument("--set", action="append", default=[], help="a setting, name=value")
    parser.add_argument("--users", type=float, default=1.0, help="share of the users")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in given.set)
    method = rv.method(given.method, settings=settings)
    train, users, candidates = cut(given.users)
    begin = time.perf_counter()
    model = method.fit(train, rng=given.seed, runtime=Runtime(threads=given.threads), on_epoch=lambda e, v: print(e, v, flush=True))
    row = {"method": given.method, "settings": settings, "users": given.users, "seed": given.seed, **judged(model, users, candidates)}
    row |= {"folded_in": judged(model, users, candidates, train), "fit_seconds_beside_other_work": round(time.perf_counter() - begin, 1)}
    log: list[dict[str, Any]] = json.loads(OUT.read_text())["log"] if OUT.exists() else []
    OUT.write_text(json.dumps({"data": "ncf-movielens-1m", "log": [*log, row]}, indent=1) + "\n")
    print(row, flush=True)


def cut(share: float) -> tuple[Dataset, I32, I32]:
    """Return what is learned from, the users, and for each the held-out item followed by 99 others, shape (n, 100)."""
    rng = np.random.default_rng(20)
    table = pl.read_parquet(DATA / "ncf-movielens-1m" / "train.parquet")
    people = rng.permutation(table["user_id"].unique().sort().to_numpy())
    data = rv.read(table.filter(pl.col("user_id").is_in(people[: round(share * len(people))])))
    rows, order = data.interactions, rng.permutation(len(data.interactions))
    users, first = np.unique(rows.users[order], return_index=True)
    held = order[first]
    kept = np.ones(len(rows), bool)
    kept[held] = False
    met = data.matrix()
    others = draw_unmet(
        (met.indptr.astype(np.int64), met.indices.astype(np.int32)), users, 99, data.n_items, seed=20, executor=Runtime().executor
    )
    return data.with_interactions(rows.take(kept)), users, np.column_stack([rows.items[held], others])


def judged(model: Model, users: I32, candidates: I32, folded: Dataset | None = None) -> dict[str, float]:
    """Return hit rate and NDCG at 10 of the stored users, or of the users folded in by their histories."""
    rank = np.empty(len(users))
    for start in range(0, len(users), 256):
        some = users[start : start + 256]
        queries = model.queries(some) if folded is None else model.queries(histories=folded.histories().take(some))
        scores: F32 = np.take_along_axis(model.scores(queries), candidates[start : start + 256].astype(np.int64), axis=1)
        rank[start : start + 256] = 1 + (scores[:, 1:] > scores[:, :1]).sum(axis=1) + (scores[:, 1:] == scores[:, :1]).sum(axis=1) / 2
    hit = rank <= 10
    return {"hit_rate@10": round(float(hit.mean()), 4), "ndcg@10": round(float((hit / np.log2(rank + 1)).mean()), 4)}


if __name__ == "__main__":
    main()

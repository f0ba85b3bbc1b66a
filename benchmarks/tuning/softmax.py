"""Settings of `softmax-mf`, `lightgcn` and `ngcf`, on a validation part drawn as the published test parts were; those are never read.

::

    python benchmarks/tuning/softmax.py ultragcn-amazon-cds softmax-mf --set epochs=80 --set temperature=.1

Published splits of implicit data keep users and items with ten interactions or more, and then hide a fifth of each user's rows. So an
item that has few rows left has more hidden than one would think: it had ten. A random tenth of the training rows is not like that, and
ranks methods otherwise. Here the training table is cut to those users and items that have ten interactions in it, and a fifth of each
user's rows is held out. The recipe is chosen on Amazon CDs, looked at on the validation parts of the others, and then applied to all.
Each call adds a row to the log, with recall@20 and ndcg@20 of 4,000 users. Data: the folder that RECVEC_DATA names.
Results: benchmarks/tuning/softmax.json.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import recvec as rv
from recvec.contract import Runtime

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
OUT = HERE / "softmax.json"
CORE, SHARE = 10, 5  # least interactions of users and items; one in so many rows of a user is held out


def main() -> None:
    """Fit once for each list of settings, writing the log after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("method", choices=("softmax-mf", "lightgcn", "ngcf"))
    parser.add_argument("--set", action="append", default=[], help="a setting, name=value; several fits: name=value,name=value")
    parser.add_argument("--each", action="store_true", help="a fit for every --set, not one with all of them")
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    split = drawn(given.data)
    fits = given.set if given.each else [",".join(given.set)]
    for words in fits:
        settings = dict(pair.split("=", 1) for pair in words.split(",") if pair)
        began, method = time.process_time(), rv.method(given.method, settings=settings)
        model = method.fit(split.train, rng=0, runtime=Runtime(threads=given.threads))
        row = {"data": given.data, "method": given.method, "settings": settings, **score(model, split)}
        row["cpu_seconds"] = round(time.process_time() - began, 1)
        log = json.loads(OUT.read_text()) if OUT.exists() else []
        OUT.write_text("[\n " + ",\n ".join(json.dumps(r) for r in [*log, row]) + "\n]\n")
        print(row, file=sys.stderr, flush=True)


def drawn(data: str) -> rv.Split:
    """Return the core of a training table, a fifth of each user's rows held out."""
    rows = pl.read_parquet(DATA / data / "train.parquet").select("user_id", "item_id")
    while True:
        kept = rows.filter((pl.len().over("user_id") >= CORE) & (pl.len().over("item_id") >= CORE))
        if len(kept) == len(rows):
            break
        rows = kept
    mixed = rows[np.random.default_rng(0).permutation(len(rows))]
    held = pl.int_range(pl.len()).over("user_id") < (pl.len().over("user_id") / SHARE).round()
    whole = rv.read(mixed)
    hidden = mixed.select(held.alias("held"))["held"].to_numpy()
    train = whole.with_interactions(whole.interactions.take(~hidden))
    return rv.Split(protocol="given", seed=0, train=train, test=whole.interactions.take(hidden))


def score(model: Any, split: rv.Split) -> dict[str, float]:
    """Return recall@20 and ndcg@20 of some users."""
    users = np.random.default_rng(1).permutation(np.unique(split.test.users))[:4000]
    asked = split.test.take(np.isin(split.test.users, users))
    part = rv.Split(protocol="given", seed=0, train=split.train, test=asked)
    found = rv.evaluate(model, part, k=20).metrics
    return {name: round(found[name], 5) for name in ("recall@20", "ndcg@20")}


if __name__ == "__main__":
    main()

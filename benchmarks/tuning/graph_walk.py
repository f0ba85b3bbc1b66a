"""Choose the defaults of walks as retrieval: one grid, two data sets, validation parts only.

A validation part is a tenth of the rows of a training table; test parts are never read. Walks are asked about 3,000 users
by recall@20. The figure of a setting is the mean over the data of its recall over the best recall there.

`beta` is one setting for all kinds, and that of `rp3beta` is the method's default, .2: no other is more than a hundredth
better. Among walks of more than three steps, five with a restart of .5 are best at it. Three steps alone are a little
better still on these data, but lead no further than to what others met who share an item.
Usage: python benchmarks/tuning/graph_walk.py; writes graph_walk.json beside this file.
"""

import json
import os
from itertools import product
from pathlib import Path

import numpy as np

import recvec as rv
from recvec.retrieval.graph_walk import walker

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
TABLES = {"movielens-1m": "ratings.parquet", "ultragcn-amazon-cds": "train.parquet"}
GRID = [
    {"steps": steps, "restart": restart, "beta": beta}
    for steps, restart, beta in product((3, 5, 9), (0.15, 0.5), (0.0, 0.2, 0.4, 0.6))
    if steps > 3 or restart == 0.15  # with three steps the order of a list does not depend on it
]
N_USERS, K = 3000, 20


def recall(split: rv.Split, recipe: rv.GraphWalk, runtime: rv.Runtime) -> float:
    """Return the mean recall of some users who have an item to find."""
    relevant, known = split.relevant, split.histories()
    users = np.random.default_rng(0).permutation(np.flatnonzero((relevant.lengths > 0) & (known.lengths > 0)))[:N_USERS]
    mine, asked = known.take(users), relevant.take(users)
    walk = walker(recipe, known, runtime=runtime)
    rows = walk.recommend(walk.asked(mine), K, exclude=mine, runtime=runtime).rows
    owner = np.repeat(np.arange(len(users)), asked.lengths)
    hits = (rows[owner] == asked.items[:, None]).any(axis=1)
    return float((np.bincount(owner, hits) / asked.lengths).mean())


def main() -> None:
    """Search, and write what was found."""
    runtime, found = rv.Runtime(threads=1), {}
    for name, table in TABLES.items():
        split = rv.split(rv.read(DATA / name / table), "random", seed=0)
        found[name] = [recall(split, rv.GraphWalk(**setting), runtime) for setting in GRID]
        print(name, max(found[name]), flush=True)
    shares = np.mean([np.array(values) / max(values) for values in found.values()], axis=0)
    log = [
        {**setting, **{n: round(v[i], 5) for n, v in found.items()}, "mean_share_of_best": round(float(shares[i]), 4)}
        for i, setting in enumerate(GRID)
    ]
    log.sort(key=lambda row: -row["mean_share_of_best"])
    content = {"metric": f"recall@{K} of {N_USERS} users on validation parts", "log": log}
    (HERE / "graph_walk.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Candidates drawn by the vectors of GMF, for lists of NeuMF: how much of the exact lists they hold, and the time of both.

::

    python benchmarks/accuracy/ncf_candidates.py --config benchmarks/accuracy/ncf-movielens-1m/neumf.toml

One fit on the training part of ncf-movielens-1m; the top 10 of each of 2,000 users without what they have met, by the network over the
whole catalogue and by the network over 50, 100, 200 and 400 candidates. Overlap: the share of the exact list that is found, mean over
users. Data: the folder that RECVEC_DATA names. Result: results/ncf_candidates.json.
"""

import argparse
import json
import os
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

import recvec as rv
from recvec.contract import PairModel, Runtime

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
K, USERS, CANDIDATES = 10, 2000, (50, 100, 200, 400)


def main() -> None:
    """Fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=HERE / "ncf-movielens-1m" / "neumf.toml")
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    runtime = Runtime(threads=given.threads)
    data = rv.read(pl.read_parquet(DATA / "ncf-movielens-1m" / "train.parquet"))
    model = rv.method("neumf", **tomllib.loads(given.config.read_text()).get("set", {})).fit(data, rng=0, runtime=runtime)
    users = np.sort(np.random.default_rng(0).permutation(data.n_users)[:USERS])
    met = data.histories().take(users)

    def lists(of: PairModel) -> tuple[np.ndarray, float]:
        of.recommend(of.queries(users[:9]), K, exclude=met.take(np.arange(9)), runtime=runtime)  # compiles
        begin = time.perf_counter()
        return of.recommend(of.queries(users), K, exclude=met, runtime=runtime).rows, time.perf_counter() - begin

    exact, seconds = lists(model)
    result = {"data": "ncf-movielens-1m", "users": USERS, "k": K, "exact_ms_per_user": round(1000 * seconds / USERS, 3), "candidates": {}}
    for n in CANDIDATES:
        rows, seconds = lists(replace(model, n_candidates=n))
        overlap = float((exact[:, :, None] == rows[:, None, :]).any(axis=2).mean())
        result["candidates"][n] = {"overlap": round(overlap, 4), "ms_per_user": round(1000 * seconds / USERS, 3)}
    out = HERE / "results" / "ncf_candidates.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(result)


if __name__ == "__main__":
    main()

"""Predicted ratings of MovieLens-1M: `als-explicit` with and without joint biases and the pattern of who rated what.

::

    python benchmarks/accuracy/ratings.py

Random 90/10 (`rv.split(data, "random", seed=s)`), s = 0, 1, 2, ids only; settings are chosen by
``benchmarks/tuning/als_explicit.py`` on rows that are in none of the three test parts. Variants:

- ``pattern``: the whole objective;
- ``joint biases``: without the pattern;
- ``subtracted means``: damped means of users and items are taken off first, then factors alone are learned of the rest,
  with the same regularization in the units of the ratings;
- ``svd``: the decomposition of what those means leave over, as it comes.

Beside the means over the splits stand the paired differences to ``joint biases`` on each split, with the 95 % bootstrap
interval over users, and seconds for an epoch (the median of all but the first). Result: ``results/ratings.json``.
"""

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from run import commit  # of this folder

import recvec as rv
from recvec.cli.output import environment
from recvec.contract import Runtime, available_cores
from recvec.evaluation.report import Evaluation

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
SPLITS = (0, 1, 2)
PATTERN = rv.ALSExplicit(embedding_dim=32, epochs=30, reg=1.2, reg_exponent=0.5, bias_reg=0.3, pattern_weight=1.6)
PLAIN = replace(PATTERN, pattern_weight=0.0)  # the best without it has the same settings otherwise
DAMPING, ROUNDS = 5.0, 10  # of the subtracted means
ANCHORS = {"Bayesian factorization machine (myFM), rank 16, 50 Gibbs iterations, one such split": 0.8432}


class Clock:
    """Seconds between the ends of epochs."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def __call__(self, epoch: int, values: object) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Median of an epoch."""
        return statistics.median(np.diff(self.ends))


def fitted(method: rv.ALSExplicit, split: rv.Split, runtime: Runtime) -> tuple[Evaluation, dict[str, float]]:
    """Fit and measure."""
    clock, started = Clock(), time.perf_counter()
    model = method.fit(split.train, rng=split.seed, runtime=runtime, on_epoch=clock)
    seconds = {"fit_seconds": time.perf_counter() - started, "epoch_seconds": clock.seconds}
    return rv.evaluate(model, split), seconds


def after_means(method: rv.ALSExplicit, split: rv.Split, runtime: Runtime) -> tuple[Evaluation, dict[str, float]]:
    """Take damped means off, learn factors of the rest, and measure the sum of both."""
    rows = split.train.interactions
    mean, users, items = damped_means(rows, split.train.n_users, split.train.n_items)
    rest = (rows.rating - mean - users[rows.users] - items[rows.items]).astype(np.float32)
    same = method.reg * float(rows.rating.std()) / float(rest.std())  # reg is in units of the deviation
    factors = replace(method, bias_reg=1e9, reg=same)
    clock, started = Clock(), time.perf_counter()
    data = split.train.with_interactions(replace(rows, rating=rest))
    model: Any = factors.fit(data, rng=split.seed, runtime=runtime, on_epoch=clock)
    seconds = {"fit_seconds": time.perf_counter() - started, "epoch_seconds": clock.seconds}
    user_vectors, item_vectors = model.user_vectors.copy(), model.item_vectors.copy()
    user_vectors[:, -2] += users
    item_vectors[:, -1] += items
    whole = replace(
        model,
        user_vectors=user_vectors,
        item_vectors=item_vectors,
        offset=model.offset + mean,
        bounds=(float(rows.rating.min()), float(rows.rating.max())),
    )
    return rv.evaluate(whole, split), seconds


def damped_means(rows: Any, n_users: int, n_items: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the mean, and the damped means of users and of items, each of what the other leaves over."""
    mean = float(rows.rating.mean(dtype=np.float64))
    users, items = np.zeros(n_users), np.zeros(n_items)
    for _ in range(ROUNDS):
        rest = rows.rating - mean - users[rows.users]
        items = np.bincount(rows.items, rest, n_items) / (np.bincount(rows.items, minlength=n_items) + DAMPING)
        rest = rows.rating - mean - items[rows.items]
        users = np.bincount(rows.users, rest, n_users) / (np.bincount(rows.users, minlength=n_users) + DAMPING)
    return mean, users, items


def of_split(data: rv.Dataset, seed: int, runtime: Runtime) -> dict[str, tuple[Evaluation, dict[str, float]]]:
    """Measure all variants on one split."""
    split = rv.split(data, "random", seed=seed)
    started = time.perf_counter()
    svd = rv.SVD(task="rating").fit(split.train, runtime=runtime)
    seconds = {"fit_seconds": time.perf_counter() - started}
    return {
        "joint biases": fitted(PLAIN, split, runtime),
        "pattern": fitted(PATTERN, split, runtime),
        "subtracted means": after_means(PLAIN, split, runtime),
        "svd": (rv.evaluate(svd, split), seconds),
    }


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--state", default="not stated", help="what else the machine did, for the record")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "ratings.json")
    given = parser.parse_args()
    runtime, data = Runtime(threads=given.threads), rv.read(DATA / "movielens-1m" / "ratings.parquet")
    runs = []
    for seed in SPLITS:
        runs.append(of_split(data, seed, runtime))
        print(seed, {name: round(found[0].metrics["rmse"], 4) for name, found in runs[-1].items()}, flush=True)
    variants = {}
    for name in runs[0]:
        rmse = [r[name][0].metrics["rmse"] for r in runs]
        times = {key: round(statistics.median(r[name][1][key] for r in runs), 3) for key in runs[0][name][1]}
        variants[name] = {"rmse": round(float(np.mean(rmse)), 5), "of_each_split": [round(v, 5) for v in rmse], **times}
        print(f"{name}: {variants[name]}", flush=True)
    paired = [rv.differences({name: r[name][0] for name in runs[0]}, reference="joint biases").to_dicts() for r in runs]
    result = {
        "data": "movielens-1m",
        "protocol": "random, a tenth is test",
        "splits": list(SPLITS),
        "recipes": {"joint biases": PLAIN.recipe, "pattern": PATTERN.recipe},
        "variants": variants,
        "paired_to_joint_biases": paired,
        "anchors": ANCHORS,
        "machine_state": given.state,
        "threads": given.threads or available_cores(),
        "environment": environment(),
        "commit": commit(),
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

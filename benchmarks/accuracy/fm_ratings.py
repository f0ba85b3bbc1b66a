"""Predicted ratings by Bayesian factorization machines: ids, attributes, implicit histories, time.

::

    python benchmarks/accuracy/fm_ratings.py --peer-python PEERS/bin/python

- ``movielens-1m``: random 90/10, seeds 0 to 2, rank 16; ids for 50 iterations, paired with myFM where there is a peer; with the
  attributes and the implicit history of both sides, and no time, for 60; the latter on the five given folds as well;
- ``movielens-100k``: u1 to u5, rank 10, 200 iterations: ids, with attributes, with time; u1 with everything, 512 iterations; u1 and
  u2 with attributes and histories, 100 iterations, paired with myFM, which gets the same relation blocks;
- ``movielens-latest-small-2016``: random 90/10, seeds 0 to 2, rank 10, 200 iterations: ids, with time.

All draws but the first 10 are kept: on validation parts of u1 to u3's training part this is better than a longer start by .0027
(``tuning/fm_ratings.json``). Histories come from the training part. Differences are paired by rating, with the
95 % bootstrap interval over users, all splits together. Predictions are clipped to the stars. Result: ``results/fm_ratings.json``.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from fm_features import DATA, Ratings, read, relations

from recvec.contract.runtime import Threads
from recvec.kernels.fm_gibbs import draw
from recvec.kernels.fm_gibbs_posterior import predict
from recvec.types import F64, I64

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speed"))
from fm import peer_predictions
from harness import write_result

HERE = Path(__file__).resolve().parent
Split = tuple[I64, I64]  # training rows, test rows
START = 10  # iterations that are not kept
MORE = {"attributes": True, "history": True}


def main() -> None:
    """Learn, judge, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="interpreter of an environment with myFM; without it the peer is left out")
    parser.add_argument("--threads", type=int, default=None, help="threads (default: all usable cores); changes no figure")
    parser.add_argument("--data", choices=list(PARTS), action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "fm_ratings.json")
    given = parser.parse_args()
    result: dict[str, Any] = json.loads(given.out.read_text()) if given.data and given.out.exists() else {}  # other sets stay
    for name in given.data or list(PARTS):
        result[name] = PARTS[name](read(name), Threads(given.threads), given.peer_python)
        write_result(given.out, result)


def one_million(data: Ratings, executor: Threads, peer: str | None) -> dict[str, Any]:
    """Ids against the peer, then everything but time."""
    splits = random_splits(data)
    ids = [learn(data, split, executor, rank=16, iterations=50) for split in splits]
    more = [learn(data, split, executor, rank=16, iterations=60, **MORE) for split in splits]
    answer = {"ids": described(data, splits, ids), "attributes and histories": described(data, splits, more, ids)}
    fold = pl.read_parquet(DATA / data.name / "folds.parquet")["fold"].to_numpy()
    folds = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(1, 6)]
    found = [learn(data, split, executor, rank=16, iterations=60, **MORE) for split in folds]
    answer["attributes and histories, given folds"] = described(data, folds, found)
    if peer:
        theirs = of_peer(data, splits, peer, rank=16, iterations=50)
        answer["myFM, ids"] = described(data, splits, theirs)
        answer["ids against myFM"] = difference(data, splits, ids, theirs)
    return answer


def hundred_thousand(data: Ratings, executor: Threads, peer: str | None) -> dict[str, Any]:
    """Ids, attributes, time, on the five official splits; everything on the first."""
    marks = [data.table[f"in_u{k}_test"].to_numpy() for k in range(1, 6)]
    splits = [(np.flatnonzero(~mark), np.flatnonzero(mark)) for mark in marks]
    variants = {"ids": {}, "attributes": {"attributes": True}, "time": {"time": True}}
    found = {k: [learn(data, s, executor, rank=10, iterations=200, **v) for s in splits] for k, v in variants.items()}
    answer = {k: described(data, splits, f, None if k == "ids" else found["ids"]) for k, f in found.items()}
    everything = learn(data, splits[0], executor, rank=10, iterations=512, time=True, **MORE)
    answer["everything, u1"] = described(data, splits[:1], [everything])
    if peer:
        ours = [learn(data, split, executor, rank=10, iterations=100, **MORE) for split in splits[:2]]
        theirs = of_peer(data, splits[:2], peer, rank=10, iterations=100, **MORE)
        answer["attributes and histories, u1 and u2"] = described(data, splits[:2], ours)
        answer["myFM, attributes and histories, u1 and u2"] = described(data, splits[:2], theirs)
        answer["attributes and histories against myFM"] = difference(data, splits[:2], ours, theirs)
    return answer


def small(data: Ratings, executor: Threads, _: str | None) -> dict[str, Any]:
    """Ids with and without time."""
    splits = random_splits(data)
    plain, timed = ([learn(data, s, executor, rank=10, iterations=200, time=t) for s in splits] for t in (False, True))
    return {"ids": described(data, splits, plain), "time": described(data, splits, timed, plain)}


PARTS = {"movielens-1m": one_million, "movielens-100k": hundred_thousand, "movielens-latest-small-2016": small}


def random_splits(data: Ratings) -> list[Split]:
    """Return random 90/10 splits, seeds 0 to 2."""
    n, splits = len(data.stars), []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(n)
        splits.append((order[n // 10 :], order[: n // 10]))
    return splits


def learn(data: Ratings, split: Split, executor: Threads, *, rank: int, iterations: int, **features: bool) -> F64:
    """Return the predictions of the test rows."""
    train, test = split
    learned, asked = relations(data, train, [train, test], **features)
    rng, begin = np.random.default_rng(0), time.perf_counter()
    posterior = draw(learned, data.stars[train], rank=rank, n_iterations=iterations, n_kept=iterations - START, rng=rng, executor=executor)
    mean, _ = predict(posterior, asked, executor=executor)
    found = np.clip(mean.astype(np.float64), data.stars.min(), data.stars.max())
    print(data.name, features, rmse(data, split, found), round(time.perf_counter() - begin, 1), "s", flush=True)
    return found


def of_peer(data: Ratings, splits: list[Split], peer: str, *, rank: int, iterations: int, **features: bool) -> list[Any]:
    """Return the predictions of the test rows by myFM, which keeps as many draws as ours."""
    found = []
    for train, test in splits:
        both = relations(data, train, [train, test], **features)
        told = peer_predictions(peer, both, data.stars[train], rank=rank, iterations=iterations, kept=iterations - START)
        found.append(told["predictions"])
    return found


def rmse(data: Ratings, split: Split, found: Any) -> float:
    """Return the root of the mean squared error on a test part."""
    clipped = np.clip(found, data.stars.min(), data.stars.max())
    return round(float(np.sqrt(np.mean((clipped - data.stars[split[1]]) ** 2))), 5)


def described(data: Ratings, splits: list[Split], found: list[Any], plain: list[Any] | None = None) -> dict[str, Any]:
    """Return RMSE of each split and their mean; beside it the difference to plain predictions."""
    values = [rmse(data, s, f) for s, f in zip(splits, found, strict=True)]
    answer: dict[str, Any] = {"rmse": round(float(np.mean(values)), 5), "splits": values}
    return answer if plain is None else answer | {"against ids": difference(data, splits, found, plain)}


def difference(data: Ratings, splits: list[Split], first: list[Any], second: list[Any]) -> dict[str, Any]:
    """Return the mean difference of RMSE over the splits, with its 95 % bootstrap interval over users."""
    n = int(data.users.max()) + 1
    low, high = data.stars.min(), data.stars.max()
    parts = []  # of each split: squared errors of both sides and numbers of ratings, by user
    for (_, test), a, b in zip(splits, first, second, strict=True):
        users, stars = data.users[test], data.stars[test]
        errors = [np.bincount(users, (np.clip(x, low, high) - stars) ** 2, minlength=n) for x in (a, b)]
        parts.append((*errors, np.bincount(users, minlength=n)))

    def mean(weights: Any) -> float:
        return float(np.mean([np.sqrt(a @ weights / (c @ weights)) - np.sqrt(b @ weights / (c @ weights)) for a, b, c in parts]))

    rng = np.random.default_rng(0)
    draws = [mean(np.bincount(rng.integers(0, n, n), minlength=n)) for _ in range(1000)]
    interval = [round(float(q), 5) for q in np.quantile(draws, [0.025, 0.975])]
    each = [rmse(data, s, a) - rmse(data, s, b) for s, a, b in zip(splits, first, second, strict=True)]
    return {"mean": round(mean(np.ones(n)), 5), "interval": interval, "splits": [round(d, 5) for d in each]}


if __name__ == "__main__":
    main()

"""Ranking machines with attributes: new users, new items, and people with a history.

::

    python benchmarks/accuracy/fm_ranking.py [new-users] [new-items] [warm]

- ``new-users``: MovieLens-1M, five folds over users, no history, gender, age bracket and occupation known; beside the machines
  the ridge regression of all items' scores on the same attributes, and popularity.
- ``new-items``: MovieLens-100K, five folds over items, held-out items alone compete, genres known; beside the machine with ids and
  genres stands the same without genres, once as it comes (all new items tie, and ties go to the smaller row, which in this data set
  belongs to a more popular film), once with ties broken at random; and the popularity of genres: an item's score is the mean over
  its genres of the mean count of a training item of that genre.
- ``warm``: MovieLens-1M, random 90/10, three seeds: ids and attributes of both sides, and ids by softmax, against ``als`` at the same
  width.

Settings of each fold are those that did best on validation parts of its own training part
(``benchmarks/tuning/fm_ranking_search.py``); of ``warm`` a validation part of the first split's training part chose for all three.
A first run of ``warm`` with ``reg`` .012 throughout (als .3148 / .2906, machines below it) was what led to that search, in which the
machines had more tries than als (three). The variant of ``new-items`` with ties at random was added after the plain one was seen.
Differences are paired by user, with the sign-flip test of ``recvec.differences``.
Result: ``results/fm_ranking.json``, one entry for each name.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tuning"))

from fm_ranking_search import SEARCHES, best_of  # noqa: E402  of the folder of searches
from run import commit  # noqa: E402  of this folder

import recvec as rv  # noqa: E402
from recvec.cli.output import environment  # noqa: E402
from recvec.contract import Runtime, available_cores  # noqa: E402
from recvec.data.splits import folds  # noqa: E402
from recvec.encoders.attributes import AttributeCoder  # noqa: E402
from recvec.evaluation.report import Evaluation  # noqa: E402
from recvec.types import F64  # noqa: E402

SHOWN = ("recall_capped@20", "ndcg@20")
RIDGE = 100.0
Scorer = Callable[[Any], Any]


def chosen(name: str, splits: Sequence[rv.Split], runtime: Runtime) -> tuple[Evaluation, list[dict[str, Any]]]:
    """Fit each fold with its own settings and measure."""
    methods = [SEARCHES[name].recipe(best_of(name, fold), split.train) for fold, split in enumerate(splits)]
    of_data = {id(split.train): method for split, method in zip(splits, methods, strict=True)}
    fit = lambda data, seed: of_data[id(data)].fit(data, rng=seed, runtime=runtime)  # noqa: E731
    found = rv.cross_validate(methods[0], splits, k=20, runtime=runtime, fit=fit)
    return found, [method.recipe for method in methods]


def by_scores(make: Callable[[rv.Dataset], Scorer], splits: Sequence[rv.Split], runtime: Runtime) -> Evaluation:
    """Measure what is no method: a function that makes scores of a training part."""
    return rv.cross_validate(rv.Popularity(), splits, k=20, runtime=runtime, fit=lambda data, seed: make(data))  # type: ignore[arg-type,return-value]


def encoded(table: Any) -> F64:
    """Return attributes as the machines see them."""
    return AttributeCoder.fit(table, "row").encode(table.frame).toarray().astype(np.float64)


def ridge(data: rv.Dataset) -> Scorer:
    """Predict all items' interactions linearly from the attributes of users."""
    x = encoded(data.user_features)
    pairs = data.matrix()
    known = np.diff(pairs.indptr) > 0
    trained = x[known]
    weights = np.linalg.solve(trained.T @ trained + RIDGE * np.eye(x.shape[1]), (pairs[known].T @ trained).T)
    return lambda users: (x[users] @ weights).astype(np.float32)


def genre_popularity(data: rv.Dataset) -> Scorer:
    """Score an item by the mean popularity of its genres."""
    has = encoded(data.item_features)
    counts = data.item_counts.astype(np.float64)
    of_genre = (has > 0).T
    known = of_genre[:, counts > 0]
    popularity = known @ counts[counts > 0] / np.maximum(1, known.sum(axis=1))
    scores = (has @ popularity).astype(np.float32)
    return lambda users: np.tile(scores, (len(users), 1))


def in_no_order(n_items: int) -> Scorer:
    """Score items at random, for each user anew: what ids alone know of new items."""
    return lambda users: np.random.default_rng([0, int(users[0])]).random((len(users), n_items), dtype=np.float32)


def told(results: dict[str, Evaluation], reference: str) -> dict[str, Any]:
    """Return the figures of some results, and their differences to one of them."""
    shown = {
        name: {m: round(r.metrics[m], 5) for m in SHOWN} | {"intervals": {m: r.intervals[m] for m in SHOWN}} for name, r in results.items()
    }
    paired = [rv.differences(results, reference=reference, metric=m).to_dicts() for m in SHOWN]
    for name, figures in shown.items():
        print(f"{name}: {[figures[m] for m in SHOWN]}", flush=True)
    print(*(line for lines in paired for line in lines), sep="\n", flush=True)
    return {"figures": shown, "paired": paired}


def new_users(runtime: Runtime) -> dict[str, Any]:
    """Rank for users known by their attributes."""
    splits = folds(SEARCHES["new-users"].read(), "new-users", 5, seed=0)
    found, settings = chosen("new-users", splits, runtime)
    results = {"ids and attributes": found}
    results["ridge"] = by_scores(ridge, splits, runtime)
    results["popularity"] = rv.cross_validate(rv.Popularity(), splits, k=20, runtime=runtime)
    return {"data": "movielens-1m", "protocol": "new-users", **told(results, "ridge"), "settings": settings}


def new_items(runtime: Runtime) -> dict[str, Any]:
    """Rank items known by their genres, among themselves."""
    search = SEARCHES["new-items"]
    splits = folds(search.read(), "new-items", 5, seed=0)
    found, settings = chosen("new-items", splits, runtime)
    results = {"ids and genres": found}
    without = replace(search.method, use_attributes=False)
    results["ids only"] = rv.cross_validate(without, splits, k=20, runtime=runtime)
    results["ids only, ties at random"] = by_scores(lambda data: in_no_order(data.n_items), splits, runtime)
    results["genre popularity"] = by_scores(genre_popularity, splits, runtime)
    return {"data": "movielens-100k", "protocol": "new-items", **told(results, "ids and genres"), "settings": settings}


def warm(runtime: Runtime) -> dict[str, Any]:
    """Rank for people with a history, whom attributes should not hurt."""
    data, names = SEARCHES["warm"].read(), {"ids only": "warm-ids", "ids and attributes": "warm", "ids only, softmax": "warm-softmax"}
    splits = [rv.split(data, "random", seed=seed) for seed in range(3)]
    # of als: the best of .003, .006, .012 on the same validation part
    methods: dict[str, Any] = {"als": rv.ALS(embedding_dim=64, epochs=12, reg=0.006)}
    methods |= {name: SEARCHES[search].recipe(best_of(search, 0), splits[0].train) for name, search in names.items()}
    methods["ids and attributes, cold_weight 1"] = replace(methods["ids and attributes"], cold_weight=1.0)
    results = {name: [rv.cross_validate(m, [split], k=20, runtime=runtime) for split in splits] for name, m in methods.items()}
    of_splits = [told({name: found[at] for name, found in results.items()}, "als") for at in range(len(splits))]
    means = {name: {m: float(np.mean([r.metrics[m] for r in found])) for m in (*SHOWN, "recall@20")} for name, found in results.items()}
    print(means, flush=True)
    recipes = {name: m.recipe for name, m in methods.items()}
    return {"data": "movielens-1m", "protocol": "random, a tenth is test", "means": means, "of_each_split": of_splits, "settings": recipes}


def main() -> None:
    """Measure what the command line names and write it beside what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"new-users": new_users, "new-items": new_items, "warm": warm}
    parser.add_argument("names", nargs="*", choices=[*parts], help="what to measure; everything by default")
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    runtime, path = Runtime(threads=given.threads), HERE / "results" / "fm_ranking.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in given.names or parts:
        found = parts[name](runtime)
        results[name] = {**found, "threads": given.threads or available_cores(), "environment": environment(), "commit": commit()}
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

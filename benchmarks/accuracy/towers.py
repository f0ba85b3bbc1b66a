"""Towers beside what needs none: new users, new items, people with a history, and NeuMF.

::

    python benchmarks/accuracy/towers.py [new-users] [new-items] [new-users-dmf] [warm] [neumf]

MovieLens-1M, five folds (three cuts for ``warm``), three seeds of the fits, each compared with the same reference by paired
differences over users (`recvec.differences`) on the mean of the seeds' lists figures and for each seed.

- ``new-users``: `two-tower` by gender, age bracket and occupation against the ridge regression of all items' scores on the same
  (lambda 100, `accuracy/fm_ranking.py`), and popularity.
- ``new-items``: `two-tower` by genres, cast and director, users by their history; held-out items alone compete. Against TF-IDF:
  plot, genres, cast and director as one text (scikit-learn, words of the plot without English stop words, names and genres whole),
  a user is the sum of the films of the history.
- ``new-users-dmf``: `dmf` with attributes against popularity, for new users.
- ``warm``: `dmf` with attributes of both sides against `dmf` without, random 90/10.
- ``neumf``: `dmf` against `neumf` on the ``deepcf-*`` sets with given negatives, each with the settings of its file
  ``accuracy/<data>/<method>.toml``, HR@10 and NDCG@10; run it where both files are there.

Settings: those that did best on validation parts (``benchmarks/tuning/towers_search.py``), for each fold on its own training part;
a fold for which nothing was tried has those of ``towers_data.py``, the first that were tried at all for ``new-items``.
Result: ``results/towers.json``, one entry for each name.
"""

import argparse
import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tuning"))

from fm_ranking import by_scores, ridge  # noqa: E402  of this folder
from run import commit  # noqa: E402  of this folder
from towers_data import DATA, METHODS, SHOWN, outer  # noqa: E402  of this folder
from towers_search import best_of  # noqa: E402  of the folder of searches

import recvec as rv  # noqa: E402
from recvec.cli.output import environment  # noqa: E402
from recvec.contract import Method, Runtime  # noqa: E402
from recvec.evaluation.report import Evaluation  # noqa: E402

SEEDS = (0, 1, 2)


def chosen(name: str, splits: list[rv.Split], runtime: Runtime) -> tuple[Evaluation, list[Method]]:
    """Fit each cut with its own settings and every seed, and measure."""
    methods: list[Method] = [replace(METHODS[name], **best_of(name, fold)) for fold in range(len(splits))]
    of_data = {id(split.train): method for split, method in zip(splits, methods, strict=True)}
    fit = lambda data, seed: of_data[id(data)].fit(data, rng=seed, runtime=runtime)  # noqa: E731
    return rv.cross_validate(methods[0], splits, k=20, seeds=SEEDS, runtime=runtime, fit=fit), methods


def tfidf(data: rv.Dataset) -> Any:
    """Score films by the cosine of their words to those of the history."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    frame = data.item_features.frame  # type: ignore[union-attr]
    plots = [text or "" for text in frame["plot"]]
    names = [[f"{name}:{value}" for name in ("genres", "actors", "director") for value in row[name] or []] for row in frame.to_dicts()]
    words = TfidfVectorizer(stop_words="english").build_analyzer()
    films = TfidfVectorizer(analyzer=lambda at: words(plots[at]) + names[at], sublinear_tf=True).fit_transform(range(len(plots)))
    people = data.matrix() @ films
    return lambda users: (people[users] @ films.T).toarray().astype(np.float32)


def told(results: dict[str, Evaluation], reference: str, shown: tuple[str, ...] = SHOWN) -> dict[str, Any]:
    """Return the figures of some results, and their differences to one of them."""
    figures = {
        name: {m: round(r.metrics[m], 5) for m in shown} | {"intervals": {m: r.intervals[m] for m in shown}} for name, r in results.items()
    }
    paired = [rv.differences(results, reference=reference, metric=m).to_dicts() for m in shown]
    for name, found in figures.items():
        print(f"{name}: {[found[m] for m in shown]}", flush=True)
    print(*(line for lines in paired for line in lines), sep="\n", flush=True)
    return {"figures": figures, "paired": paired}


def new_users(runtime: Runtime) -> dict[str, Any]:
    """Rank for users known by their attributes."""
    splits = outer("new-users")
    found, methods = chosen("new-users", splits, runtime)
    results = {"two-tower": found, "ridge": by_scores(ridge_of, splits, runtime)}
    results["popularity"] = rv.cross_validate(rv.Popularity(), splits, k=20, runtime=runtime)
    return {"protocol": "new-users", **told(results, "ridge"), "settings": [m.recipe for m in methods]}


def ridge_of(data: rv.Dataset) -> Any:
    """Return the ridge of `fm_ranking`."""
    return ridge(data)


def new_items(runtime: Runtime) -> dict[str, Any]:
    """Rank films known by their attributes, among themselves."""
    splits = outer("new-items")
    found, methods = chosen("new-items", splits, runtime)
    shown = (*SHOWN, "recall@20")
    results = {"two-tower": found, "tf-idf": by_scores(tfidf, splits, runtime)}
    return {"protocol": "new-items", **told(results, "tf-idf", shown), "settings": [m.recipe for m in methods]}


def new_users_dmf(runtime: Runtime) -> dict[str, Any]:
    """Rank for users known by their attributes, by networks made for rows."""
    splits = outer("new-users-dmf")
    found, methods = chosen("new-users-dmf", splits, runtime)
    results = {"dmf": found, "popularity": rv.cross_validate(rv.Popularity(), splits, k=20, runtime=runtime)}
    return {"protocol": "new-users", **told(results, "popularity"), "settings": [m.recipe for m in methods]}


def warm(runtime: Runtime) -> dict[str, Any]:
    """Rank for people with a history, whom attributes should not hurt."""
    splits = outer("warm")
    both = replace(METHODS["warm"], **best_of("warm", 0))
    methods = {"dmf": both, "dmf without attributes": replace(both, use_attributes=False)}
    found = {name: [rv.cross_validate(m, [split], k=20, seeds=(0,), runtime=runtime) for split in splits] for name, m in methods.items()}
    of_cuts = [told({name: runs[at] for name, runs in found.items()}, "dmf without attributes") for at in range(len(splits))]
    means = {name: {m: float(np.mean([r.metrics[m] for r in runs])) for m in SHOWN} for name, runs in found.items()}
    return {"protocol": "random, a tenth is test", "means": means, "of_each_cut": of_cuts, "settings": both.recipe}


def neumf(runtime: Runtime) -> dict[str, Any]:
    """Compare with NeuMF on given negatives."""
    found = {}
    for data in ("deepcf-lastfm", "deepcf-amusic", "deepcf-atoy"):
        split = given_split(data)
        results = {}
        for name in ("dmf", "neumf"):
            settings = tomllib.loads((HERE / data / f"{name}.toml").read_text())
            method = rv.method(name, **settings.get("set", {}))
            results[name] = rv.cross_validate(method, [split], k=10, seeds=SEEDS, runtime=runtime)
        found[data] = told(results, "neumf", ("hit_rate@10", "ndcg@10"))
    return found


def given_split(data: str) -> rv.Split:
    """Return a published cut with its negatives."""
    folder = DATA / data
    return rv.split(rv.read(folder / "train.parquet"), test=folder / "test.parquet", negatives=folder / "test_negatives.parquet")


def main() -> None:
    """Measure what the command line names and write it beside what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"new-users": new_users, "new-items": new_items, "new-users-dmf": new_users_dmf, "warm": warm, "neumf": neumf}
    parser.add_argument("names", nargs="*", choices=[*parts], help="what to measure; everything by default")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    runtime, path = Runtime(threads=given.threads), HERE / "results" / "towers.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in given.names or parts:
        found = parts[name](runtime)
        results[name] = {**found, "seeds": SEEDS, "threads": given.threads, "environment": environment(), "commit": commit()}
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

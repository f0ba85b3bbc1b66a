"""Choose the settings of ranking machines, for each fold of the benchmark on its own training part alone.

Of the training part of each of the five folds, validation users (or items) are held out by the same protocol with other
seeds; every setting is fitted on the rest, and scored by the mean of recall_capped@20 and NDCG@20. The benchmark takes, for each
fold, the setting with the best score on that fold's validation parts. ``balance`` is the weight of all pairs over that of the
observed ones. Usage: python benchmarks/tuning/fm_ranking_search.py NAME [--grid JSON] [--folds 0,1]; settings that are in the log
already are not fitted again. Data folder: RECVEC_DATA.
"""

import argparse
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import recvec as rv
from recvec.contract import Runtime
from recvec.data.splits import folds

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
INNER = (101, 102)  # seeds of the validation parts
PEOPLE = ("gender", "age", "occupation")


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search begins with.

    Parameters
    ----------
    data, protocol : str
        Where.
    use : tuple of str
        Attributes that are features.
    method : FM
        The recipe but for what the grid changes.
    balance : float
        Weight of all pairs over that of the observed ones, unless the grid says so.
    """

    data: str
    protocol: str
    use: tuple[str, ...]
    method: rv.FM
    balance: float = 10.0

    def read(self) -> rv.Dataset:
        """Read the data set; age is one of a few brackets."""
        folder = DATA / self.data
        types = {"age": "category"} if self.data == "movielens-1m" else {"genres": "list"}
        kept = {name: kind for name, kind in types.items() if name in self.use}
        sides = {"users": folder / "users.parquet", "items": folder / "items.parquet"}
        return rv.read(folder / "ratings.parquet", **sides, types=kept, use=list(self.use))

    def recipe(self, settings: dict[str, Any], data: rv.Dataset) -> rv.FM:
        """Return the recipe with changed settings, the balance turned into a weight for the interactions of `data`."""
        changed = {"balance": self.balance, **settings}
        pairs = data.matrix()
        n_pairs = np.count_nonzero(np.diff(pairs.indptr)) * np.count_nonzero(data.item_counts)
        weight = changed.pop("balance") * pairs.data.sum(dtype=np.float64) / n_pairs
        return replace(self.method, unobserved_weight=float(weight), **changed)


_FM = rv.FM(embedding_dim=32, item_bias=True, reg=0.012, shared_reg=1.0)
_SOFTMAX = rv.FM(solver="softmax", embedding_dim=32, epochs=150, reg=0.03, shared_reg=1.0)
SEARCHES = {
    "new-users": Search(data="movielens-1m", protocol="new-users", use=PEOPLE, method=replace(_FM, cold_weight=10.0), balance=22.0),
    "warm": Search(data="movielens-1m", protocol="random", use=(*PEOPLE, "genres"), method=replace(_FM, embedding_dim=64)),
    "warm-ids": Search(data="movielens-1m", protocol="random", use=(), method=replace(_FM, embedding_dim=64, use_attributes=False)),
    "warm-softmax": Search(
        data="movielens-1m", protocol="random", use=(), method=replace(_SOFTMAX, embedding_dim=64, use_attributes=False)
    ),
    "small-softmax": Search(
        data="movielens-100k", protocol="random", use=(), method=replace(_SOFTMAX, embedding_dim=16, epochs=200, use_attributes=False)
    ),
    "new-items": Search(data="movielens-100k", protocol="new-items", use=("genres",), method=_FM),
    "new-users-softmax": Search(data="movielens-1m", protocol="new-users", use=PEOPLE, method=replace(_SOFTMAX, cold_weight=10.0)),
    "new-items-softmax": Search(data="movielens-100k", protocol="new-items", use=("genres",), method=_SOFTMAX),
}


def log_of(name: str) -> Path:
    """Return the file of a search."""
    return HERE / f"fm_ranking_{name}.json"


def score(method: rv.FM, split: rv.Split, runtime: Runtime) -> float:
    """Return the mean of both metrics on a validation part."""
    found = rv.evaluate(method.fit(split.train, rng=0, runtime=runtime), split, k=20, runtime=runtime).metrics
    return (found["recall_capped@20"] + found["ndcg@20"]) / 2


def best_of(name: str, fold: int) -> dict[str, Any]:
    """Return the changed settings with the best mean score on the validation parts of a fold."""
    lines = [line for line in json.loads(log_of(name).read_text())["lines"] if line["fold"] == fold]
    chosen: dict[str, Any] = max(lines, key=lambda line: np.mean(line["scores"]))["settings"]
    return chosen


def main() -> None:
    """Search and write the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SEARCHES)
    parser.add_argument("--grid", type=json.loads, required=True, help="a list of changed settings")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    search, path, runtime = SEARCHES[given.name], log_of(given.name), Runtime(threads=given.threads)
    protocol, data = search.protocol, search.read()
    log = json.loads(path.read_text()) if path.exists() else {"data": search.data, "protocol": protocol, "inner_seeds": INNER, "lines": []}
    outer = [rv.split(data, "random", seed=s) for s in range(3)] if protocol == "random" else folds(data, protocol, 5, seed=0)
    for fold in map(int, given.folds.split(",")):
        if protocol == "random":
            parts = [rv.split(outer[fold].train, "random", seed=seed) for seed in INNER[:1]]
        else:
            parts = [folds(outer[fold].train, protocol, 5, seed=seed)[0] for seed in INNER]
        for settings in given.grid:
            if any(line["fold"] == fold and line["settings"] == settings for line in log["lines"]):
                continue
            scores = [round(score(search.recipe(settings, part.train), part, runtime), 5) for part in parts]
            log["lines"].append({"fold": fold, "settings": settings, "scores": scores})
            path.write_text(json.dumps(log, indent=1) + "\n")
            print(fold, settings, scores, round(float(np.mean(scores)), 5), flush=True)


if __name__ == "__main__":
    main()

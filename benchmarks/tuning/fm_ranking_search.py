"""Choose the settings of ranking machines, for each fold of the benchmark on its own training part alone.

Of the training part of each of the five folds, validation users (or items) are held out by the same protocol with other
seeds; every setting is fitted on the rest, and scored by the mean of recall_capped@20 and NDCG@20. The benchmark takes, for each
fold, the setting with the best score on that fold's validation parts. Usage: python benchmarks/tuning/fm_ranking_search.py NAME
[--grid JSON] [--folds 0,1]; settings that are in the log already are not fitted again. Data folder: RECVEC_DATA.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import recvec as rv
from recvec.contract import Runtime
from recvec.data.splits import folds

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "accuracy"))

from fm_machines import Machine, Picked, Whole  # noqa: E402  of the folder beside

DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
INNER = (101, 102)  # seeds of the validation parts
PEOPLE = "gender,age,occupation"
PROBLEMS: dict[str, tuple[str, str, Machine]] = {
    "new-users": ("movielens-1m", "new-users", Whole(user_attributes=PEOPLE, balance=22.0, cold_weight=10.0)),
    "new-users-softmax": ("movielens-1m", "new-users", Picked(user_attributes=PEOPLE, cold_weight=10.0)),
    "new-items": ("movielens-100k", "new-items", Whole(item_attributes="genres")),
    "new-items-softmax": ("movielens-100k", "new-items", Picked(item_attributes="genres")),
    "new-items-ids": ("movielens-100k", "new-items", Whole()),
}


def read(name: str) -> rv.Dataset:
    """Read a data set with the attributes that are used; age is one of a few brackets."""
    folder = DATA / name
    types = {"age": "category"} if name == "movielens-1m" else {"genres": "list"}
    return rv.read(folder / "ratings.parquet", users=folder / "users.parquet", items=folder / "items.parquet", types=types)


def log_of(name: str) -> Path:
    """Return the file of a search."""
    return HERE / f"fm_ranking_{name}.json"


def score(method: Machine, split: rv.Split, runtime: Runtime) -> float:
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
    parser.add_argument("name", choices=PROBLEMS)
    parser.add_argument("--grid", type=json.loads, required=True, help="a list of changed settings")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    data_name, protocol, method = PROBLEMS[given.name]
    path, runtime, data = log_of(given.name), Runtime(threads=given.threads), read(data_name)
    log = json.loads(path.read_text()) if path.exists() else {"data": data_name, "protocol": protocol, "inner_seeds": INNER, "lines": []}
    outer = folds(data, protocol, 5, seed=0)
    for fold in map(int, given.folds.split(",")):
        parts = [folds(outer[fold].train, protocol, 5, seed=seed)[0] for seed in INNER]
        for settings in given.grid:
            if any(line["fold"] == fold and line["settings"] == settings for line in log["lines"]):
                continue
            scores = [round(score(replace(method, **settings), part, runtime), 5) for part in parts]
            log["lines"].append({"fold": fold, "settings": settings, "scores": scores})
            path.write_text(json.dumps(log, indent=1) + "\n")
            print(fold, settings, scores, round(float(np.mean(scores)), 5), flush=True)


if __name__ == "__main__":
    main()

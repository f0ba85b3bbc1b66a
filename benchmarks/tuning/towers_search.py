"""Choose the settings of `dmf` and `two-tower`, on validation parts of training parts alone.

::

    python benchmarks/tuning/towers_search.py NAME --grid JSON [--folds 0,1]

- a data set with given negatives (``ncf-movielens-1m``, ``deepcf-...``): of each of up to 3,000 users with two pairs or more one
  pair of the training part is held out at random and ranked among 99 drawn items that the user has not met; scores are HR@10 and
  NDCG@10. ``--quarter`` keeps a quarter of the users.
- ``new-users``, ``new-items``, ``new-users-dmf``, ``warm``: see `accuracy/towers.py`; for each of the five folds its own training
  part is cut by the same protocol with another seed, and the first part held out; scores are its two metrics.

Settings that are in the log already are not fitted again. Log: ``towers_<name>.json``. Data folder: RECVEC_DATA.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "accuracy"))

from towers_data import DATA, METHODS, SHOWN, outer  # noqa: E402  of the folder beside

import recvec as rv  # noqa: E402
from recvec.contract import Runtime  # noqa: E402
from recvec.data.histories import Histories  # noqa: E402
from recvec.data.interactions import Interactions  # noqa: E402
from recvec.data.splits import Split, folds  # noqa: E402

INNER = 101  # seed of the validation parts
MOST, N_NEGATIVES = 3000, 99


def held_out(data: rv.Dataset, *, quarter: bool) -> Split:
    """Return the training part without one pair of some users, and for each the items it is ranked among."""
    rng = np.random.default_rng(INNER)
    pairs = data.matrix()
    if quarter:
        chosen = np.zeros(data.n_users, bool)
        chosen[rng.permutation(data.n_users)[: data.n_users // 4]] = True
        data = data.with_interactions(data.interactions.take(chosen[data.interactions.users]))
        pairs = data.matrix()
    counts = np.diff(pairs.indptr)
    users = np.sort(rng.permutation(np.flatnonzero(counts >= 2))[:MOST])
    at = pairs.indptr[users] + (rng.random(len(users)) * counts[users]).astype(np.int64)
    kept = np.ones(pairs.nnz, bool)
    kept[at] = False
    everyone = np.repeat(np.arange(data.n_users, dtype=np.int32), counts)
    train = Interactions(users=everyone[kept], items=pairs.indices[kept].astype(np.int32))
    test = Interactions(users=users.astype(np.int32), items=pairs.indices[at].astype(np.int32))
    others: list[list[int]] = [[] for _ in range(data.n_users)]
    for user in users:
        known = set(pairs.indices[pairs.indptr[user] : pairs.indptr[user + 1]].tolist())
        drawn = rng.permutation(data.n_items)[: N_NEGATIVES + len(known)]
        others[user] = [int(j) for j in drawn if j not in known][:N_NEGATIVES]
    negatives = Histories.from_lists(others, data.n_items)
    return Split(protocol="given", seed=INNER, train=data.with_interactions(train), test=test, negatives=negatives)


def parts_of(name: str, fold: int, *, quarter: bool) -> tuple[Split, int, tuple[str, str]]:
    """Return what a setting is judged on, the length of lists, and the metrics."""
    if name not in METHODS:
        return held_out(rv.read(DATA / name / "train.parquet"), quarter=quarter), 10, ("hit_rate@10", "ndcg@10")
    train = outer(name)[fold].train
    if name == "warm":
        return rv.split(train, "random", seed=INNER), 20, SHOWN
    return folds(train, "new-items" if name == "new-items" else "new-users", 5, seed=INNER)[0], 20, SHOWN


def log_of(name: str) -> Path:
    """Return the file of a search."""
    return HERE / f"towers_{name}.json"


def best_of(name: str, fold: int) -> dict[str, Any]:
    """Return the changed settings with the best sum of both metrics on the validation part of a fold; none where nothing was tried."""
    lines = json.loads(log_of(name).read_text())["lines"] if log_of(name).exists() else []
    mine = [line for line in lines if line["fold"] == fold]
    chosen: dict[str, Any] = max(mine, key=lambda line: sum(line["scores"]))["settings"] if mine else {}
    return chosen


def main() -> None:
    """Search and write the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--grid", type=json.loads, required=True, help="a list of changed settings")
    parser.add_argument("--folds", default="0")
    parser.add_argument("--quarter", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    label, runtime = given.name + "-quarter" * given.quarter, Runtime(threads=given.threads)
    path = log_of(label)
    log = json.loads(path.read_text()) if path.exists() else {"name": label, "inner_seed": INNER, "lines": []}
    method = METHODS.get(given.name, rv.DMF())
    for fold in map(int, given.folds.split(",")):
        split, k, shown = parts_of(given.name, fold, quarter=given.quarter)
        for settings in given.grid:
            if any(line["fold"] == fold and line["settings"] == settings for line in log["lines"]):
                continue
            model = replace(method, **settings).fit(split.train, rng=0, runtime=runtime)
            metrics = rv.evaluate(model, split, k=k, runtime=runtime).metrics
            scores = [round(metrics[m], 5) for m in shown]
            log["lines"].append({"fold": fold, "settings": settings, "scores": scores})
            path.write_text(json.dumps(log, indent=1) + "\n")
            print(fold, settings, scores, flush=True)


if __name__ == "__main__":
    main()

"""Choose the settings of `als` for the accuracy benchmarks, on validation parts of the training tables only.

MovieLens-1M (NCF's split): one row of each user of the training part is held out, ranked among 99 items drawn once that
the user has not seen; mean of HR@10 and NDCG@10, over four such parts: the last rows, and three draws (one part alone
has a standard error of .005, as much as the settings differ). Gowalla and Yelp2018 (LightGCN's split): 10 % of the
training part, drawn at random; ndcg@20 of all its users over the whole catalogue. The test parts are never read.

The weight of unobserved pairs and the regularization are searched on one coarse grid at the first width of a data set;
at its other widths, only the four best points of that width before and their regularization times 2 and over 2. The
number of epochs is read off the same fits: every epoch of `EVERY` is scored.
Usage: python benchmarks/tuning/als_settings.py DATA [--out FILE]; what the file already holds is not run again; data
folder: RECVEC_DATA. Takes one to two hours a data set on two free cores.
"""

import argparse
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

import recvec as rv
from recvec.contract import Runtime
from recvec.kernels.topk import top_k
from recvec.types import F32

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RECVEC_DATA", ROOT.parent / "shared" / "data"))
WIDTHS = {"ncf-movielens-1m": (192,), "lightgcn-gowalla": (128, 64, 256), "lightgcn-yelp2018": (128, 64, 256)}
REG = {"ncf-movielens-1m": (0.005, 0.007, 0.01), "lightgcn-gowalla": (0.001, 0.003, 0.01, 0.03)}
WEIGHT = {"ncf-movielens-1m": (0.2, 0.3, 0.45), "lightgcn-gowalla": (0.002, 0.006, 0.02, 0.06)}
EPOCHS, EVERY = 16, 4
N_NEGATIVES = 99

Score = Callable[[F32, F32], float]


def main() -> None:
    """Search one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=WIDTHS)
    parser.add_argument("--out", type=Path, help="log (default: beside this file)")
    given = parser.parse_args()
    name = given.data
    out = given.out or Path(__file__).with_name(f"als_{name.split('-')[-1]}.json")
    log = json.loads(out.read_text()) if out.exists() else []
    data = rv.read(DATA / name / "train.parquet")
    if name.startswith("ncf"):
        parts = [(cut, among_negatives(cut)) for cut in one_each(data)]
    else:
        cut = rv.split(data, "random", seed=0)
        parts = [(cut, over_catalogue(cut))]
    regs, weights = REG.get(name, REG["lightgcn-gowalla"]), WEIGHT.get(name, WEIGHT["lightgcn-gowalla"])
    points = [(r, w) for w in weights for r in regs]
    for d in WIDTHS[name]:
        for reg, weight in points:
            if not any((row["d"], row["reg"], row["weight"]) == (d, reg, weight) for row in log):
                log.append({"d": d, "reg": reg, "weight": weight, **scored(parts, d, reg, weight)})
                out.write_text("[\n" + ",\n".join(map(json.dumps, log)) + "\n]\n")
                print(log[-1], flush=True)
        mine = sorted((row for row in log if row["d"] == d), key=lambda row: -row["best"])[:4]
        points = sorted({(row["reg"] * factor, row["weight"]) for row in mine for factor in (0.5, 1, 2)})


def one_each(data: rv.Dataset) -> list[rv.Split]:
    """Return the cuts that hold out the last row of each user, and a random one, three times."""
    cuts = [rv.split(data, "leave-last-out", seed=0)]
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(data.interactions))
        cuts.append(rv.split(data.with_interactions(data.interactions.take(order)), "leave-last-out", seed=0))
    return cuts


def scored(parts: list[tuple[rv.Split, Score]], d: int, reg: float, weight: float) -> dict[str, object]:
    """Return the mean score over the parts after every few epochs, and the best of them."""
    curves = []
    for cut, score in parts:
        model = rv.ALS(embedding_dim=d, reg=reg, unobserved_weight=weight, epochs=EPOCHS).fit(cut.train, monitor=sometimes(score))
        curves.append([point["monitor"] for point in model.curve])
    means = np.round(np.mean(curves, axis=0), 5).tolist()
    curve = {epoch: means[epoch - 1] for epoch in range(EVERY, EPOCHS + 1, EVERY)}
    best = max(curve, key=lambda epoch: curve[epoch])
    return {"best": curve[best], "epochs": best, "curve": curve}


def sometimes(score: Score) -> Score:
    """Return the score of every few epochs, 0 for the others."""
    epochs = itertools.count(1)
    return lambda users, items: 0.0 if next(epochs) % EVERY else score(users, items)


def over_catalogue(cut: rv.Split) -> Score:
    """Return ndcg@20 over all items, without those of the training part."""
    wanted, known = cut.train.with_interactions(cut.test).matrix(), cut.train.matrix()
    people = np.flatnonzero(np.diff(wanted.indptr))
    mine, gains = known[people], 1 / np.log2(np.arange(2, 22))

    def score(users: F32, items: F32) -> float:
        lists, _ = top_k(users[people], items, 20, exclude=(mine.indptr, mine.indices), executor=Runtime().executor)
        hits = np.zeros(lists.shape, bool)
        for at, u in enumerate(people):
            hits[at] = np.isin(lists[at], wanted.indices[wanted.indptr[u] : wanted.indptr[u + 1]])
        ideal = np.cumsum(gains)[np.minimum(np.diff(wanted.indptr)[people], 20) - 1]
        return float(((hits * gains).sum(axis=1) / ideal).mean())

    return score


def among_negatives(cut: rv.Split) -> Score:
    """Return the mean of HR@10 and NDCG@10 of the held-out item among items that the user has not seen."""
    known, wanted = cut.train.matrix(), cut.train.with_interactions(cut.test).matrix()
    people = np.flatnonzero(np.diff(wanted.indptr))
    rng, n_items = np.random.default_rng(0), cut.train.n_items
    lists = np.empty((len(people), 1 + N_NEGATIVES), np.int64)
    for at, u in enumerate(people):
        seen = [*known.indices[known.indptr[u] : known.indptr[u + 1]], wanted.indices[wanted.indptr[u]]]
        lists[at] = [seen[-1], *rng.choice(np.setdiff1d(np.arange(n_items), seen), N_NEGATIVES, replace=False)]

    def score(users: F32, items: F32) -> float:
        scores = np.einsum("ud,und->un", users[people], items[lists])
        rank = (scores[:, 1:] > scores[:, :1]).sum(axis=1) + 0.5 * (scores[:, 1:] == scores[:, :1]).sum(axis=1)
        return float((np.where(rank < 10, 1.0, 0.0) + np.where(rank < 10, 1 / np.log2(rank + 2), 0.0)).mean() / 2)

    return score


if __name__ == "__main__":
    main()

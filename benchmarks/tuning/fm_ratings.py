"""How many iterations of a Bayesian factorization machine to leave out, on validation parts of MovieLens-100K.

::

    python benchmarks/tuning/fm_ratings.py

From the training part of each of u1 to u3, 8,000 rows are held out at random; the test parts are never read. Ids only, rank 10,
two seeds. Result: ``fm_ratings.json``, RMSE for each range of draws, numbered from the first iteration.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speed"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "accuracy"))
from fm_features import read, relations
from harness import write_result

from recvec.contract.runtime import Threads
from recvec.kernels.fm_gibbs import draw
from recvec.kernels.fm_gibbs_posterior import Posterior, predict

RANGES = ((5, 50), (5, 100), (20, 100), (5, 200), (10, 200), (25, 200), (67, 200))
VALIDATION = 8000


def main() -> None:
    """Learn, judge, print and write."""
    data, executor, rows = read("movielens-100k"), Threads(), []
    for k in range(1, 4):
        train = np.flatnonzero(~data.table[f"in_u{k}_test"].to_numpy())
        train = np.random.default_rng(k).permutation(train)
        learned, asked = relations(data, train[VALIDATION:], [train[VALIDATION:], train[:VALIDATION]])
        stars, truth = data.stars[train[VALIDATION:]], data.stars[train[:VALIDATION]]
        for seed in (0, 1):
            rng = np.random.default_rng(seed)
            draws = draw(learned, stars, rank=10, n_iterations=200, n_kept=200, rng=rng, executor=executor)
            for first, end in RANGES:
                mean, _ = predict(_part(draws, first, end), asked, executor=executor)
                rmse = round(float(np.sqrt(np.mean((mean.clip(1, 5) - truth) ** 2))), 5)
                rows.append({"part": f"u{k}", "seed": seed, "first": first, "end": end, "rmse": rmse})
                print(rows[-1], flush=True)
    means = [{"first": a, "end": b, "rmse": _mean(rows, a, b)} for a, b in RANGES]
    write_result(Path(__file__).with_suffix(".json"), {"means": means, "rows": rows})


def _part(draws: Posterior, first: int, end: int) -> Posterior:
    return replace(draws, **{name: getattr(draws, name)[first:end] for name in ("bias", "linear", "factors", "noise", "cutpoints")})


def _mean(rows: list[dict[str, object]], first: int, end: int) -> float:
    return round(float(np.mean([row["rmse"] for row in rows if (row["first"], row["end"]) == (first, end)])), 5)


if __name__ == "__main__":
    main()

"""Bayesian factorization machines by myFM; runs in the peer's environment (numpy, scipy, myfm).

``myfm_fm.py FOLDER RANK ITERATIONS KEPT SEED``: fits with relation blocks, predicts, and prints one line of JSON: the seconds
of the fit, those of each iteration, and the seconds of the prediction. The predictions go to ``peer_predictions.npy``.

FOLDER holds targets.npy, blocks.npy (their number), and for each block b: ``b_features.npz`` (rows x features), ``b_groups.npy``, and
``b_rows.npy`` and ``b_test_rows.npy``, the row of each observation.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import myfm
import numpy as np
from myfm import RelationBlock
from scipy import sparse


def main(folder: Path, rank: int, iterations: int, kept: int, seed: int) -> None:
    """Fit, predict and print."""
    count, targets = int(np.load(folder / "blocks.npy")), np.load(folder / "targets.npy")
    features = [sparse.csr_matrix(sparse.load_npz(folder / f"{b}_features.npz"), dtype=np.float64) for b in range(count)]
    groups, first = [], 0
    for b in range(count):
        own = np.load(folder / f"{b}_groups.npy")
        groups.append(own + first)
        first += int(own.max()) + 1
    train, test = (_relations(folder, name, features) for name in ("rows", "test_rows"))
    model, stamps = myfm.MyFMRegressor(rank=rank, random_seed=seed), []

    def stamp(*_: Any) -> tuple[bool, str]:
        stamps.append(time.perf_counter())
        return False, ""

    begin = time.perf_counter()
    grouping = np.concatenate(groups).tolist()
    model.fit(
        None, targets, X_rel=train, n_iter=iterations, n_kept_samples=kept, group_shapes=None, grouping=shapes.tolist(), callback=stamp
    )
    seconds, begin = time.perf_counter() - begin, time.perf_counter()
    np.save(folder / "peer_predictions.npy", model.predict(None, test))
    told = {"seconds": seconds, "iterations": np.diff(stamps).tolist(), "predict": time.perf_counter() - begin}
    print(json.dumps(told | {"versions": {"myfm": myfm.__version__, "numpy": np.__version__}}))


def _relations(folder: Path, name: str, features: list[Any]) -> list[Any]:
    return [RelationBlock(np.load(folder / f"{b}_{name}.npy").astype(np.int64), block) for b, block in enumerate(features)]


if __name__ == "__main__":
    work, *numbers = sys.argv[1:]
    main(Path(work), *(int(number) for number in numbers))

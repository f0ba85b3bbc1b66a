"""Bayesian personalized ranking by implicit; runs in the peer's environment (numpy, scipy, implicit, threadpoolctl).

``implicit_bpr.py FOLDER EPOCHS THREADS FACTORS LEARNING_RATE REG KEEP``: fits and prints one line of JSON, the seconds of
the fit. With KEEP 1 the factors go to ``peer_users.npy`` and ``peer_items.npy``, with a column for the item bias.

FOLDER holds indptr.npy, indices.npy and shape.npy (users x items).
"""

import json
import sys
import time
from pathlib import Path

import implicit
import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy import sparse
from threadpoolctl import threadpool_limits


def main(folder: Path, epochs: int, threads: int, factors: int, learning_rate: float, reg: float, *, keep: bool) -> None:
    """Fit and print."""
    indptr, indices = np.load(folder / "indptr.npy"), np.load(folder / "indices.npy")
    shape = tuple(int(n) for n in np.load(folder / "shape.npy"))
    train = sparse.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
    model = BayesianPersonalizedRanking(
        factors=factors, learning_rate=learning_rate, regularization=reg, iterations=epochs, num_threads=threads, random_state=0
    )
    with threadpool_limits(1, "blas"):
        begin = time.perf_counter()
        model.fit(train, show_progress=False)
        seconds = time.perf_counter() - begin
    if keep:
        np.save(folder / "peer_users.npy", model.user_factors)
        np.save(folder / "peer_items.npy", model.item_factors)
    print(json.dumps({"seconds": seconds, "versions": {"implicit": implicit.__version__, "numpy": np.__version__}}))


if __name__ == "__main__":
    work, epochs, threads, factors, learning_rate, reg, keep = sys.argv[1:]
    main(Path(work), int(epochs), int(threads), int(factors), float(learning_rate), float(reg), keep=keep == "1")

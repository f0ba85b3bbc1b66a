"""Alternating least squares by implicit; runs in the peer's environment (numpy, scipy, implicit, threadpoolctl).

``implicit_als.py FOLDER EPOCHS THREADS CONFIDENCE REG KEEP``: fits from the start factors in FOLDER and prints one
line of JSON, the seconds of each epoch. With KEEP 1 the factors after epoch e go to ``peer_users_e.npy`` and
``peer_items_e.npy``, outside the timing.

FOLDER holds indptr.npy, indices.npy, shape.npy (users x items), users.npy and items.npy (the start).
"""

import json
import sys
from pathlib import Path

import implicit
import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits


def main(folder: Path, epochs: int, threads: int, confidence: float, reg: float, *, keep: bool) -> None:
    """Fit and print."""
    indptr, indices = np.load(folder / "indptr.npy"), np.load(folder / "indices.npy")
    shape = tuple(int(n) for n in np.load(folder / "shape.npy"))
    train = sparse.csr_matrix((np.full(len(indices), confidence, np.float32), indices, indptr), shape=shape)
    users, items = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    model = AlternatingLeastSquares(
        factors=users.shape[1], regularization=reg, alpha=1.0, use_cg=True, iterations=epochs, num_threads=threads
    )
    model.user_factors, model.item_factors = users, items
    seconds: list[float] = []

    def end_epoch(epoch: int, elapsed: float, _loss: float | None = None) -> None:
        seconds.append(elapsed)
        if keep:
            np.save(folder / f"peer_users_{epoch}.npy", model.user_factors)
            np.save(folder / f"peer_items_{epoch}.npy", model.item_factors)

    with threadpool_limits(1, "blas"):  # as implicit itself advises: its own threads call BLAS
        model.fit(train, show_progress=False, callback=end_epoch)
    print(json.dumps({"seconds": seconds, "versions": {"implicit": implicit.__version__, "numpy": np.__version__}}))


if __name__ == "__main__":
    work, epochs, threads, confidence, reg, keep = sys.argv[1:]
    main(Path(work), int(epochs), int(threads), float(confidence), float(reg), keep=keep == "1")

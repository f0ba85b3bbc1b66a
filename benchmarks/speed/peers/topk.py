"""Top-k by implicit and faiss; runs in the peers' environment (numpy, scipy, implicit, faiss-cpu).

``topk.py fit FOLDER D``: fits implicit's ALS on the CSR matrix in FOLDER and writes users.npy and items.npy there.
``topk.py search FOLDER K THREADS``: lists the K best items of each user by both libraries, once each after a
warm-up, writes faiss.npy (its rows), and prints one line of JSON.

FOLDER holds indptr.npy, indices.npy, shape.npy (users x items) and, for ``search``, users.npy and items.npy.
"""

import json
import sys
import time
from pathlib import Path

import faiss
import implicit
import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits


def fit(folder: Path, d: int) -> dict[str, object]:
    """Fit implicit's ALS: 10 iterations, alpha 20, reg 10."""
    model = implicit.als.AlternatingLeastSquares(factors=d, iterations=10, alpha=20.0, regularization=10.0, random_state=0)
    with threadpool_limits(1, "blas"):
        model.fit(_train(folder), show_progress=False)
    np.save(folder / "users.npy", model.user_factors)
    np.save(folder / "items.npy", model.item_factors)
    return {"users": model.user_factors.shape, "items": model.item_factors.shape}


def search(folder: Path, k: int, threads: int) -> dict[str, object]:
    """Time both libraries; implicit leaves the training items out, faiss does not."""
    users, items, train = np.load(folder / "users.npy"), np.load(folder / "items.npy"), _train(folder)
    model = implicit.als.AlternatingLeastSquares(factors=users.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = users, items
    everyone = np.arange(len(users))
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)

    model.recommend(everyone[:2000], train[:2000], N=k, filter_already_liked_items=True)
    index.search(users[:2000], k)
    with threadpool_limits(1, "blas"):  # as implicit itself advises: its own threads call BLAS
        start = time.perf_counter()
        model.recommend(everyone, train, N=k, filter_already_liked_items=True)
        implicit_s = time.perf_counter() - start
    start = time.perf_counter()
    _, rows = index.search(users, k)
    faiss_s = time.perf_counter() - start
    np.save(folder / "faiss.npy", rows.astype(np.int32))
    versions = {"implicit": implicit.__version__, "faiss": faiss.__version__, "numpy": np.__version__}
    return {"implicit_s": implicit_s, "faiss_s": faiss_s, "versions": versions}


def _train(folder: Path) -> sparse.csr_matrix:
    indptr, indices = np.load(folder / "indptr.npy"), np.load(folder / "indices.npy")
    shape = tuple(int(n) for n in np.load(folder / "shape.npy"))
    return sparse.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=shape)


if __name__ == "__main__":
    work, folder = sys.argv[1], Path(sys.argv[2])
    answer = fit(folder, int(sys.argv[3])) if work == "fit" else search(folder, int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(answer))

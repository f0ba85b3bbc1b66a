"""256 singular triplets of real interaction matrices against scipy's svds, both with vectors, in turn.

::

    python benchmarks/speed/svd.py [--data lightgcn-gowalla]

The matrices are those that `svd` decomposes: D_u^-1/2 R D_i^-1/2 in float32. svds is ARPACK in float32, with the
threads of its BLAS as ours. Both are judged by the singular values that svds finds in float64. The parts of our time
come from one more run, so that taking them costs the others nothing. Compilation is left out. Results of other data
sets in the same file are kept.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from harness import RESULTS, machine, ratio, times, write_result
from scipy.sparse.linalg import svds
from threadpoolctl import threadpool_limits

from data import folder
from recvec.contract.runtime import Threads, available_cores
from recvec.kernels import factorization

TABLES = {
    "lightgcn-gowalla": "lightgcn-gowalla/train.parquet",
    "lightgcn-yelp2018": "lightgcn-yelp2018/train.parquet",
    "movielens-1m": "movielens-1m/ratings.parquet",
}
PARTS = {
    "_multiply": "sparse products",
    "_leave": "reorthogonalization",
    "_orthonormalize": "within blocks",
    "crossed": "inner products",
    "_largest": "eigenvectors of the projection",
    "_combine": "left vectors",
}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=TABLES, action="append", help="data set (default: all)")
    parser.add_argument("--triplets", type=int, default=256)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--state", default="not said", help="what else ran, for the record")
    parser.add_argument("--out", type=Path, default=RESULTS / "svd.json")
    given = parser.parse_args()
    result: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    result |= {"machine": machine(), "threads": given.threads, "triplets": given.triplets, "state": given.state}
    for name in given.data or TABLES:
        result[name] = _compare(_normalized(folder() / TABLES[name]), given.triplets, given.threads, given.repetitions)
        print(name, result[name], flush=True)
    write_result(given.out, result)


def _normalized(path: Path) -> sp.csr_array:
    table = pl.read_parquet(path, columns=["user_id", "item_id"]).unique()
    users, items = (table[c].rank("dense").to_numpy() - 1 for c in ("user_id", "item_id"))
    matrix = sp.csr_array(sp.coo_array((np.ones(len(users), np.float32), (users, items))).tocsr())
    roots = [np.maximum(matrix.sum(axis=axis), 1) ** -0.5 for axis in (1, 0)]
    return sp.csr_array(sp.diags_array(roots[0]) @ matrix @ sp.diags_array(roots[1])).astype(np.float32)


def _compare(matrix: sp.csr_array, k: int, threads: int, repetitions: int) -> dict[str, Any]:
    exact = svds(matrix.astype(np.float64), k=k, random_state=0, return_singular_vectors=False)[::-1]
    ours: list[float] = []
    theirs: list[float] = []
    _ours(matrix, k, threads)  # compiles
    for _ in range(repetitions):
        ours.append(_seconds(lambda: _ours(matrix, k, threads)))
        with threadpool_limits(threads):
            theirs.append(_seconds(lambda: svds(matrix, k=k, random_state=0)))
    u, s, v = _ours(matrix, k, threads)
    same = all(np.array_equal(a, b) for a, b in zip((u, s, v), _ours(matrix, k, 1), strict=True))
    return {
        "shape": list(matrix.shape),
        "interactions": int(matrix.nnz),
        "ours": times(ours),
        "svds": times(theirs),
        "ratio": ratio(ours, theirs),
        "singular_values": {
            "largest_relative_error": float(np.abs(s / exact - 1).max()),
            "svds_float32": float(np.abs(svds(matrix, k=k, random_state=0)[1][::-1] / exact - 1).max()),
        },
        "orthogonality": {"left": _distance(u), "right": _distance(v)},
        "same_bits_on_one_thread": same,
        "parts_s": _parts(matrix, k, threads),
    }


def _ours(matrix: sp.csr_array, k: int, threads: int) -> Any:
    return factorization.truncated_svd(matrix, k, rng=np.random.default_rng(0), executor=Threads(threads))


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _distance(vectors: Any) -> float:
    """Return the largest entry of V'V - I."""
    return float(np.abs(vectors.T.astype(np.float64) @ vectors - np.eye(vectors.shape[1])).max())


def _parts(matrix: sp.csr_array, k: int, threads: int) -> dict[str, float]:
    """Time the parts of one run; what happens inside of another part counts with the outer one."""
    found: dict[str, float] = defaultdict(float)
    kept = {name: getattr(factorization, name) for name in PARTS}
    inside: list[str] = []

    def timed(name: str) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            inside.append(name)
            started = time.perf_counter()
            try:
                return kept[name](*given)
            finally:
                inside.pop()
                if not inside:
                    found[PARTS[name]] += time.perf_counter() - started

        return run

    for name in PARTS:
        setattr(factorization, name, timed(name))
    try:
        whole = _seconds(lambda: _ours(matrix, k, threads))
    finally:
        for name, function in kept.items():
            setattr(factorization, name, function)
    return {name: round(seconds, 4) for name, seconds in found.items()} | {"the rest": round(whole - sum(found.values()), 4)}


if __name__ == "__main__":
    main()

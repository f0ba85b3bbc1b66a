"""One layer of propagation over a graph: our sparse product against scipy's and torch's, and its memory at 100 million edges.

::

    python benchmarks/speed/graph.py products     Gowalla, both directions at d 64; needs torch
    python benchmarks/speed/graph.py scale        100 million generated edges at d 64

A layer is what LightGCN calls so: users become the sum of their items and items that of their users, with the normalized
edges, 64 columns in float32. The three take turns; scipy has one thread, torch as many as we. The generated graph has a
million users with a hundred edges each and 200,000 items, of which few have most of the edges; its peak is the largest
resident size that the system counted for the process, which holds the graph in both directions, vectors and results.
Compilation is left out. The result of the other case in the file is kept.
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from harness import RESULTS, machine, ratio, times, write_result

from data import folder
from recvec.contract.runtime import Threads, available_cores
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.walks import normalized
from recvec.types import F32, Executor

D = 64
USERS, ITEMS, EDGES_OF_A_USER = 1_000_000, 200_000, 100


def main() -> None:
    """Measure one case, print it and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=("products", "scale"))
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--state", default="not said", help="what else ran, for the record")
    parser.add_argument("--out", type=Path, default=RESULTS / "graph.json")
    given = parser.parse_args()
    result: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    measure = products if given.case == "products" else scale
    found = measure(given.threads, given.repetitions)
    print(found)
    write_result(given.out, {**result, "machine": machine(), given.case: {"threads": given.threads, "state": given.state, **found}})


def layer(by_user: sp.csr_array, by_item: sp.csr_array, users: F32, items: F32, executor: Executor) -> tuple[F32, F32]:
    """Return the users and items of the next layer."""
    return sparse_dense(by_user, items, executor=executor), sparse_dense(by_item, users, executor=executor)


def products(threads: int, repetitions: int) -> dict[str, Any]:
    """Take turns with scipy and torch on Gowalla."""
    import torch

    table = pl.read_parquet(folder() / "lightgcn-gowalla/train.parquet", columns=["user_id", "item_id"]).unique()
    users, items = (table[c].rank("dense").to_numpy() - 1 for c in ("user_id", "item_id"))
    graph = normalized(sp.csr_array(sp.coo_array((np.ones(len(users), np.float32), (users, items))).tocsr()))
    rng = np.random.default_rng(0)
    u, i = (rng.standard_normal((n, D), dtype=np.float32) for n in graph.by_user.shape)
    torch.set_num_threads(threads)
    tensors = [
        torch.sparse_csr_tensor(torch.from_numpy(m.indptr), torch.from_numpy(m.indices), torch.from_numpy(m.data), m.shape)
        for m in (graph.by_user, graph.by_item)
    ]
    u_tensor, i_tensor = torch.from_numpy(u), torch.from_numpy(i)
    sides = {
        "ours": lambda: layer(graph.by_user, graph.by_item, u, i, Threads(threads)),
        "scipy": lambda: (graph.by_user @ i, graph.by_item @ u),
        "torch": lambda: (tensors[0] @ i_tensor, tensors[1] @ u_tensor),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    answers = {name: [np.asarray(part) for part in side()] for name, side in sides.items()}  # compiled and warm
    for _ in range(repetitions):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - started)
    far = {name: max(float(np.abs(a - b).max()) for a, b in zip(answers["ours"], answers[name], strict=True)) for name in sides}
    return {
        "edges": int(graph.by_user.nnz),
        "columns": D,
        "torch_version": torch.__version__,
        **{name: {**times(taken), "largest_difference": far[name]} for name, taken in seconds.items()},
        "ours_over": {name: ratio(seconds["ours"], seconds[name]) for name in ("scipy", "torch")},
    }


def scale(threads: int, _repetitions: int) -> dict[str, Any]:
    """Propagate once over a large graph."""
    rng = np.random.default_rng(0)
    indices = np.empty(USERS * EDGES_OF_A_USER, np.int32)
    for start in range(0, len(indices), 10_000_000):
        indices[start : start + 10_000_000] = rng.random(10_000_000, dtype=np.float32) ** 3 * ITEMS
    indptr = np.arange(0, len(indices) + 1, EDGES_OF_A_USER, dtype=np.int64)
    data = np.full(len(indices), 0.01, np.float32)
    by_user = sp.csr_array((data, indices, indptr), shape=(USERS, ITEMS))
    by_item = sp.csr_array(by_user.T.tocsr())
    users, items = (rng.standard_normal((n, D), dtype=np.float32) for n in (USERS, ITEMS))
    layer(by_user[:100], sp.csr_array(by_user[:100].T.tocsr()), users[:100], items, Threads(threads))  # compiled and warm
    graph = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    layer(by_user, by_item, users, items, Threads(threads))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "edges": len(indices),
        "users": USERS,
        "items": ITEMS,
        "columns": D,
        "layer_seconds": round(seconds, 2),
        "peak_memory_gb": round(peak * 1024 / 1e9, 2),
        "peak_memory_before_gb": round(graph * 1024 / 1e9, 2),
    }


if __name__ == "__main__":
    main()

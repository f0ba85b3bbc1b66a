"""Exact top-20 for every Gowalla user, training items left out, against implicit and faiss.

::

    python benchmarks/speed/topk.py --peer-python PEERS/bin/python

29,858 users x 40,981 items, 128 columns. Two sets of factors: seeded normal ones whose columns decay as in a
real spectrum, and implicit's own ALS factors. implicit's ``recommend`` leaves the training items out as ours
does; faiss ``IndexFlatIP`` does not, so its lists are compared with ours without exclusion. The sides take turns,
each in a process of its own; only their ratio means something. Data: the folder that RECVEC_DATA names.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import PEERS, RESULTS, add_peer_options, machine, ratio, run_peer, times, write_result

from data import gowalla
from recvec.contract.runtime import Threads, available_cores
from recvec.kernels.topk import top_k
from recvec.types import F32, Array

K, D = 20, 128
SERVING_ITEMS = (40_981, 1_000_000)


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_peer_options(parser)
    parser.add_argument("--out", type=Path, default=RESULTS / "topk.json")
    given = parser.parse_args()
    threads = given.threads or available_cores()
    train, _ = gowalla()
    exclude = train.indptr, train.indices

    result: dict[str, Any] = {"machine": machine(), "threads": threads, "k": K, "d": D, "shape": list(train.shape)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, array in (("indptr", train.indptr), ("indices", train.indices), ("shape", np.array(train.shape))):
            np.save(folder / part, array)
        for kind, (users, items) in _factors(folder, given.peer_python, *train.shape).items():
            np.save(folder / "users", users)
            np.save(folder / "items", items)
            result[kind] = _compare(users, items, exclude, folder, given.peer_python, threads, given.repetitions)
            print(kind, result[kind], flush=True)
    result["scaling"] = _scaling(users, items, exclude, given.repetitions)
    result["one_query"] = {str(n): _one_query(n, threads) for n in SERVING_ITEMS}
    write_result(given.out, result)
    print({name: result[name] for name in ("scaling", "one_query")})


def _factors(folder: Path, peer_python: str | None, n_users: int, n_items: int) -> dict[str, tuple[F32, F32]]:
    """Return the factors by name; those of ALS come from the peer."""
    rng = np.random.default_rng(0)
    decay = (np.arange(1, D + 1) ** -0.5).astype(np.float32)
    users, items = (rng.standard_normal((n, D), np.float32) * decay for n in (n_users, n_items))
    factors = {"decaying_spectrum": (users, items)}
    if peer_python:
        run_peer(peer_python, PEERS / "topk.py", ["fit", folder, D])
        factors["als"] = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    return factors


def _compare(
    users: F32, items: F32, exclude: tuple[Array, Array], folder: Path, peer_python: str | None, threads: int, repetitions: int
) -> dict[str, Any]:
    """Take turns; the first of ours is a warm-up, as each of the peer's processes has one."""
    executor = Threads(threads)
    rows, _ = top_k(users, items, K, executor=executor)
    ours, plain, peers = [], [], []
    busy = 0.0
    for _ in range(repetitions):
        before = time.process_time()
        ours.append(_seconds(lambda: top_k(users, items, K, exclude=exclude, executor=executor)))
        busy += time.process_time() - before
        plain.append(_seconds(lambda: top_k(users, items, K, executor=executor)))
        if peer_python:
            peers.append(run_peer(peer_python, PEERS / "topk.py", ["search", folder, K, threads]))
    result: dict[str, Any] = {"recvec": times(ours), "recvec_without_exclusion": times(plain)}
    result["cores_used"] = round(busy / sum(ours), 2)  # well below `threads`: something else was running, measure again
    if not peer_python:
        return result
    implicit_s, faiss_s = [p["implicit_s"] for p in peers], [p["faiss_s"] for p in peers]
    return result | {
        "implicit": times(implicit_s),
        "faiss_without_exclusion": times(faiss_s),
        "ratio_to_implicit": ratio(ours, implicit_s),
        "ratio_to_faiss": ratio(ours, faiss_s),
        "ratio_to_faiss_both_without_exclusion": ratio(plain, faiss_s),
        "peer_versions": peers[0]["versions"],
        "agreement_with_faiss": _agreement(users, items, rows, np.load(folder / "faiss.npy")),
    }


def _agreement(users: F32, items: F32, rows: Array, peer_rows: Array) -> dict[str, Any]:
    """Return how many users have the same set, and how far the scores of the others' k-th items are apart."""
    differ = np.flatnonzero((np.sort(rows, axis=1) != np.sort(peer_rows, axis=1)).any(axis=1))
    gaps = []
    for u in differ:
        scores = items.astype(np.float64)[np.stack([rows[u], peer_rows[u]])] @ users[u].astype(np.float64)
        gaps.append(abs(scores[0].min() - scores[1].min()) / abs(scores[0].min()))
    return {"same_sets": len(users) - len(differ), "of": len(users), "largest_relative_gap": max(gaps, default=0.0)}


def _scaling(users: F32, items: F32, exclude: tuple[Array, Array], repetitions: int) -> dict[str, Any]:
    """Return the times of one thread and of two, in turns, and how much faster two are."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repetitions):
        for n, runs in seconds.items():
            runs.append(_seconds(lambda n=n: top_k(users, items, K, exclude=exclude, executor=Threads(n))))
    return {f"{n}_threads": times(runs) for n, runs in seconds.items()} | {"speedup": ratio(seconds[1], seconds[2])}


def _one_query(n_items: int, threads: int) -> dict[str, Any]:
    """Return the latency of one query, next to the bare matrix-vector product by BLAS with its own threads."""
    rng = np.random.default_rng(0)
    items, query = rng.standard_normal((n_items, D), np.float32), rng.standard_normal((1, D), np.float32)
    executor = Threads(threads)
    ours = [_seconds(lambda: top_k(query, items, K, executor=executor)) for _ in range(22)][2:]
    bare = [_seconds(lambda: query @ items.T) for _ in range(22)][2:]
    return {"recvec": times(ours), "product": times(bare), "ratio": ratio(ours, bare)}


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

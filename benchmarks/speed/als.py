"""One epoch of alternating least squares, against implicit at equal loss.

::

    python benchmarks/speed/als.py --peer-python PEERS/bin/python

Gowalla (LightGCN split, training part) and 23.7 M synthetic interactions, at 64 and 128 columns. Both sides minimize
the objective of implicit (confidence 2, regularization .01) from the same start; implicit takes its three steps of
conjugate gradient, ours two preconditioned ones. After each epoch both are judged by that objective, in float64:
ours may be at most 1.001 times theirs, or the benchmark fails. The sides take turns; a run's time is the median over
its epochs, and only ratios mean something. Compilation, reading and judging are left out: ours warms up on a few
rows, implicit is compiled. Data: the folder that RECVEC_DATA names.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import PEERS, RESULTS, add_peer_options, machine, ratio, run_peer, times, write_result
from scipy import sparse

from data import gowalla, synthetic
from recvec.contract.runtime import Threads, available_cores
from recvec.kernels.least_squares import WeightedRows, gramian, half_step
from recvec.types import F32

CONFIDENCE, REG, CG_STEPS = 2.0, 0.01, 2
WIDTHS = (64, 128)
EPOCHS = {"gowalla": 15, "synthetic": 5}
ALLOWED = 1.001  # our loss over the peer's, after each epoch
Factors = tuple[F32, F32]


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_peer_options(parser)
    parser.add_argument("--data", choices=EPOCHS, action="append", help="data set (default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS / "als.json")
    given = parser.parse_args()
    threads = given.threads or available_cores()

    result: dict[str, Any] = {"machine": machine(), "threads": threads, "confidence": CONFIDENCE, "reg": REG}
    result |= {"cg_steps": {"ours": CG_STEPS, "peer": 3}}
    for name in given.data or EPOCHS:
        train = gowalla()[0] if name == "gowalla" else synthetic()
        result[name] = {"shape": list(train.shape), "interactions": int(train.nnz), "epochs": EPOCHS[name]}
        for d in WIDTHS:
            result[name][f"d{d}"] = _compare(train, d, EPOCHS[name], given.peer_python, threads, given.repetitions)
            print(name, d, result[name][f"d{d}"], flush=True)
    write_result(given.out, result)


def _compare(train: sparse.csr_matrix, d: int, epochs: int, peer: str | None, threads: int, repetitions: int) -> dict[str, Any]:
    """Run both sides in turn; the losses come from the first pair of runs, which keeps the factors of each epoch."""
    ours: list[float] = []
    theirs: list[float] = []
    answer: dict[str, Any] = {}
    start = _start(train.shape, d)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _hand_over(folder, train, start)
        for repetition in range(repetitions):
            kept: list[Factors] | None = [] if repetition == 0 else None
            ours.append(statistics.median(_run(train, start, epochs, threads, kept)))
            if peer:
                args = (folder, epochs, threads, CONFIDENCE, REG, int(repetition == 0))
                told = run_peer(peer, PEERS / "implicit_als.py", args, threads=threads)
                theirs.append(statistics.median(told["seconds"]))
                answer["peer_versions"] = told["versions"]
            if kept:
                answer["loss"] = _losses(train, kept, folder if peer else None)
    answer["ours"] = times(ours)
    if peer:
        answer |= {"implicit": times(theirs), "ratio": ratio(ours, theirs)}
    single = [statistics.median(_run(train, start, epochs, 1, None)) for _ in range(2)]
    answer["one_thread"] = times(single) | {"speedup": round(statistics.median(single) / statistics.median(ours), 3)}
    return answer


def _start(shape: tuple[int, int], d: int) -> Factors:
    rng = np.random.default_rng(0)
    users, items = ((0.01 * rng.standard_normal((n, d))).astype(np.float32) for n in shape)
    return users, items


def _hand_over(folder: Path, train: sparse.csr_matrix, start: Factors) -> None:
    """Write what the peer reads."""
    arrays = {"indptr": train.indptr, "indices": train.indices, "shape": np.array(train.shape)}
    for name, array in (arrays | dict(zip(("users", "items"), start, strict=True))).items():
        np.save(folder / name, array)


def _run(train: sparse.csr_matrix, start: Factors, epochs: int, threads: int, kept: list[Factors] | None) -> list[float]:
    """Return the seconds of each epoch; factors after each epoch are added to `kept`."""
    executor = Threads(threads)
    linear, quadratic = (np.full(train.nnz, weight, np.float32) for weight in (CONFIDENCE, CONFIDENCE - 1))
    transposed = train.T.tocsr()
    by_user = WeightedRows(train.indptr, train.indices, quadratic, linear)
    by_item = WeightedRows(transposed.indptr, transposed.indices, quadratic, linear)

    def solve(side: F32, rows: WeightedRows, fixed: F32) -> F32:
        reg = np.full(len(side), REG, np.float32)
        gram = gramian(fixed, executor=executor)
        return half_step(side, rows, fixed, gram, reg, cg_steps=CG_STEPS, executor=executor)

    users, items = start
    few = WeightedRows(train.indptr[:9], train.indices, quadratic, linear)
    solve(users[:8], few, items)  # compiles, or reads the compiled code
    seconds = []
    for _ in range(epochs):
        begin = time.perf_counter()
        users = solve(users, by_user, items)
        items = solve(items, by_item, users)
        seconds.append(time.perf_counter() - begin)
        if kept is not None:
            kept.append((users, items))
    return seconds


def _losses(train: sparse.csr_matrix, kept: list[Factors], folder: Path | None) -> dict[str, Any]:
    """Return the losses after each epoch; fails where ours is not as good as the peer's."""
    losses: dict[str, Any] = {"ours": [_loss(train, *factors) for factors in kept]}
    if folder:
        losses["implicit"] = []
        for epoch in range(len(kept)):
            users, items = (np.load(folder / f"peer_{side}_{epoch}.npy") for side in ("users", "items"))
            losses["implicit"].append(_loss(train, users, items))
        worst = max(a / b for a, b in zip(losses["ours"], losses["implicit"], strict=True))
        losses["largest_ratio"] = round(worst, 6)
        if worst > ALLOWED:
            raise SystemExit(f"the losses are not equal: ours is {worst:.5f} times the peer's ({losses})")
    return losses


def _loss(train: sparse.csr_matrix, users: F32, items: F32) -> float:
    """Return implicit's objective over the number of cells: c (1 - s)^2 where observed, else s^2, plus reg |vectors|^2."""
    observed = 0.0
    rows = np.repeat(np.arange(train.shape[0], dtype=np.int32), np.diff(train.indptr))
    for begin in range(0, train.nnz, 100_000):
        at = slice(begin, begin + 100_000)
        scores = np.einsum("ed,ed->e", users[rows[at]], items[train.indices[at]]).astype(np.float64)
        observed += float((CONFIDENCE * (1 - scores) ** 2 - scores**2).sum())
    of_users, of_items = (side.T.astype(np.float64) @ side for side in (users, items))
    total = observed + float((of_users * of_items).sum()) + REG * float(np.trace(of_users) + np.trace(of_items))
    return total / (train.shape[0] * train.shape[1])


if __name__ == "__main__":
    main()

"""Bayesian personalized ranking on Gowalla at 64 columns, against implicit: time of 20 epochs, and quality against time.

::

    python benchmarks/speed/bpr.py --peer-python PEERS/bin/python

Time: whole fits on the training part, 20 epochs, negatives by popularity on both sides, and adaptive ones of ours beside them;
the sides take turns. Ours ends with 10 passes over the users, which are part of its time, and must give the same bits each
time; implicit lets its threads overwrite each other, and does not. Quality: recall@20 on one tenth of the training rows held
out at random, of both sides at several numbers of epochs, implicit with several learning rates. Compilation, reading and
judging are left out. The test part is never read. Data: the folder that RECVEC_DATA names.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from harness import PEERS, RESULTS, add_peer_options, machine, ratio, run_peer, times, write_result

import recvec as rv
from data import folder
from recvec.contract import DotModel
from recvec.contract.runtime import Threads, available_cores
from recvec.data.dataset import Dataset
from recvec.kernels.topk import top_k
from recvec.types import F32

EPOCHS, D, PASSES = 20, 64, 10
WEAK: dict[str, Any] = {"learning_rate": 0.1, "reg_user": 0.01, "reg_positive": 0.001, "reg_negative": 0.01}  # suits few epochs
OURS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {  # recipe: numbers of epochs, and settings
    "adaptive": ((5, 10, 20, 40, 80), WEAK),
    "popularity": ((5, 10, 20, 40), WEAK | {"negatives": "popularity", "learning_rate": 0.3, "user_passes": PASSES}),
}
PEER = {0.05: (20, 60, 150), 0.1: (20, 60, 150)}  # learning rate -> epochs
PEER_REG = 0.01  # implicit's default
ALIKE = rv.BPR(embedding_dim=D, epochs=EPOCHS, negatives="popularity", popularity_exponent=1.0, user_passes=PASSES, **WEAK)
ADAPTIVE = rv.BPR(embedding_dim=D, epochs=EPOCHS, user_passes=PASSES, **WEAK)


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_peer_options(parser)
    parser.add_argument("--part", choices=("time", "quality"), action="append", help="default: both")
    parser.add_argument("--out", type=Path, default=RESULTS / "bpr.json")
    given = parser.parse_args()
    threads = given.threads or available_cores()
    data = rv.read(pl.read_parquet(folder() / "lightgcn-gowalla" / "train.parquet"))
    result: dict[str, Any] = {"machine": machine(), "threads": threads, "embedding_dim": D, "interactions": len(data.interactions)}
    if "time" in (given.part or ["time"]):
        result["time"] = _time(data, given.peer_python, threads, given.repetitions)
        print(result["time"], flush=True)
    if "quality" in (given.part or ["quality"]):
        result["quality"] = _quality(data, given.peer_python, threads)
    write_result(given.out, result)


def _time(data: Dataset, peer: str | None, threads: int, repetitions: int) -> dict[str, Any]:
    """Run the sides in turn."""
    ours: dict[str, list[float]] = {"popularity": [], "adaptive": []}
    theirs: list[float] = []
    models: dict[str, DotModel] = {}
    answer: dict[str, Any] = {"epochs": EPOCHS, "repeatable": True}
    _warm_up()
    for _ in range(repetitions):
        for name, method in (("popularity", ALIKE), ("adaptive", ADAPTIVE)):
            seconds, model = _fit(method, data, threads)
            ours[name].append(seconds)
            same = np.array_equal(models.setdefault(name, model).item_vectors, model.item_vectors)
            answer["repeatable"] &= same and np.array_equal(models[name].user_vectors, model.user_vectors)
        if peer:
            told = _peer(peer, data, EPOCHS, threads, 0.05)
            theirs.append(told["seconds"])
            answer["peer_versions"] = told["versions"]
    for name, method in (("popularity", ALIKE), ("adaptive", ADAPTIVE)):
        single, model = zip(*(_fit(method, data, 1) for _ in range(2)), strict=True)
        answer["repeatable"] &= np.array_equal(model[0].item_vectors, models[name].item_vectors)
        speedup = round(statistics.median(single) / statistics.median(ours[name]), 3)
        answer[name] = {"ours": times(ours[name]), "one_thread": times(single), "speedup": speedup}
        if peer:
            answer[name]["ratio"] = ratio(ours[name], theirs)
    if peer:
        answer["implicit"] = times(theirs)
    answer["repeatable"] = bool(answer["repeatable"])
    return answer


def _warm_up() -> None:
    """Compile, or read the compiled code."""
    small = rv.sample(n_users=300, n_items=300)
    for method in (ALIKE, ADAPTIVE):
        _fit(method, small, 1)


def _fit(method: rv.BPR, data: Dataset, threads: int) -> tuple[float, DotModel]:
    begin = time.perf_counter()
    model = method.fit(data, rng=0, runtime=rv.Runtime(threads=threads))
    return time.perf_counter() - begin, model


def _quality(data: Dataset, peer: str | None, threads: int) -> dict[str, Any]:
    """Return recall@20 on held-out rows and the seconds of the fit, a row for each fit."""
    split = rv.split(data, "random", seed=0)
    _warm_up()
    rows = []
    for recipe, (numbers, settings) in OURS.items():
        for epochs in numbers:
            seconds, model = _fit(rv.BPR(embedding_dim=D, epochs=epochs, **settings), split.train, threads)
            recall = _recall(model.user_vectors, model.item_vectors, split)
            rows.append({"side": "ours", "recipe": recipe, "epochs": epochs, "seconds": round(seconds, 3), "recall@20": recall})
            print(rows[-1], flush=True)
    for rate, numbers in PEER.items() if peer else ():
        for epochs in numbers:
            told = _peer(peer, split.train, epochs, threads, rate, split)
            answer = {"epochs": epochs, "learning_rate": rate, "seconds": round(told["seconds"], 3), "recall@20": told["recall"]}
            rows.append({"side": "implicit", **answer})
            print(rows[-1], flush=True)
    return {"rows": rows, "reached": _reached(rows)}


def _reached(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each quality of the peer, the least time in which ours has at least that."""
    ours, theirs = ([r for r in rows if r["side"] == side] for side in ("ours", "implicit"))
    answer = []
    for row in theirs:
        least = min((r["seconds"] for r in ours if r["recall@20"] >= row["recall@20"]), default=None)
        answer.append({"recall@20": row["recall@20"], "implicit_s": row["seconds"], "ours_s": least})
    return answer


def _peer(peer: str, data: Dataset, epochs: int, threads: int, rate: float, split: rv.Split | None = None) -> dict[str, Any]:
    """Run the peer; where there is a split, judge its factors."""
    matrix = data.matrix()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for array, values in (("indptr", matrix.indptr), ("indices", matrix.indices), ("shape", np.array(matrix.shape))):
            np.save(place / array, values)
        args = (place, epochs, threads, D - 1, rate, PEER_REG, int(split is not None))
        told: dict[str, Any] = run_peer(peer, PEERS / "implicit_bpr.py", args, threads=threads)
        if split is not None:
            told["recall"] = _recall(np.load(place / "peer_users.npy"), np.load(place / "peer_items.npy"), split)
    return told


def _recall(users: F32, items: F32, split: rv.Split) -> float:
    """Return the mean share of a user's held-out items among their best 20, training items left out."""
    train, test = split.train.matrix(), split.train.with_interactions(split.test).matrix()
    people = np.flatnonzero(np.diff(test.indptr))
    known = train[people]
    lists, _ = top_k(users[people], items, 20, exclude=(known.indptr.astype(np.int64), known.indices), executor=Threads())
    wanted = _hits(test, people, lists)
    return round(float((wanted.sum(axis=1) / np.diff(test.indptr)[people]).mean()), 4)


def _hits(test: Any, people: Any, lists: Any) -> Any:
    pairs = np.repeat(people, lists.shape[1]) * np.int64(test.shape[1]) + lists.ravel()
    held = np.repeat(np.arange(test.shape[0]), np.diff(test.indptr)) * np.int64(test.shape[1]) + test.indices
    return np.isin(pairs, held).reshape(lists.shape)


if __name__ == "__main__":
    main()

"""Bayesian factorization machines on MovieLens-1M at rank 16 against myFM: time of an iteration, and RMSE, ids and more.

::

    python benchmarks/speed/fm.py --peer-python PEERS/bin/python

Random 90/10, as everywhere here. Variants: ``ids``; ``attributes``, with user and item attributes; ``histories``, with those and the
implicit history of both sides, from the training part. myFM gets the same features as relation blocks; it uses one thread.
Beside them ours with 50 random item features over ids alone, two kinds: of which each item has 5, and of which it has all.
Times of the first iteration, which compile and touch memory first, are left out. Data: the folder that RECVEC_DATA names.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from harness import PEERS, RESULTS, add_peer_options, machine, ratio, run_peer, times, write_result

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "accuracy"))
from fm_features import Ratings, block, read, relations

from recvec.contract.runtime import Threads, available_cores
from recvec.kernels.fm_blocks import Relations
from recvec.kernels.fm_gibbs import draw
from recvec.kernels.fm_gibbs_posterior import Posterior, predict
from recvec.types import F32, I64

RANK, ITERATIONS, KEPT = 16, 20, 10
VARIANTS: dict[str, dict[str, bool]] = {"ids": {}, "attributes": {"attributes": True}, "histories": {"attributes": True, "history": True}}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_peer_options(parser)
    parser.add_argument("--variant", choices=[*VARIANTS, "extra"], action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=RESULTS / "fm.json")
    given = parser.parse_args()
    threads, wanted = given.threads or available_cores(), given.variant or [*VARIANTS, "extra"]
    data = read("movielens-1m")
    order = np.random.default_rng(0).permutation(len(data.stars))
    test, train = order[: len(order) // 10], order[len(order) // 10 :]
    result: dict[str, Any] = {"machine": machine(), "threads": threads, "rank": RANK, "iterations": ITERATIONS, "ratings": len(train)}
    for name in wanted:
        if name == "extra":
            result[name] = _extra(data, train, threads, given.repetitions)
        else:
            both = relations(data, train, [train, test], **VARIANTS[name])
            result[name] = _compare(data, train, test, both, given.peer_python, threads, given.repetitions)
        print(name, result[name], flush=True)
    write_result(given.out, result)


def _compare(
    data: Ratings, train: I64, test: I64, both: list[Relations], peer: str | None, threads: int, repetitions: int
) -> dict[str, Any]:
    """Run the sides in turn."""
    ours, theirs, single, posteriors = [], [], [], []
    answer: dict[str, Any] = {"entries": [int(b.features.nnz) for b in both[0].blocks]}
    _fit(both[0], data.stars[train], threads, 2)
    for _ in range(repetitions):
        seconds, posterior = _fit(both[0], data.stars[train], threads, ITERATIONS)
        ours.append(seconds)
        posteriors.append(posterior)
        single.append(_fit(both[0], data.stars[train], 1, ITERATIONS)[0])
        if peer:
            told = peer_predictions(peer, both, data.stars[train], rank=RANK, iterations=ITERATIONS, kept=KEPT)
            theirs.append(statistics.median(told["iterations"]))
            answer["rmse_peer"] = _rmse(told["predictions"], data.stars[test])
    mean, _ = predict(posteriors[0], both[1], executor=Threads(threads))
    answer |= {"ours": times(ours), "one_thread": times(single), "rmse": _rmse(mean, data.stars[test])}
    answer["speedup"] = ratio(single, ours)["of_medians"]
    answer["repeatable"] = all(np.array_equal(p.factors, posteriors[0].factors) for p in posteriors)
    if peer:
        answer |= {"myfm": times(theirs), "ratio": ratio(ours, theirs)}
    return answer


def _fit(problem: Relations, stars: F32, threads: int, iterations: int) -> tuple[float, Posterior]:
    """Return the median seconds of an iteration, and the draws."""
    ends: list[float] = []
    posterior = draw(
        problem,
        stars,
        rank=RANK,
        n_iterations=iterations,
        n_kept=min(KEPT, iterations),
        rng=np.random.default_rng(0),
        executor=Threads(threads),
        on_iteration=lambda *_: ends.append(time.perf_counter()),
    )
    return float(statistics.median(np.diff(ends))), posterior


def _extra(data: Ratings, train: I64, threads: int, repetitions: int) -> dict[str, Any]:
    """Return ours with ids alone and with 50 more item features, and the ratios."""
    (plain,) = relations(data, train, [train])
    n, rng = plain.blocks[1].n_rows, np.random.default_rng(1)
    five = sp.csr_array((np.ones(5 * n, np.float32), (np.repeat(np.arange(n), 5), _choices(n, 50, 5, rng))), shape=(n, 50))
    every = sp.csr_array(rng.standard_normal((n, 50)).astype(np.float32))
    ids = plain.blocks[1].features
    problems = {"ids": plain}
    for name, more in (("five_of_50", five), ("all_of_50", every)):
        problems[name] = Relations((plain.blocks[0], block([ids, more])), plain.rows)
    seconds: dict[str, list[float]] = {name: [] for name in problems}
    for problem in problems.values():
        _fit(problem, data.stars[train], threads, 2)
    for _ in range(repetitions):
        for name, problem in problems.items():
            seconds[name].append(_fit(problem, data.stars[train], threads, ITERATIONS)[0])
    return {name: times(s) | {"ratio": ratio(s, seconds["ids"])} for name, s in seconds.items()}


def _choices(n: int, among: int, each: int, rng: np.random.Generator) -> I64:
    return np.argsort(rng.random((n, among)), axis=1)[:, :each].ravel()


def peer_predictions(peer: str, both: Sequence[Relations], stars: F32, *, rank: int, iterations: int, kept: int) -> dict[str, Any]:
    """Return what myFM says of itself, and its predictions of the second relations after learning from the first."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        np.save(place / "targets", stars)
        np.save(place / "blocks", len(both[0].blocks))
        for b, features in enumerate(both[0].blocks):
            sp.save_npz(place / f"{b}_features", sp.csr_matrix(features.features))
            np.save(place / f"{b}_groups", features.groups)
            np.save(place / f"{b}_rows", both[0].rows[b])
            np.save(place / f"{b}_test_rows", both[1].rows[b])
        told: dict[str, Any] = run_peer(peer, PEERS / "myfm_fm.py", (place, rank, iterations, kept, 0), threads=1)
        told["predictions"] = np.load(place / "peer_predictions.npy")
        return told


def _rmse(predicted: Any, stars: F32) -> float:
    return round(float(np.sqrt(np.mean((np.clip(predicted, 1, 5) - stars) ** 2))), 5)


if __name__ == "__main__":
    main()

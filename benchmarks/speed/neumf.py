"""An epoch of NeuMF on MovieLens-1M with four negatives, against RecBole.

::

    python benchmarks/speed/neumf.py --peer-python .peers/recbole/bin/python

RecBole's settings on both sides: vectors of 64 for both parts, layers of 128 and 64, no dropout, Adam over everything together. RecBole
counts the rows of a batch, 2048 by its default, which are 409 positives with their negatives; ours counts positives, 8192 by default.
So three comparisons: each with its default batch, and both with the same rows, those of 2048 and of 8192 positives. Ours deals anew and draws new negatives in each
epoch, which is part of its time; RecBole's sampling is part of its own. Compilation and reading are left out; the sides take turns.
Beside that the parts of our time, and whether one and two threads give the same bits. Data: the folder that RECVEC_DATA names.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from harness import PEERS, RESULTS, add_peer_options, machine, ratio, run_peer, times, write_result

import recvec as rv
from data import folder
from recvec.contract import Model, Runtime
from recvec.contract.runtime import available_cores
from recvec.data.dataset import Dataset

POSITIVES, NEGATIVES = 2048, 4
SETTINGS: dict[str, Any] = {
    "mlp_embedding_dim": 64,
    "hidden": "128,64",
    "n_negatives": NEGATIVES,
    "pretrain": False,
    "learning_rate": 0.001,
}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_peer_options(parser)
    parser.set_defaults(repetitions=2)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of each side in a turn; the mean counts")
    parser.add_argument("--out", type=Path, default=RESULTS / "neumf.json")
    given = parser.parse_args()
    threads = given.threads or available_cores()
    data = rv.read(pl.read_parquet(folder() / "ncf-movielens-1m" / "train.parquet"))
    _epochs(rv.sample(n_users=300, n_items=300), 1, threads)
    ours, theirs = [], {rows: [] for rows in (2048, POSITIVES * (1 + NEGATIVES))}
    told: dict[str, Any] = {}
    for _ in range(given.repetitions):
        ours.append(_epochs(data, given.epochs, threads)[0])
        print("ours", ours[-1], flush=True)
        for rows, seconds in theirs.items() if given.peer_python else ():
            told = _peer(given.peer_python, data, given.epochs, threads, rows)
            seconds.append(statistics.mean(told["seconds"]))
            print("recbole", rows, seconds[-1], flush=True)
    single, same = _epochs(data, 1, 1), _epochs(data, 1, threads)
    answer: dict[str, Any] = {"machine": machine(), "threads": threads, "interactions": len(data.interactions), "ours": times(ours)}
    answer |= {"one_thread_s": round(single[0], 3), "same_bits": bool(np.array_equal(single[1].user_vectors, same[1].user_vectors))}
    for rows, seconds in theirs.items() if given.peer_python else ():
        answer[f"recbole_{rows}_rows"] = {**times(seconds), "ours_over_theirs": ratio(ours, seconds)}
    write_result(given.out, {**answer, "peer_versions": told.get("versions")})


def _epochs(data: Dataset, epochs: int, threads: int) -> tuple[float, Model]:
    """Return the mean seconds of an epoch, and the model."""
    moments = []
    method = rv.NeuMF(embedding_dim=64, epochs=epochs + 1, batch_size=POSITIVES, **SETTINGS)
    model = method.fit(data, rng=0, runtime=Runtime(threads=threads), on_epoch=lambda *_: moments.append(time.perf_counter()))
    return (moments[-1] - moments[0]) / epochs, model


def _peer(python: str, data: Dataset, epochs: int, threads: int, rows: int) -> Any:
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "pairs.npy", np.column_stack([data.interactions.users, data.interactions.items]))
        place = Path(name) / "tables"
        place.mkdir()
        return run_peer(python, PEERS / "recbole_neumf.py", (Path(name) / "pairs.npy", place, epochs, threads, rows), threads=threads)


if __name__ == "__main__":
    main()

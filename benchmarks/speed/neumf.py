"""An epoch of NeuMF on MovieLens-1M with four negatives, against RecBole.

::

    python benchmarks/speed/neumf.py --peer-python .peers/recbole/bin/python

RecBole's settings on both sides: vectors of 64 for both parts, layers of 128 and 64, no dropout, Adam over everything together.
RecBole counts the rows of a batch, 2048 by its default, which are 409 positives with their negatives; ours counts positives, 8192 by
default. So three comparisons: each with its default batch, and both with the same rows, those of 2048 and of 8192 positives. Ours
deals anew and draws new negatives in each epoch, which is part of its time; RecBole's sampling is part of its own. Compilation and
reading are left out; the sides take turns. Beside that, whether one and two threads give the same bits. Data: the folder that
RECVEC_DATA names.
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

BATCHES, NEGATIVES = (2048, 8192), 4  # positives of a step of ours
ROWS = (2048, *(positives * (1 + NEGATIVES) for positives in BATCHES))  # of a step of RecBole
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
    parser.set_defaults(repetitions=1)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of each side in a turn; the mean counts")
    parser.add_argument("--out", type=Path, default=RESULTS / "neumf.json")
    given = parser.parse_args()
    threads = given.threads or available_cores()
    data = rv.read(pl.read_parquet(folder() / "ncf-movielens-1m" / "train.parquet"))
    _epochs(rv.sample(n_users=300, n_items=300), 1, threads, 2048)
    ours: dict[int, list[float]] = {positives: [] for positives in BATCHES}
    theirs: dict[int, list[float]] = {rows: [] for rows in ROWS}
    told: dict[str, Any] = {}
    for _ in range(given.repetitions):
        for positives, seconds in ours.items():
            seconds.append(_epochs(data, given.epochs, threads, positives)[0])
            print("ours", positives, round(seconds[-1], 2), flush=True)
        for rows, seconds in theirs.items() if given.peer_python else ():
            told = _peer(given.peer_python, data, given.epochs, threads, rows)
            seconds.append(statistics.mean(told["seconds"]))
            print("recbole", rows, round(seconds[-1], 2), flush=True)
    (single, one), (_, same) = _epochs(data, 1, 1, BATCHES[-1]), _epochs(data, 1, threads, BATCHES[-1])
    answer: dict[str, Any] = {"machine": machine(), "threads": threads, "interactions": len(data.interactions)}
    answer |= {"one_thread_s": round(single, 3), "same_bits": bool(np.array_equal(one.user_vectors, same.user_vectors))}
    answer |= {f"ours_{positives}_positives": times(seconds) for positives, seconds in ours.items()}
    if given.peer_python:
        answer |= {f"recbole_{rows}_rows": times(seconds) for rows, seconds in theirs.items()}
        answer["ours_over_theirs"] = {"defaults": ratio(ours[BATCHES[-1]], theirs[2048])}
        answer["ours_over_theirs"] |= {f"{rows}_rows": ratio(ours[rows // (1 + NEGATIVES)], theirs[rows]) for rows in ROWS[1:]}
        answer["peer_versions"] = told["versions"]
    write_result(given.out, answer)
    print(answer.get("ours_over_theirs"))


def _epochs(data: Dataset, epochs: int, threads: int, positives: int) -> tuple[float, Model]:
    """Return the mean seconds of an epoch, and the model."""
    moments: list[float] = []
    method = rv.NeuMF(embedding_dim=64, epochs=epochs + 1, batch_size=positives, **SETTINGS)
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

"""Evaluation of all Gowalla users: every metric at two lengths, 1,000 bootstrap draws, and the parts of people and items.

::

    python benchmarks/speed/evaluation.py

The lists themselves are timed apart, as `evaluate` makes them; the rest is what the metrics cost, the area under the
curve of every user over the whole catalogue included. Compilation is left out: the first run is not counted.
"""

import argparse
import time
from pathlib import Path

from harness import RESULTS, machine, times, write_result

import recvec as rv
from data import folder

LENGTHS = (10, 20)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "evaluation.json")
    given = parser.parse_args()
    data = folder() / "lightgcn-gowalla"
    split = rv.split(rv.read(data / "train.parquet"), test=data / "test.parquet")
    model = rv.ALS().fit(split.train)
    known = split.train.histories()
    rv.evaluate(model, split, k=LENGTHS)
    lists, whole = [], []
    for _ in range(given.repetitions):
        started = time.perf_counter()
        model.recommend(model.user_vectors, max(LENGTHS), exclude=known)
        lists.append(time.perf_counter() - started)
        result = rv.evaluate(model, split, k=LENGTHS)
        whole.append(result.seconds)
    after = [w - t for w, t in zip(whole, lists, strict=True)]
    found = {"users": result.counts["n_users_evaluated"], "items": split.train.n_items, "metrics": len(result.metrics), "draws": 1000}
    write_result(given.out, {"machine": machine(), **found, "lists": times(lists), "evaluate": times(whole), "after_lists": times(after)})
    print(found, times(lists)["median_s"], times(whole)["median_s"], times(after)["median_s"])


if __name__ == "__main__":
    main()

"""Accuracy, time and memory of `ease`, `rp3beta` and `item-knn` on real data, next to the figures they have to reach.

Usage: python benchmarks/accuracy/baselines.py; data folder: RECVEC_DATA. Every row runs in a process of its own, so that
its peak memory is its own. ``setting`` says where the hyper-parameters come from: ``published`` (Steck, WWW 2019, and
the studies that took EASE and RP3beta to these splits), ``default``, or a way of choosing on validation parts only
(benchmarks/tuning/rp3beta_gowalla.json). Nothing is chosen here.
Writes benchmarks/accuracy/results/baselines.json. Takes half an hour and 10 GB of memory, nearly all of it for `ease` on
the two large sets.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import recvec as rv
from recvec.cli.output import environment, peak_memory_mb
from recvec.contract import Method, Threads
from recvec.kernels.inverse import invert

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RECVEC_DATA", ROOT.parent / "shared" / "data"))
CHOSEN = json.loads((ROOT / "benchmarks/tuning/rp3beta_gowalla.json").read_text())["chosen"]
ML, GOWALLA, YELP = "ncf-movielens-1m", "lightgcn-gowalla", "lightgcn-yelp2018"
ROWS: list[tuple[str, str, Method]] = [
    (ML, "published", rv.EASE(reg=1320.0)),
    (ML, "published, 1,000 entries for each item", rv.EASE(reg=1320.0, n_neighbours=1000)),
    (ML, "default", rv.EASE()),
    (ML, "default", rv.RP3Beta()),
    (ML, "default", rv.ItemKNN()),
    (GOWALLA, "published", rv.RP3Beta(alpha=0.5663562, beta=0.0010854479, n_neighbours=777)),
    *((GOWALLA, f"chosen by {way}", rv.RP3Beta(**CHOSEN[way])) for way in ("random", "last", "carried")),
    (GOWALLA, "default", rv.RP3Beta()),
    (GOWALLA, "default", rv.ItemKNN()),
    (YELP, "published", rv.RP3Beta(alpha=0.768, beta=0.418, n_neighbours=342)),
    *((YELP, f"chosen by {way}", rv.RP3Beta(**CHOSEN[way])) for way in ("yelp2018", "carried")),
    (YELP, "default", rv.RP3Beta()),
    (YELP, "default", rv.ItemKNN()),
    (GOWALLA, "published", rv.EASE(reg=80.0)),
    (GOWALLA, "published, 1,000 entries for each item", rv.EASE(reg=80.0, n_neighbours=1000)),
    (YELP, "published", rv.EASE(reg=300.0)),
]


def measured(data: str, setting: str, method: Method) -> dict[str, object]:
    """Fit and evaluate once; all three methods draw nothing that a list depends on."""
    folder = DATA / data
    listed = folder / "test_negatives.parquet" if data == ML else None
    split = rv.split(rv.read(folder / "train.parquet"), test=folder / "test.parquet", negatives=listed)
    started = time.perf_counter()
    model = method.fit(split.train)
    fitted = time.perf_counter()
    result = rv.evaluate(model, split, k=10 if data == ML else 20)
    row: dict[str, object] = {"data": data, "method": method.name, "setting": setting, "hyperparameters": model.method.recipe}
    for name in ("hit_rate@10", "ndcg@10") if data == ML else ("recall@20", "ndcg@20"):
        row[name] = round(result.metrics[name], 5)
        row[f"{name} interval"] = [round(end, 5) for end in result.intervals[name]]
    row |= {"fit seconds": round(fitted - started, 2), "evaluate seconds": round(time.perf_counter() - fitted, 2)}
    return row | {"peak memory MB": round(peak_memory_mb())}


def inverse_seconds(n: int = 10_000) -> dict[str, object]:
    """Return the time of the inverse with one thread and with two, the better of two runs each, taking turns."""
    rng = np.random.default_rng(0)
    x = (rng.random((n // 2, n), dtype=np.float32) < 0.01).astype(np.float32)
    gram = x.T @ x
    gram[np.diag_indices(n)] += 80
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for threads in (1, 2, 1, 2):
        matrix = gram.copy()
        started = time.perf_counter()
        invert(matrix, executor=Threads(threads))
        seconds[threads].append(time.perf_counter() - started)
    one, two = (min(seconds[threads]) for threads in (1, 2))
    return {"n": n, "one thread": round(one, 2), "two threads": round(two, 2), "ratio": round(one / two, 2)}


def main() -> None:
    """Run every row in its own process and write the file."""
    if len(sys.argv) == 2:
        print(json.dumps(measured(*ROWS[int(sys.argv[1])])))
        return
    rows = []
    for number in range(len(ROWS)):
        done = subprocess.run([sys.executable, __file__, str(number)], stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    result = {"version": rv.__version__, "environment": environment(), "inverse seconds": inverse_seconds(), "rows": rows}
    out = ROOT / "benchmarks/accuracy/results/baselines.json"
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

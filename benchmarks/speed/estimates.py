"""What methods estimate a fit to take, beside what it takes: seconds and bytes, on three sizes of data.

::

    python benchmarks/speed/estimates.py [--method als] [--rows 300000]

The tables are those of ``synthetic_parquet.py``, made in a temporary folder. Each fit is a process of its own, after
one on a small table that reads the compiled kernels; memory is the largest resident size above what there was before
the fit, looked at a hundred times a second. A ratio above 1 is an estimate that was too large.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from harness import RESULTS, machine, write_result
from synthetic_parquet import write

import recvec as rv
from recvec.contract import DataShape, available_cores

METHODS = ("popularity", "svd", "als", "ease", "item-knn", "rp3beta")
ROWS = (300_000, 1_000_000, 3_000_000)
STATM = Path("/proc/self/statm")  # resident pages are its second number


def main() -> None:
    """Fit each method on each size in its own process and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=METHODS, action="append", help="default: all")
    parser.add_argument("--rows", type=int, action="append", help=f"default: {ROWS}")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--state", default="not said", help="what else ran, for the record")
    parser.add_argument("--out", type=Path, default=RESULTS / "estimates.json")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(_measured(given.one[0], Path(given.one[1]))))
        return
    fits = []
    with tempfile.TemporaryDirectory() as name:
        for rows in given.rows or ROWS:
            table = Path(name) / f"{rows}.parquet"
            write(table, rows, rows // 50, rows // 250)
            for method in given.method or METHODS:
                command = [sys.executable, __file__, "--one", method, str(table)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                fits.append(json.loads(done.stdout.splitlines()[-1]))
                print(fits[-1], flush=True)
    write_result(given.out, {"machine": machine(), "threads": available_cores(), "state": given.state, "fits": fits})


def _measured(name: str, path: Path) -> dict[str, Any]:
    method = rv.method(name)
    method.fit(rv.sample(seed=0))
    data = rv.read(path)
    cost = method.estimate(DataShape.of(data))
    before, highest, over = _resident(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            highest[0] = max(highest[0], _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    model = method.fit(data)
    seconds = time.perf_counter() - started
    highest[0] = max(highest[0], _resident())
    over.set()
    watcher.join()
    found = {"method": name, "rows": len(data.interactions), "users": model.n_users, "items": model.n_items}
    memory, estimated = highest[0] - before, cost.seconds(available_cores())
    return found | {
        "seconds": round(seconds, 3),
        "estimated_seconds": round(estimated, 3),
        "seconds_ratio": round(estimated / seconds, 2),
        "mb": round(memory / 1e6, 1),
        "estimated_mb": round(cost.memory / 1e6, 1),
        "mb_ratio": round(cost.memory / max(memory, 1), 2),
    }


def _resident() -> int:
    return int(STATM.read_text().split()[1]) * 4096


if __name__ == "__main__":
    main()

"""Seconds for an epoch of `dmf` and `two-tower` on MovieLens-1M (994,169 pairs), with one thread and with two; medians, the first left out.

::

    python benchmarks/speed/towers.py

Result: ``results/towers.json``. Data folder: RECVEC_DATA.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import recvec as rv
from recvec.cli.output import environment
from recvec.contract import Runtime

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
EPOCHS = 3


def seconds(method: Any, data: rv.Dataset, threads: int) -> float:
    """Return the median time of an epoch."""
    at = [time.perf_counter()]
    method.fit(data, runtime=Runtime(threads=threads), on_epoch=lambda *_: at.append(time.perf_counter()))
    return float(np.median(np.diff(at)[1:]))


def main() -> None:
    """Measure and write."""
    data = rv.read(DATA / "ncf-movielens-1m" / "train.parquet")
    methods = {"dmf": rv.DMF(epochs=EPOCHS), "two-tower": rv.TwoTower(epochs=EPOCHS)}
    found = {name: {f"threads_{n}": round(seconds(m, data, n), 3) for n in (1, 2)} for name, m in methods.items()}
    result = {"seconds_of_an_epoch": found, "settings": {name: m.recipe for name, m in methods.items()}, "environment": environment()}
    (HERE / "results" / "towers.json").write_text(json.dumps(result, indent=1) + "\n")
    print(found)


if __name__ == "__main__":
    main()

"""Quality against time: `softmax-mf`, `lightgcn` and `ngcf` on Gowalla and Yelp2018, from the start of a process to a saved model.

::

    python benchmarks/accuracy/softmax_curve.py lightgcn-gowalla softmax-mf --epochs 50 100 200 400
    PLOTS/bin/python benchmarks/accuracy/softmax_curve.py --plot   # draws results/softmax_curve.svg; see speed/plot_requirements.txt

Each point is a fit of its own with the settings of ``<data>/<method>.toml`` and another number of epochs, since steps shorten towards
the last one: ``recvec fit``, timed as a process, reading, compiled kernels and saving included; then ``recvec evaluate`` on the test
part, outside the time. One seed. Run it while nothing else runs. Data: the folder that RECVEC_DATA names.
Results: results/softmax_curve.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
RESULT = HERE / "results" / "softmax_curve.json"
BARS = {"lightgcn-gowalla": (0.1830, 0.1554), "lightgcn-yelp2018": (0.0649, 0.0530)}  # LightGCN as published


def main() -> None:
    """Measure what the command line names, a point for each number of epochs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("method", nargs="?")
    parser.add_argument("--epochs", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--plot", action="store_true")
    given = parser.parse_args()
    if given.plot:
        plot(json.loads(RESULT.read_text()))
        return
    for epochs in given.epochs:
        rows = json.loads(RESULT.read_text()) if RESULT.exists() else []
        row = point(given.data, given.method, epochs)
        rows = [r for r in rows if (r["data"], r["method"], r["epochs"]) != (given.data, given.method, epochs)]
        rows = sorted([*rows, row], key=lambda r: (r["data"], r["method"], r["epochs"]))
        RESULT.write_text("[\n " + ",\n ".join(json.dumps(r) for r in rows) + "\n]\n")
        print(row, flush=True)


def point(data: str, method: str, epochs: int) -> dict[str, Any]:
    """Return time and quality of one fit."""
    settings = HERE / data / f"{method}.toml"
    with tempfile.TemporaryDirectory() as folder:
        model, found = Path(folder) / "model", Path(folder) / "found.json"
        words = ["fit", str(DATA / data / "train.parquet"), "--config", str(settings), "--set", f"epochs={epochs}"]
        began = time.perf_counter()
        recvec(*words, "--rungs", "none", "--out", str(model))
        seconds = time.perf_counter() - began
        recvec("evaluate", str(model), "--test", str(DATA / data / "test.parquet"), "--k", "20", "--json", str(found))
        metrics = json.loads(found.read_text())["metrics"]
    quality = {name: round(metrics[name], 5) for name in ("recall@20", "ndcg@20")}
    return {"data": data, "method": method, "epochs": epochs, "seconds": round(seconds, 1), **quality}


def recvec(*words: str) -> None:
    """Run a command, or stop with what it says."""
    done = subprocess.run([sys.executable, "-m", "recvec", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def plot(rows: list[dict[str, Any]]) -> None:
    """Draw recall and NDCG over seconds, a line for each method."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "recvec"
    figure, axes = plt.subplots(2, len(BARS), figsize=(8, 6), squeeze=False)
    for column, (data, bars) in zip(axes.T, BARS.items(), strict=True):
        for axis, name, bar in zip(column, ("recall@20", "ndcg@20"), bars, strict=True):
            for method in sorted({r["method"] for r in rows}):
                mine = sorted((r["seconds"], r[name]) for r in rows if (r["data"], r["method"]) == (data, method))
                axis.semilogx([s for s, _ in mine], [q for _, q in mine], "o-", label=method)
            axis.axhline(bar, color="gray", linestyle=":", label="LightGCN as published")
            axis.set(xlabel="seconds from start to saved model", ylabel=name, title=data)
            axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(RESULT.with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()

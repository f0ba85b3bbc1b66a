"""Accuracy of every tuned method on real data: one command, one result file for each pair of them.

::

    python benchmarks/accuracy/run.py                                  everything
    python benchmarks/accuracy/run.py lightgcn-gowalla                 one data set
    python benchmarks/accuracy/run.py lightgcn-gowalla/svd --seeds 1   one method on it

A folder is a data set: ``protocol.toml`` says how it is cut and what is shown, ``<method>.toml`` (or
``<method>-<how they were chosen>.toml``) holds the settings of a method in the form that ``recvec evaluate --config``
reads. Each run is a process of its own, so that time and peak memory are its own. Data: the folder that RECVEC_DATA
names. Results: ``results/<data>/<settings>.json``; ``table.py`` makes the README's table of them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
SEEDS = 3
PROTOCOL = "protocol.toml"


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="data, or data/method; everything by default")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"fits with different seeds (default: {SEEDS})")
    given = parser.parse_args()
    for settings in settings_files(given.names):
        result = measure(settings, given.seeds)
        out = HERE / "results" / settings.parent.name / f"{settings.stem}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")
        shown = {name: round(result["metrics"][name], 4) for name in protocol_of(settings.parent)["show"]}
        print(f"{settings.parent.name}/{settings.stem}: {shown}, fit {result['fit_seconds']:.1f} s", flush=True)


def settings_files(names: list[str]) -> list[Path]:
    """Return the settings that the names mean, refusing names that mean none."""
    everything = sorted(p for p in HERE.glob("*/*.toml") if p.name != PROTOCOL)
    if not names:
        return everything
    chosen = [p for p in everything if p.parent.name in names or f"{p.parent.name}/{p.stem}" in names]
    unknown = set(names) - {p.parent.name for p in chosen} - {f"{p.parent.name}/{p.stem}" for p in chosen}
    if unknown:
        raise SystemExit(
            f"no settings for {', '.join(sorted(unknown))}; there are {', '.join(f'{p.parent.name}/{p.stem}' for p in everything)}"
        )
    return chosen


def protocol_of(folder: Path) -> dict[str, Any]:
    """Return how a data set is cut."""
    return tomllib.loads((folder / PROTOCOL).read_text())


def measure(settings: Path, seeds: int) -> dict[str, Any]:
    """Run ``recvec evaluate`` once, or once for each official test part, and return what is kept of it."""
    protocol, data = protocol_of(settings.parent), DATA / settings.parent.name
    if "test_columns" not in protocol:
        given = {name: data / protocol[name] for name in ("test", "negatives") if name in protocol}
        result = evaluate(data / protocol["interactions"], settings, seeds, {**given, "k": protocol["k"]})
    else:
        result = _mean([_evaluate_marked(data / protocol["interactions"], c, settings, seeds) for c in protocol["test_columns"]])
    return {"data": settings.parent.name, **result, "commit": commit()}


def evaluate(interactions: Path, settings: Path, seeds: int, options: dict[str, object]) -> dict[str, Any]:
    """Run the command and return its result."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        words += [] if "seeds" in tomllib.loads(settings.read_text()) else ["--seeds", str(seeds)]
        command = [sys.executable, "-m", "recvec", "evaluate", str(interactions), "--config", str(settings), *words]
        done = subprocess.run([*command, "--json", str(out)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{settings.parent.name}/{settings.stem}: {done.stderr.strip()}")
        result = json.loads(out.read_text())
    del result["slices"]  # long, and of interest to who runs it
    return result


def _evaluate_marked(table: Path, column: str, settings: Path, seeds: int) -> dict[str, Any]:
    """Measure on the rows that a column marks as test rows."""
    rows = pl.read_parquet(table)
    with tempfile.TemporaryDirectory() as folder:
        train, test = Path(folder) / "train.parquet", Path(folder) / "test.parquet"
        rows.filter(~pl.col(column)).write_parquet(train)
        rows.filter(column).write_parquet(test)
        return evaluate(train, settings, seeds, {"test": test})


def _mean(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of official splits, and each of them."""
    means = {name: float(np.mean([r["metrics"][name] for r in results])) for name in results[0]["metrics"]}
    seconds = {name: float(np.mean([r[name] for r in results])) for name in ("fit_seconds", "evaluate_seconds")}
    of_each = {"metrics_of_each": [r["metrics"] for r in results], "intervals_of_each": [r["intervals"] for r in results]}
    kept = {name: value for name, value in results[0].items() if name not in ("metrics", "intervals", "by_seed")}
    return {**kept, "metrics": means, **of_each, **seconds}


def commit() -> str:
    """Return the commit that was measured, with a mark where the sources differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", "../../src") else "")


if __name__ == "__main__":
    main()

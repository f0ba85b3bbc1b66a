"""Choose the defaults of `als-explicit`: one grid over several data sets, then a closer search on MovieLens-1M.

Validation parts only. Of each data set a tenth is cut off at random from what may be seen, every setting is fitted on the
rest and scored by RMSE on the cut. What may be seen: rows that are not marked as test; of MovieLens-1M, whose benchmark has
three random test parts, the rows that are in none of them. MovieLens-100K is left out: its five test parts hold every row.
The default is the setting whose RMSE, relative to the best of its data set, is lowest on average.

Usage: python benchmarks/tuning/als_explicit.py [--sets NAME ...] [--closer pattern|plain] [--out FILE]; data folder:
RECVEC_DATA. Sets that are not named keep their lines of the log. The closer search with the pattern also tried 96 columns.
"""

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import recvec as rv

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RECVEC_DATA", ROOT.parent / "shared" / "data"))
SETS = ("movielens-1m", "gcmc-douban", "gcmc-flixster")
BASE = {"embedding_dim": 32, "epochs": 15, "bias_reg": 0.3}
REGS = ((1.0, 0.06), (0.75, 0.17), (0.75, 0.24), (0.75, 0.34), (0.5, 0.6), (0.5, 0.85), (0.5, 1.2))
PATTERNS = (0.0, 0.4, 1.6)
CLOSER: tuple[tuple[str, tuple[float, ...]], ...] = (  # one after the other, each as a factor on the best so far
    ("pattern_weight", (2, 4, 8)),
    ("reg", (0.75, 1.33, 1.77)),
    ("embedding_dim", (0.5, 2)),
    ("bias_reg", (0.1, 0.3, 3, 10)),
    ("reg", (0.85, 1.15)),
    ("epochs", (0.5, 2)),
)
NOISE = 2e-4  # of RMSE: less than that is no reason for another setting


def may_be_seen(name: str) -> rv.Dataset:
    """Read the rows that no benchmark tests."""
    rows = pl.read_parquet(DATA / name / "ratings.parquet")
    if "is_test" in rows.columns:
        rows = rows.filter(~pl.col("is_test")).drop("is_test")
    data = rv.read(rows)
    if name != "movielens-1m":
        return data
    n, seen = len(rows), np.ones(len(rows), dtype=bool)
    for seed in (0, 1, 2):
        seen[np.random.default_rng(seed).permutation(n)[: int(0.1 * n)]] = False
    return data.with_interactions(data.interactions.take(seen))


def score(cut: rv.Split, setting: dict[str, Any]) -> dict[str, Any]:
    """Fit, and return the RMSE on the cut."""
    started = time.perf_counter()
    model = rv.ALSExplicit(**setting).fit(cut.train)
    seconds = time.perf_counter() - started
    return {**setting, "rmse": round(rv.evaluate(model, cut).metrics["rmse"], 5), "seconds": round(seconds, 1)}


def means(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings of the grid, best first, by their RMSE over the best of each data set."""
    names = sorted({row["data"] for row in log})
    best = {name: min(row["rmse"] for row in log if row["data"] == name) for name in names}
    found = []
    for (exponent, reg), weight in itertools.product(REGS, PATTERNS):
        setting = {"reg_exponent": exponent, "reg": reg, "pattern_weight": weight}
        ratios = [r["rmse"] / best[r["data"]] for r in log if all(r[k] == v for k, v in setting.items())]
        if len(ratios) == len(names):
            found.append({**setting, "relative": round(float(np.mean(ratios)), 5), "worst": round(max(ratios), 5)})
    return sorted(found, key=lambda row: row["relative"])


def best_of(log: list[dict[str, Any]], *, pattern: bool) -> dict[str, Any]:
    """Return the best line of the grid on MovieLens-1M, with or without the pattern."""
    return min((r for r in log if r["data"] == "movielens-1m" and (r["pattern_weight"] > 0) == pattern), key=lambda r: r["rmse"])


def closer(cut: rv.Split, best: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Change one hyper-parameter after the other, and go on from the best."""
    for name, factors in CLOSER:
        start = best
        for factor in factors:
            value = type(start[name])(start[name] * factor)
            if value == start[name]:
                continue  # no pattern, and none times two
            tried = score(cut, {k: v for k, v in {**start, name: value}.items() if k not in ("data", "rmse", "seconds")})
            if tried["rmse"] < best["rmse"] - NOISE:
                best = tried
            yield {"changed": name, **tried}


def main() -> None:
    """Score the grid and write the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--closer", choices=("pattern", "plain"), help="the closer search with or without the pattern, instead of the grid")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/tuning/als_explicit.json")
    given = parser.parse_args()
    kept = json.loads(given.out.read_text()) if given.out.exists() else {"means": [], "log": [], "closer": {}}
    if given.closer:
        cut = rv.split(may_be_seen("movielens-1m"), "random", seed=0)
        kept["closer"][given.closer] = []
        for tried in closer(cut, best_of(kept["log"], pattern=given.closer == "pattern")):
            kept["closer"][given.closer].append(tried)
            print(tried, flush=True)
            given.out.write_text(json.dumps(kept, indent=1) + "\n")
        return
    for name in given.sets:
        cut = rv.split(may_be_seen(name), "random", seed=0)
        kept["log"] = [row for row in kept["log"] if row["data"] != name]
        for (exponent, reg), weight in itertools.product(REGS, PATTERNS):
            setting = {**BASE, "reg_exponent": exponent, "reg": reg, "pattern_weight": weight}
            kept["log"].append({"data": name, **score(cut, setting)})
            print(kept["log"][-1], flush=True)
        kept["means"] = means(kept["log"])
        given.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

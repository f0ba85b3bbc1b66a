"""Walks over the graph as retrieval, on the splits of LightGCN: figures by the command line, and the time of a list.

::

    python benchmarks/accuracy/graph_walk.py [lightgcn-gowalla] [--time]

Figures are those of ``recvec evaluate --retrieval walk``. `rp3beta` has the settings of the method's own file, so that
its figure must be the method's; those of the others are the defaults. With ``--time`` the lists of all users are made
once more, 20 items long and without what they know; compilation is left out. Figures and times are kept apart in the file,
so that figures may be measured beside other work.
"""

import argparse
import json
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from run import DATA, HERE, commit, evaluate

import recvec as rv
from recvec.retrieval.graph_walk import walker

OUT = HERE / "results" / "graph_walk.json"
KINDS = ("pagerank", "sampled", "rp3beta")
K = 20


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["lightgcn-gowalla"])
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these kinds")
    parser.add_argument("--time", action="store_true", help="measure times instead of figures")
    given = parser.parse_args()
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    for name in given.names:
        for kind in given.kind or KINDS:
            row = found.setdefault(name, {}).setdefault(kind, {"settings": settings(name, kind)})
            row |= {"times": times(name, kind)} if given.time else figures(name, kind)
            print(name, kind, row, flush=True)
            OUT.write_text(json.dumps({**found, "commit": commit()}, indent=1) + "\n")


def settings(name: str, kind: str) -> dict[str, Any]:
    """Return the settings of a walk beside the defaults."""
    own = tomllib.loads((HERE / name / "rp3beta.toml").read_text())["set"] if kind == "rp3beta" else {}
    return {"kind": kind, **own}


def figures(name: str, kind: str) -> dict[str, Any]:
    """Return the metrics by the command line."""
    lines = ['retrieval = "walk"', "seeds = 1", "[walk]", *(f"{n} = {json.dumps(v)}" for n, v in settings(name, kind).items())]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "walk.toml"
        file.write_text("\n".join(lines) + "\n")
        result = evaluate(DATA / name / "train.parquet", file, 1, {"test": DATA / name / "test.parquet", "k": K})
    kept = {n: round(result["metrics"][n], 5) for n in (f"recall@{K}", f"ndcg@{K}", "auc", f"coverage@{K}")}
    return {**kept, "peak_memory_mb": round(result["peak_memory_mb"]), "hyperparameters": result["hyperparameters"]}


def times(name: str, kind: str) -> dict[str, float]:
    """Return seconds to prepare the graph, and milliseconds for a list."""
    histories = rv.read(DATA / name / "train.parquet").histories()
    recipe, some = rv.GraphWalk(**settings(name, kind)), histories.take(np.arange(300))
    few = walker(recipe, some)
    few.recommend(few.asked(some), K, exclude=some)
    started = time.perf_counter()
    ready = walker(recipe, histories)
    between = time.perf_counter()
    ready.recommend(ready.asked(histories), K, exclude=histories)
    end = time.perf_counter()
    alone = histories.take(np.arange(1))
    ready.recommend(ready.asked(alone), K, exclude=alone)
    return {
        "prepare_seconds": round(between - started, 2),
        "ms_a_user": round(1000 * (end - between) / len(histories), 3),
        "ms_one_user_alone": round(1000 * (time.perf_counter() - end), 1),
    }


if __name__ == "__main__":
    main()

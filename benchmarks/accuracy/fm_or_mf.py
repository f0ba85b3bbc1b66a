"""Factorization machines beside matrix factorization on MovieLens: with less and less data, for new users, for new items.

::

    python benchmarks/accuracy/fm_or_mf.py               # measures, writes results/fm_or_mf.json
    python benchmarks/accuracy/fm_or_mf.py --tables      # prints the tables of docs/how-to/fm-or-mf.md from that file
    PLOTS/bin/python benchmarks/accuracy/fm_or_mf.py --plot   # draws results/fm_or_mf.svg; see speed/plot_requirements.txt

Ratings: random 90/10 (`rv.split(data, "random", seed=s)`, s = 0, 1, 2), RMSE; of the training rows a random share is kept.
Rankings: the same cuts, NDCG@20 over the whole catalogue without what is known; ``new-users`` and ``new-items`` in five folds.
To end within minutes, ML-1M has one cut of the three, and two folds of the five.
Settings are the defaults of the methods, the same for every share; vectors of 16 numbers for ratings, 32 for rankings. MF is
`als-explicit` with biases and without its second matrix, and `als`. Attributes: gender, age (ML-100K: a number; ML-1M: brackets)
and occupation of users, genres of films. ML-1M's timestamps reveal ratings, so that none are used. Beside them stand the popular
items for new users, which is what a recommender with MF answers; for new films the mean popularity of a film's genres, and no order
at all, which is what MF and ids know. (They tie all new films, and ties go to the smaller number, which in ML-100K belongs to a
more popular film.)

The defaults were chosen by `tuning/fm_defaults.py` and `tuning/fm_attributes.py` on validation parts, none of them of ML-1M.
ML-100K is not seen for the first time: earlier machines were measured on the same cuts. In the last run but this one its age in
years was 61 categories, and the ridge of `recvec.models.fm_attributes` was another (new users: RMSE 1.0305 with attributes).
Both were changed by what validation parts said; of age, `tuning/fm_attributes.json`: 1.0202, a number 1.0164, ids alone 1.0207.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("RECVEC_DATA", HERE.parents[2] / "shared" / "data"))
RESULT = HERE / "results" / "fm_or_mf.json"
SETS = {"movielens-100k": "ML-100K", "movielens-1m": "ML-1M"}
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05)
SEEDS = {"movielens-100k": (0, 1, 2), "movielens-1m": (0,)}
FOLDS = {"movielens-100k": 5, "movielens-1m": 2}  # how many of the five
AGE = {"movielens-100k": "number", "movielens-1m": "category"}  # years, brackets
TASKS = {"rating": "RMSE, less is better", "ranking": "NDCG@20, more is better"}
KINDS = {"mf": "MF", "ids": "FM, ids", "features": "FM, ids and attributes"}
BESIDE = {"popular": "new users by popularity", "genres": "new items by popularity of genres", "chance": "new items in no order"}


def methods(task: str) -> dict[str, Any]:
    """Return the three recipes of a task."""
    import recvec as rv

    if task == "rating":
        machine = rv.FM(task="rating", embedding_dim=16)
        factorization: Any = rv.ALSExplicit(embedding_dim=16, pattern_weight=0.0)
    else:
        machine, factorization = rv.FM(embedding_dim=32), rv.ALS(embedding_dim=32)
    return {"mf": factorization, "ids": replace(machine, use_attributes=False), "features": machine}


def read(name: str) -> Any:
    """Read a data set with the attributes that are used."""
    import recvec as rv

    folder = DATA / name
    return rv.read(
        folder / "ratings.parquet", users=folder / "users.parquet", items=folder / "items.parquet",
        use=["gender", "age", "occupation", "genres"], types={"age": AGE[name], "occupation": "category", "genres": "list"},
    )  # fmt: skip


def thinned(split: Any, share: float) -> Any:
    """Return the split with a random share of its training rows."""
    rows = split.train.interactions
    kept = np.sort(np.random.default_rng([split.seed, round(share * 1000)]).permutation(len(rows))[: round(share * len(rows))])
    return replace(split, train=split.train.with_interactions(rows.take(kept)))


def measure(name: str) -> list[dict[str, Any]]:
    """Return one line for each task, protocol, share and kind."""
    import recvec as rv

    data, lines = read(name), []
    cuts = [rv.split(data, "random", seed=seed) for seed in SEEDS[name]]
    asked = [("rating", "random", share, [thinned(c, share) for c in cuts]) for share in SHARES]
    asked += [("ranking", "random", share, [thinned(c, share) for c in cuts[:1]]) for share in SHARES]
    for protocol in ("new-users", "new-items"):
        parts = rv.folds(data, protocol, seed=0)[: FOLDS[name]]
        asked += [("rating", protocol, 1.0, parts), ("ranking", protocol, 1.0, parts)]
    for task, protocol, share, splits in asked:
        for kind, method in methods(task).items():
            started = time.perf_counter()
            values = [_value(task, rv.evaluate(method.fit(s.train, rng=s.seed), s, k=20)) for s in splits]
            line = {"data": name, "task": task, "protocol": protocol, "share": share, "kind": kind, "values": values}
            lines.append({**line, "mean": float(np.mean(values)), "seconds": round(time.perf_counter() - started, 1)})
            print({key: value for key, value in lines[-1].items() if key != "values"}, file=sys.stderr, flush=True)
    return lines


def beside(name: str) -> list[dict[str, Any]]:
    """Return the lines of what is no machine, for rankings of new users and new items."""
    from fm_ranking import by_scores, genre_popularity, in_no_order

    import recvec as rv
    from recvec.contract import Runtime

    def popular(data: Any) -> Any:
        counts = data.item_counts.astype(np.float32)
        return lambda users: np.tile(counts, (len(users), 1))

    data, lines = read(name), []
    no_order = lambda train: in_no_order(train.n_items)  # noqa: E731
    makers = (("new-users", "popular", popular), ("new-items", "genres", genre_popularity), ("new-items", "chance", no_order))
    for protocol, kind, make in makers:
        splits = rv.folds(data, protocol, seed=0)[: FOLDS[name]]
        values = [_value("ranking", by_scores(make, [split], Runtime())) for split in splits]
        line = {"data": name, "task": "ranking", "protocol": protocol, "share": 1.0, "kind": kind, "values": values}
        lines.append({**line, "mean": float(np.mean(values))})
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def _value(task: str, result: Any) -> float:
    return float(result.metrics["rmse" if task == "rating" else "ndcg@20"])


def tables(lines: list[dict[str, Any]]) -> str:
    """Return one table for each task, as Markdown."""
    out = []
    rows = [("random", share) for share in SHARES] + [("new-users", 1.0), ("new-items", 1.0)]
    for task, what in TASKS.items():
        measured = [name for name in SETS if any(line["data"] == name for line in lines)]
        heads = [f"{SETS[name]}: {kind}" for name in measured for kind in KINDS.values()]
        out += [f"{what}:", "", f"| test part | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
        for protocol, share in rows:
            cells = []
            for name in measured:
                found = {line["kind"]: line["mean"] for line in lines if line["kind"] in KINDS and _is(line, name, task, protocol, share)}
                best = (min if task == "rating" else max)(found.values(), default=None)
                words = {kind: f"{value:.4f}".lstrip("0") for kind, value in found.items()}
                cells += [f"**{words[k]}**" if k in words and found[k] == best else words.get(k, "") for k in KINDS]
            label = f"random, {share:.0%} of the training part" if protocol == "random" else protocol.replace("-", " ")
            out.append(f"| {label} | {' | '.join(cells)} |")
        out.append("")
    out += [f"Beside these: {'; '.join(_beside(lines, name) for name in SETS if any(ln['data'] == name for ln in lines))}.", ""]
    return "\n".join(out)


def _beside(lines: list[dict[str, Any]], name: str) -> str:
    found = {line["kind"]: line["mean"] for line in lines if line["data"] == name and line["kind"] in BESIDE}
    return f"{SETS[name]} " + ", ".join(f"{BESIDE[kind]} {f'{value:.4f}'.lstrip('0')}" for kind, value in found.items())


def _is(line: dict[str, Any], name: str, task: str, protocol: str, share: float) -> bool:
    return (line["data"], line["task"], line["protocol"], line["share"]) == (name, task, protocol, share)


def plot(lines: list[dict[str, Any]]) -> None:
    """Draw both tasks and both data sets over the share of the training part."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "recvec"
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.2))
    panels = [(task, name) for task in TASKS for name in SETS if any(line["data"] == name for line in lines)]
    for axis, (task, name) in zip(axes, panels, strict=False):
        for kind, label in KINDS.items():
            values = [next(ln["mean"] for ln in lines if _is(ln, name, task, "random", s) and ln["kind"] == kind) for s in SHARES]
            axis.semilogx([100 * s for s in SHARES], values, "o-", label=label)
        axis.set(xlabel="% of the training part", title=f"{SETS[name]}, {TASKS[task].split(',')[0]}")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(RESULT.with_suffix(".svg"), metadata={"Date": None})


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--beside", action="store_true", help="measure only what is no machine; the other lines stay")
    parser.add_argument("--data", choices=SETS, action="append", help="only this data set; the other lines stay")
    given = parser.parse_args()
    if given.tables or given.plot:
        lines = json.loads(RESULT.read_text())["lines"]
        if given.plot:
            plot(lines)
        else:
            print(tables(lines))
        return
    from run import commit

    chosen = given.data or list(SETS)
    before = json.loads(RESULT.read_text())["lines"] if RESULT.exists() else []
    again = [line for line in before if line["data"] in chosen and line["kind"] in KINDS] if given.beside else None
    lines = [line for line in before if line["data"] not in chosen]
    for name in chosen:
        machines = measure(name) if again is None else [line for line in again if line["data"] == name]
        lines += machines + beside(name)
    recipes = {task: {kind: {"method": m.name, **m.recipe} for kind, m in methods(task).items()} for task in TASKS}
    RESULT.write_text(json.dumps({"commit": commit(), "recipes": recipes, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()

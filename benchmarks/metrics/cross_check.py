r"""Every metric against other libraries, on input with ties, short lists, and users with few and with many relevant items.

The other libraries run in an environment of their own and take their input from a file. Where a definition differs from
ours, the result says how and what was done about it. A second, small input and the peers' values for it are written
where the tests read them. Usage:

    python3.11 -m venv .peers/metrics
    .peers/metrics/bin/pip install ranx==0.3.21 rectools==0.19.0 lenskit==2025.8.1 "pyarrow<21" \
        inequality==1.1.2 scikit-bio==0.7.0 statsmodels==0.15.0 scikit-learn==1.9.1
    python benchmarks/metrics/cross_check.py --peer-python .peers/metrics/bin/python
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import recvec as rv
from recvec.evaluation.significance import N_FLIPS, bootstrap_intervals, holm, sign_flip
from recvec.kernels import catalogue, metrics
from recvec.kernels.auc import auc, auc_of_scores
from recvec.types import Array

HERE = Path(__file__).parent
RESULT = HERE / "results" / "cross_check.json"
GOLDEN = HERE.parents[1] / "tests" / "evaluation" / "golden.json"
LENGTHS = (1, 5, 10, 20)

Case = dict[str, Any]


def make_case(seed: int, n_users: int, n_items: int) -> Case:
    """Draw an input; items are met as a power law says, and the last tenth of the catalogue by nobody."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, n_items + 1)
    popularity[-n_items // 10 :] = 0
    popularity /= popularity.sum()
    training = [np.sort(rng.choice(n_items, rng.integers(1, 30), replace=False, p=popularity)) for _ in range(n_users)]
    many = np.where(rng.random(n_users) < 0.3, 60, 8)  # a third of the users with more relevant items than places
    relevant = [
        np.sort(rng.choice(np.setdiff1d(np.arange(n_items), t), rng.integers(1, m), replace=False))
        for t, m in zip(training, many, strict=True)
    ]
    rows = np.full((n_users, max(LENGTHS)), -1, np.int32)
    for user in range(n_users):
        own = rng.choice(relevant[user], min(len(relevant[user]), rng.integers(0, 12)), replace=False)
        rest = np.setdiff1d(np.arange(n_items), np.union1d(training[user], own))
        listed = rng.permutation(np.concatenate([own, rng.choice(rest, max(LENGTHS) - len(own), replace=False)]))
        length = max(LENGTHS) if rng.random() < 0.7 else rng.integers(1, max(LENGTHS))
        rows[user, :length] = listed[:length]
    return {
        "k": np.array(LENGTHS),
        "n_items": np.array(n_items),
        "rows": rows,
        **{f"{name}_indptr": np.cumsum([0, *map(len, lists)]) for name, lists in (("relevant", relevant), ("training", training))},
        "relevant_items": np.concatenate(relevant).astype(np.int32),
        "training_items": np.concatenate(training).astype(np.int32),
        **_rows_case(rng, n_users, n_items),
    }


def _rows_case(rng: np.random.Generator, n_users: int, n_items: int) -> Case:
    """Return the input of the metrics that are not about lists; scores on a coarse grid tie often."""
    n = 5 * n_users
    counts = rng.integers(1, 9, n_users).astype(np.float64)
    others = np.round(rng.standard_normal((n_users, 30)), 1)
    others[rng.random(others.shape) < 0.2] = np.nan
    return {
        "scores": np.round(rng.standard_normal((n_users, n_items)), 1).astype(np.float32),
        "candidates": np.sort(rng.choice(n_items, n_items // 5, replace=False)).astype(np.int32),
        "label": (rng.random(n) < 0.2).astype(np.int64),
        "score": np.round(rng.standard_normal(n), 1),
        "times": rng.integers(0, 4, n).astype(np.float64),
        "probability": np.concatenate([[0.0, 1.0, 1e-300, 1e-16, 1 - 1e-16], rng.random(n - 5)]),
        "rating": rng.integers(1, 6, n).astype(np.float64),
        "predicted": rng.uniform(1, 5, n).astype(np.float32),
        "own": np.round(rng.standard_normal(n_users), 1),
        "others": others,
        "p_values": np.array([0.01, 0.04, 0.03, 0.005, 0.03, 1.0, 0.2, *rng.random(20) ** 3]),
        "sums": rng.random(n_users) * counts,
        "counts": counts,
        "differences": np.round(rng.standard_normal((20, 12)) + 0.3, 1),
    }


def list_arguments(case: Case) -> Case:
    """Return what the kernels take: hits, |R|, how often each item was met, and the user's usual popularity."""
    n_users = len(case["rows"])
    relevant, training = case["relevant_indptr"], case["training_indptr"]
    wanted = np.zeros((n_users, int(case["n_items"])), np.bool_)
    wanted[np.repeat(np.arange(n_users), np.diff(relevant)), case["relevant_items"]] = True
    item_counts = np.bincount(case["training_items"], minlength=int(case["n_items"]))
    return {
        "hits": np.take_along_axis(wanted, np.maximum(case["rows"], 0), axis=1) & (case["rows"] >= 0),
        "n_relevant": np.diff(relevant),
        "item_counts": item_counts,
        "usual": np.add.reduceat(item_counts[case["training_items"]], training[:-1]) / np.diff(training),
    }


def list_values(case: Case) -> Iterator[tuple[str, Array]]:
    """Yield our values of the metrics of lists."""
    given, n_items = list_arguments(case), int(case["n_items"])
    for k in LENGTHS:
        rows = case["rows"][:, :k]
        for name, gain in metrics.RANKING.items():
            yield f"{name}@{k}", gain(given["hits"][:, :k], given["n_relevant"]).sum(axis=1)
        shown = catalogue.exposure(rows, n_items)
        yield f"novelty@{k}", catalogue.novelty(rows, given["item_counts"], len(rows))
        yield f"popularity_lift@{k}", catalogue.popularity_lift(rows, given["item_counts"], given["usual"])
        yield f"coverage@{k}", np.array([catalogue.coverage(shown)])
        yield f"gini@{k}", np.array([catalogue.gini(shown)])


def row_values(case: Case) -> Iterator[tuple[str, Array]]:
    """Yield our values of everything else."""
    relevant, training = ((case[f"{name}_indptr"], case[f"{name}_items"]) for name in ("relevant", "training"))
    yield "user auc", auc_of_scores(case["scores"], relevant, training)
    yield "user auc, candidates", auc_of_scores(case["scores"], relevant, training, case["candidates"])
    yield "auc", np.array([auc(case["label"], case["score"])])
    yield "auc, weighted rows", np.array([auc(case["label"], case["score"], case["times"])])
    terms = metrics.logloss_terms(case["label"], case["probability"])
    yield "logloss", np.array([terms.mean()])
    yield "logloss, each row", terms
    errors = rating_errors(case)
    yield "rmse", np.array([errors["rmse"]])
    yield "mae", np.array([errors["mae"]])
    yield "mean rank", metrics.mean_rank(case["own"], case["others"])
    yield "holm", holm(case["p_values"])
    yield "bootstrap interval", bootstrap_intervals(case["sums"][:, None], case["counts"])[0]


def rating_errors(case: Case) -> dict[str, float]:
    """Return rmse and mae as `evaluate` measures them, for a callable that gives the predictions of the case."""
    n_users = len(case["rows"])
    users, items = np.repeat(np.arange(n_users), 5), np.tile(np.arange(5), n_users)
    test = pl.DataFrame({"user_id": users, "item_id": items, "rating": case["rating"]})
    other = pl.DataFrame({"user_id": users[::5], "item_id": np.full(n_users, 5), "rating": 1.0 + 4.0 * (users[::5] % 2)})
    split = rv.split(rv.read(other), test=test)
    scores = np.zeros((n_users, 6), np.float32)
    scores[np.ix_(split.train.users.rows(range(n_users)), split.train.items.rows(range(5)))] = case["predicted"].reshape(n_users, 5)
    return dict(rv.evaluate(lambda rows: scores[rows], split, task="rating").metrics)


def peer_values(python: str, case: Case) -> list[dict[str, Any]]:
    """Run the other libraries."""
    with tempfile.TemporaryDirectory() as folder:
        given, written = Path(folder) / "input.npz", Path(folder) / "output.json"
        np.savez(given, **case)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run([python, HERE / "peers.py", given, written], check=True, env=environment)
        return json.loads(written.read_text())


def compared(case: Case, peers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per metric and library: how many values, and how far they are apart at most."""
    ours = dict([*list_values(case), *row_values(case)])
    peers = [row for row in peers if row["metric"] != "sign flip"]
    missing = set(ours) - {row["metric"] for row in peers}
    if missing:
        raise SystemExit(f"no library was asked for {sorted(missing)}")
    rows = []
    for row in peers:
        theirs = np.array(row.pop("values"), dtype=np.float64)
        mine = ours[row["metric"]]
        left_out = np.isnan(theirs) if "left out" in row["convention"] else np.zeros(len(theirs), bool)
        if not np.array_equal(np.isnan(mine)[~left_out], np.isnan(theirs)[~left_out]):
            raise SystemExit(f"{row['metric']}: {row['library']} is undefined for other users than ours")
        defined = ~np.isnan(theirs)
        difference = float(np.abs(mine - theirs)[defined].max())
        rows.append({**row, "n_values": int(defined.sum()), "n_undefined": int((~defined).sum()), "max_difference": difference})
    return rows


def drawn(case: Case, peers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how far p-values from drawn signs are from exact ones, in standard errors of the draws."""
    row = next(row for row in peers if row["metric"] == "sign flip")
    exact = np.array(row.pop("values"))
    apart = np.array([sign_flip(x) for x in case["differences"]]) - exact
    return {**row, "n_values": len(exact), "max_standard_errors": float(np.abs(apart / np.sqrt(exact * (1 - exact) / N_FLIPS)).max())}


def golden(case: Case, peers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a small input as the kernels take it, and the peers' values; NaN is written as null.

    What scikit-learn and scipy say is left out, as the tests can ask them themselves.
    """
    arguments = {**list_arguments(case), "rows": case["rows"], "p_values": case["p_values"]}
    kept = [row for row in peers if row["library"] not in ("scikit-learn", "scipy")]
    return {
        "made_by": "benchmarks/metrics/cross_check.py",
        "input": {name: value.astype(int).tolist() if value.dtype == np.bool_ else value.tolist() for name, value in arguments.items()},
        "peers": [{**row, "values": [None if np.isnan(v) else v for v in row["values"]]} for row in kept],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True)
    python = parser.parse_args().peer_python
    small = make_case(1, n_users=24, n_items=80)
    GOLDEN.write_text(json.dumps(golden(small, peer_values(python, small)), separators=(",", ":")) + "\n")
    case = make_case(0, n_users=2000, n_items=600)
    peers = peer_values(python, case)
    rows = compared(case, peers)
    worst = max(row["max_difference"] for row in rows)
    result = {
        "n_users": 2000,
        "n_items": 600,
        "version": rv.__version__,
        "max_difference": worst,
        "rows": rows,
        "drawn": drawn(case, peers),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(f"{row['metric']:<22} {row['library']:<14} {row['n_values']:>6}  {row['max_difference']:.1e}  {row['convention']}")


if __name__ == "__main__":
    main()

"""Choose the defaults of `fm` on validation parts of small data sets.

::

    python benchmarks/tuning/fm_defaults.py ranking      # or: rating; what the log holds already is not measured again
    python benchmarks/tuning/fm_defaults.py --rule       # what the rule says of the log

Of each data set, the rows that the house's cuts with seed 0 would test (``random``, and the first fold of ``new-users`` and
``new-items``) are taken out first and never looked at. From what is left, parts are cut by the same protocols with another seed;
``sparse``, for ratings, is ``random`` with a tenth of the training rows. Rankings: NDCG@20; ratings: RMSE. Vectors of 16 numbers.

The rule, written down before anything was measured. Each default has a standard setting, the first of its list: the machine of the
papers, or what was the default before. On each part the settings of a list are ranked by their value. The setting with the
best mean rank over all data sets and parts becomes the default, if its mean relative gain over the standard is also more
than two standard errors (over parts) above zero; else the standard stays.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import recvec as rv

DATA = Path(os.environ.get("RECVEC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LOG = Path(__file__).with_suffix(".json")
INNER = 101
RATED = ("movielens-100k", "movielens-latest-small-2016")  # not bookcrossing: its thousands of places and authors make a fit slow
ALL, ITEMS = ("random", "new-users", "new-items"), ("random", "new-items")
SETS: dict[str, dict[str, Any]] = {
    "movielens-100k": {"users": "users", "items": "items", "use": ["gender", "age", "occupation", "genres"], "parts": ALL},
    "movielens-latest-small-2016": {"items": "items", "use": ["genres"], "parts": ITEMS},
    "bookcrossing-small": {"users": "users", "items": "items", "use": ["age", "location", "author", "publisher", "year"], "parts": ALL},
    "lastfm-2k": {"rows": "user_artists", "items": "item_tags", "use": ["tags"], "parts": ITEMS},
}
TYPES = {"genres": "list", "tags": "list", "location": "category", "author": "category", "publisher": "category", "occupation": "category"}
LISTS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "ranking": {
        "regularization and biases of items": [
            {"reg": reg, "shared_reg": shared, "item_bias": bias}
            for bias in (False, True) for reg, shared in ((0.012, 1.0), (0.003, 1.0), (0.003, 0.1), (0.012, 0.1))
        ],
        "cold_weight": [{"cold_weight": weight} for weight in (0.0, 0.1, 1.0)],
        "balance": [{"balance": weight} for weight in (10.0, 5.0, 20.0)],
        "epochs": [{"epochs": n} for n in (12, 6, 20)],
    },
    "rating": {
        "pairs_within": [{"pairs_within": True}, {"pairs_within": False}],
        "epochs": [{"epochs": 100}, {"epochs": 50}, {"epochs": 200}],
        "n_kept": [{"n_kept": 32}, {"n_kept": 16}, {"n_kept": 64}],
    },
}  # fmt: skip


def read(name: str) -> Any:
    """Read the rows of a data set that no test part with seed 0 holds."""
    told, folder = SETS[name], DATA / name
    tables = {side: folder / f"{told[side]}.parquet" for side in ("users", "items") if side in told}
    types = {column: kind for column, kind in TYPES.items() if column in told["use"]}
    data = rv.read(folder / f"{told.get('rows', 'ratings')}.parquet", use=told["use"], types=types, list_separator="|", **tables)
    rows = data.interactions
    known = np.ones(len(rows), bool)
    known[np.random.default_rng(0).permutation(len(rows))[: int(0.1 * len(rows))]] = False
    for protocol, side in (("new-users", rows.users), ("new-items", rows.items)):
        test = rv.split(data, protocol, seed=0).test
        known &= ~np.isin(side, test.users if protocol == "new-users" else test.items)
    return data.with_interactions(rows.take(np.flatnonzero(known)))


def parts(name: str, task: str = "rating") -> dict[str, Any]:
    """Return the validation parts of a data set."""
    data = read(name)
    found = {protocol: rv.split(data, protocol, seed=INNER) for protocol in SETS[name]["parts"]}
    if task == "ranking":
        return found
    rows = found["random"].train.interactions
    few = np.sort(np.random.default_rng(INNER).permutation(len(rows))[: len(rows) // 10])
    found["sparse"] = replace(found["random"], train=found["random"].train.with_interactions(rows.take(few)))
    return found


def value(task: str, setting: dict[str, Any], split: Any, seed: int = 0) -> float:
    """Return the score of a setting on a part."""
    given = dict(setting)
    if "balance" in given:
        pairs = split.train.matrix().tocsr()
        size = len(np.unique(split.train.interactions.users)) * len(np.unique(split.train.interactions.items))
        given["unobserved_weight"] = given.pop("balance") * float(pairs.sum()) / size
    found = rv.evaluate(rv.FM(task=task, embedding_dim=16, **given).fit(split.train, rng=seed), split, k=20)
    return float(found.metrics["rmse" if task == "rating" else "ndcg@20"])


def measure(task: str) -> None:
    """Measure what the log does not hold yet."""
    lines = log()
    for name in SETS:
        if task == "rating" and name not in RATED:
            continue
        cuts = parts(name, task)
        for default, settings in LISTS[task].items():
            for part, split in cuts.items():
                for setting in settings:
                    line = {"task": task, "default": default, "data": name, "part": part, "setting": setting}
                    if any({k: ln[k] for k in line} == line for ln in lines):
                        continue
                    same = [ln["value"] for ln in lines if setting == settings[0] and _standard(ln) and _place(ln) == _place(line)]
                    lines.append({**line, "value": same[0] if same else round(value(task, setting, split), 5)})
                    print(lines[-1], file=sys.stderr, flush=True)
                    LOG.write_text(json.dumps(lines, indent=1) + "\n")
    rule(lines)


def _standard(line: dict[str, Any]) -> bool:
    """Return whether the setting is the first of its list: those are all the same machine."""
    return bool(line["setting"] == LISTS[line["task"]][line["default"]][0])


def _place(line: dict[str, Any]) -> tuple[str, str, str]:
    return line["task"], line["data"], line["part"]


def log() -> list[dict[str, Any]]:
    """Return what was measured."""
    return json.loads(LOG.read_text()) if LOG.exists() else []


def rule(lines: list[dict[str, Any]]) -> None:
    """Print mean ranks and gains of all settings, and what becomes the default."""
    for task, lists in LISTS.items():
        for default, settings in lists.items():
            mine = [line for line in lines if (line["task"], line["default"]) == (task, default)]
            keys = sorted({(line["data"], line["part"]) for line in mine})
            found = {(ln["data"], ln["part"], json.dumps(ln["setting"])): ln["value"] for ln in mine}
            table = np.array([[found.get((*key, json.dumps(s)), np.nan) for s in settings] for key in keys]).reshape(-1, len(settings))
            table = table[np.isfinite(table).all(axis=1)] * (-1 if task == "rating" else 1)
            if not len(table):
                continue
            ranks = (table[:, None] > table[:, :, None]).sum(axis=2) + 1 + ((table[:, None] == table[:, :, None]).sum(axis=2) - 1) / 2
            gains = (table - table[:, :1]) / np.abs(table[:, :1])
            error = gains.std(axis=0, ddof=1) / np.sqrt(len(table))
            best = int(np.argmin(ranks.mean(axis=0)))
            chosen = settings[best if gains[:, best].mean() > 2 * error[best] else 0]
            print(f"{task}, {default}: {chosen} over {len(table)} parts")
            for setting, rank, gain, e in zip(settings, ranks.mean(axis=0), gains.mean(axis=0), error, strict=True):
                print(f"    {setting}: mean rank {rank:.2f}, gain {gain:+.2%} +- {e:.2%}")


def main() -> None:
    """Measure, or say what the rule says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=LISTS)
    parser.add_argument("--rule", action="store_true")
    given = parser.parse_args()
    if given.rule or given.task is None:
        rule(log())
    else:
        measure(given.task)


if __name__ == "__main__":
    main()

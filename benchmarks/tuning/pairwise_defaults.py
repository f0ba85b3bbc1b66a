"""Choose the defaults of `bpr` and `warp`: one grid, several data sets, validation parts of the training tables only.

For each data set one tenth of the training rows is held out at random, every setting is fitted on the rest and scored by
ndcg@20 on the cut; test parts are never read. `scale` multiplies the three regularizations of a fixed proportion. The default
is the setting whose score, relative to the best of its data set, is highest on average. `BEYOND` goes on where the best of
the grid lay at its edge. A setting that the log already holds is not fitted again.
Usage: python benchmarks/tuning/pairwise_defaults.py [--method bpr] [--out FILE]; data folder: RECVEC_DATA.
"""

import argparse
import itertools
import json
from pathlib import Path

import polars as pl
from pairwise import DATA, score

import recvec as rv
from recvec.errors import DivergedError

SETS = ("sample", "movielens-100k", "amazon-musical-instruments-5core", "lastfm-2k", "deepcf-lastfm")
GRIDS = {
    "bpr": {"learning_rate": (0.05, 0.1, 0.2, 0.4), "scale": (0.3, 1.0, 3.0), "mean_rank": (0.03, 0.1)},
    "warp": {"learning_rate": (0.05, 0.1, 0.2, 0.4), "scale": (0.3, 1.0, 3.0), "max_draws": (10, 50)},
}
BEYOND: dict[str, tuple[dict[str, tuple[float, ...]], ...]] = {
    "bpr": (
        {"learning_rate": (0.05, 0.1, 0.2), "scale": (6.0, 10.0), "mean_rank": (0.1,)},
        {"learning_rate": (0.05, 0.1), "scale": (3.0, 6.0), "mean_rank": (0.3,)},
    ),
    "warp": (
        {"learning_rate": (0.05, 0.1), "scale": (6.0, 10.0, 20.0), "max_draws": (10,)},
        {"learning_rate": (0.1, 0.2), "scale": (20.0, 40.0), "max_draws": (10,)},
        {"learning_rate": (0.025,), "scale": (3.0, 6.0), "max_draws": (10,)},
        {"learning_rate": (0.025, 0.05), "scale": (3.0, 6.0), "max_draws": (5,)},
    ),
}
REG = {"reg_user": 0.01, "reg_positive": 0.003, "reg_negative": 0.01}


def training_part(name: str) -> rv.Dataset:
    """Read what a method may see of a data set."""
    if name == "sample":
        return rv.split(rv.sample(seed=1)).train
    if name == "lastfm-2k":
        return rv.read(pl.read_parquet(DATA / name / "user_artists.parquet").drop("weight"))
    if name == "movielens-100k":
        return rv.read(pl.read_parquet(DATA / name / "ratings.parquet").filter(~pl.col("in_ua_test")).select("user_id", "item_id"))
    if name == "amazon-musical-instruments-5core":
        return rv.read(pl.read_parquet(DATA / name / "reviews.parquet").select("user_id", "item_id"))
    return rv.read(DATA / name / "train.parquet")


def main() -> None:
    """Score the grid on every data set, writing the log after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=GRIDS, action="append")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pairwise_defaults.json")
    given = parser.parse_args()
    result = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name, data in itertools.product(given.method or GRIDS, SETS):
        split = rv.split(training_part(data), "random", seed=0)
        for setting in settings(name):
            if any(row | {"data": data, **setting} == row for row in result.get(name, [])):
                continue
            chosen = {key: round(reg * setting["scale"], 6) for key, reg in REG.items()}
            chosen |= {key: value for key, value in setting.items() if key != "scale"}
            try:
                values_found = score(rv.method(name, **chosen).fit(split.train), split)
            except DivergedError:
                values_found = {"recall@20": 0.0, "ndcg@20": 0.0}
            result.setdefault(name, []).append({"data": data, **setting, **values_found})
        given.out.write_text(json.dumps(result, indent=1) + "\n")
        print(name, data, max(result[name], key=lambda row, of=data: (row["data"] == of) * row["ndcg@20"]), flush=True)
    for name, rows in result.items():
        print(name, best(rows, tuple(GRIDS[name])))


def settings(name: str) -> list[dict[str, float]]:
    """Return the settings of the grid and those beyond its edge."""
    grids = (GRIDS[name], *BEYOND[name])
    return [dict(zip(grid, values, strict=True)) for grid in grids for values in itertools.product(*grid.values())]


def best(rows: list[dict[str, float]], keys: tuple[str, ...]) -> list[tuple[float, dict[str, float]]]:
    """Return the five best settings by the mean share of the best score of each data set."""
    tops = {row["data"]: max(r["ndcg@20"] for r in rows if r["data"] == row["data"]) for row in rows}
    shares: dict[tuple[float, ...], list[float]] = {}
    for row in rows:
        shares.setdefault(tuple(row[k] for k in keys), []).append(row["ndcg@20"] / tops[row["data"]])
    ranked = sorted(((sum(s) / len(s), dict(zip(keys, at, strict=True))) for at, s in shares.items()), key=lambda pair: -pair[0])
    return ranked[:5]


if __name__ == "__main__":
    main()

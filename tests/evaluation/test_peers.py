"""Our values against those of other libraries, which `benchmarks/metrics/cross_check.py` wrote down."""

import json
from pathlib import Path

import numpy as np
import pytest

from recvec.evaluation.significance import holm
from recvec.kernels import catalogue, metrics

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
ROWS = GOLDEN["peers"]


def ours(metric: str) -> np.ndarray:
    given = {name: np.array(value) for name, value in GOLDEN["input"].items()}
    name, _, length = metric.partition("@")
    if name == "holm":
        return holm(given["p_values"])
    k = int(length)
    if name in metrics.RANKING:
        return metrics.RANKING[name](given["hits"][:, :k].astype(bool), given["n_relevant"]).sum(axis=1)
    rows = given["rows"][:, :k].astype(np.int32)
    shown = catalogue.exposure(rows, len(given["item_counts"]))
    match name:
        case "novelty":
            return catalogue.novelty(rows, given["item_counts"], len(rows))
        case "popularity_lift":
            return catalogue.popularity_lift(rows, given["item_counts"], given["usual"])
        case "coverage":
            return np.array([catalogue.coverage(shown)])
        case "gini":
            return np.array([catalogue.gini(shown)])
    raise AssertionError(metric)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['metric']}-{row['library']}")
def test_other_libraries_agree(row: dict) -> None:
    np.testing.assert_allclose(ours(row["metric"]), row["values"], rtol=0, atol=1e-9)


def test_the_input_asks_hard_questions() -> None:
    given = {name: np.array(value) for name, value in GOLDEN["input"].items()}
    lengths = (given["rows"] >= 0).sum(axis=1)
    assert lengths.min() < 20 == lengths.max()  # short lists
    assert given["n_relevant"].min() < 5
    assert given["n_relevant"].max() > 20  # more relevant items than places
    assert (given["item_counts"][given["rows"][given["rows"] >= 0]] == 0).any()  # a listed item that nobody met
    assert {row["library"] for row in ROWS} == {"ranx", "rectools", "lenskit", "inequality", "scikit-bio", "statsmodels"}


def test_the_published_comparison_is_within_the_bar() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "metrics" / "results" / "cross_check.json"
    result = json.loads(path.read_text())
    assert max(row["max_difference"] for row in result["rows"]) == result["max_difference"] < 1e-9
    compared = {row["metric"].partition("@")[0] for row in result["rows"]}
    ranking = {*metrics.RANKING, "novelty", "popularity_lift", "coverage", "gini"}
    assert compared >= ranking | {"user auc", "auc", "logloss", "rmse", "mae", "mean rank", "holm", "bootstrap interval"}

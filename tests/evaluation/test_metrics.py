"""Every formula against a slow reading of its definition, and against scikit-learn where it has the metric."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from recvec.kernels import metrics

CASES = st.integers(0, 10_000)


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return hits (B, k) and |R| (B,) with at least as many relevant items as hits."""
    rng = np.random.default_rng(seed)
    hits = rng.random((6, int(rng.integers(1, 12)))) < rng.random()
    return hits, np.maximum(1, hits.sum(axis=1) + rng.integers(0, 8, 6))


def slow(name: str, hits: list[bool], n_relevant: int) -> float:
    k, found = len(hits), sum(hits)
    ranks = [r for r, hit in enumerate(hits, start=1) if hit]
    match name:
        case "recall":
            return found / n_relevant
        case "recall_capped":
            return found / min(k, n_relevant)
        case "precision":
            return found / k
        case "hit_rate":
            return float(found > 0)
        case "ndcg":
            return sum(1 / math.log2(r + 1) for r in ranks) / sum(1 / math.log2(r + 1) for r in range(1, min(k, n_relevant) + 1))
        case "map":
            return sum(sum(hits[:r]) / r for r in ranks) / min(k, n_relevant)
        case "mrr":
            return 1 / ranks[0] if ranks else 0.0
    raise AssertionError(name)


@given(CASES)
def test_metrics_agree_with_their_definitions(seed: int) -> None:
    hits, n_relevant = draw(seed)
    for name, metric in metrics.RANKING.items():
        expected = [slow(name, row.tolist(), int(n)) for row, n in zip(hits, n_relevant, strict=True)]
        np.testing.assert_allclose(metric(hits, n_relevant).sum(axis=1), expected, atol=1e-12, err_msg=name)


@given(CASES)
def test_metrics_lie_between_zero_and_one_and_a_perfect_list_has_one(seed: int) -> None:
    hits, n_relevant = draw(seed)
    perfect = np.arange(hits.shape[1]) < n_relevant[:, None]
    for name, metric in metrics.RANKING.items():
        values = metric(hits, n_relevant).sum(axis=1)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all(), name
        if name in ("recall_capped", "ndcg", "map", "mrr", "hit_rate"):
            np.testing.assert_allclose(metric(perfect, n_relevant).sum(axis=1), 1, atol=1e-12, err_msg=name)


@given(CASES)
def test_ndcg_and_map_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(15) < 0.4
    if not truth.any():
        truth[3] = True
    scores = rng.permutation(15).astype(float)
    order = np.argsort(-scores)
    k = int(rng.integers(2, 15))
    hits, n = truth[order][None, :k], np.array([truth.sum()])
    assert metrics.ndcg(hits, n)[0].sum() == pytest.approx(ndcg_score(truth[None].astype(float), scores[None], k=k), abs=1e-9)
    whole = metrics.mean_average_precision(truth[order][None], n)[0].sum()  # scikit-learn has no cut-off: k is the whole list
    assert whole == pytest.approx(average_precision_score(truth, scores), abs=1e-9)


@given(st.integers(1, 30), st.integers(1, 20))
def test_rank_metrics_equal_list_metrics_for_one_relevant_item(rank: int, k: int) -> None:
    hits = (np.arange(1, k + 1) == rank)[None]
    by_rank = metrics.from_rank(np.array([float(rank)]), k)
    for name, metric in metrics.RANKING.items():
        assert by_rank[name][0] == pytest.approx(metric(hits, np.array([1]))[0].sum()), name


def test_ties_take_their_mean_rank() -> None:
    others = np.array([[3.0, 1.0, 1.0, 0.0, np.nan], [2.0, 2.0, 2.0, 2.0, 2.0]])
    assert metrics.mean_rank(np.array([1.0, 2.0]), others).tolist() == [3.0, 3.5]
    assert metrics.from_rank(np.array([10.5, 11.0]), 10)["hit_rate"].tolist() == [1.0, 0.0]

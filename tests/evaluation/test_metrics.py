"""Every formula against a slow reading of its definition, and against scikit-learn where it has the metric."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, log_loss, ndcg_score

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
def test_only_hits_gain_and_one_hit_of_hit_rate_and_mrr(seed: int) -> None:
    hits, n_relevant = draw(seed)
    for name, metric in metrics.RANKING.items():
        gains = metric(hits, n_relevant)
        assert gains.shape == hits.shape
        assert gains.dtype == np.float64
        single = name in ("hit_rate", "mrr")
        carrying = np.cumsum(hits, axis=1) * hits == 1 if single else hits
        np.testing.assert_array_equal(gains > 0, carrying, err_msg=name)


def test_gains_by_hand() -> None:
    hits, n_relevant = np.array([[False, True, False, True]]), np.array([3])
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    expected = {
        "recall": [0, 1 / 3, 0, 1 / 3],
        "recall_capped": [0, 1 / 3, 0, 1 / 3],
        "precision": [0, 1 / 4, 0, 1 / 4],
        "hit_rate": [0, 1, 0, 0],
        "ndcg": [0, 1 / math.log2(3) / ideal, 0, 1 / math.log2(5) / ideal],
        "map": [0, 1 / 2 / 3, 0, 2 / 4 / 3],
        "mrr": [0, 1 / 2, 0, 0],
    }
    assert list(expected) == list(metrics.RANKING)
    for name, gains in expected.items():
        np.testing.assert_allclose(metrics.RANKING[name](hits, n_relevant)[0], gains, rtol=1e-15, err_msg=name)


@given(CASES)
def test_a_hit_that_moves_up_never_loses(seed: int) -> None:
    hits, n_relevant = draw(seed)
    higher = hits.copy()
    for row in higher:  # the last hit that has a miss before it changes places with that miss
        for r in range(len(row) - 1, 0, -1):
            if row[r] and not row[r - 1]:
                row[r - 1], row[r] = True, False
                break
    moved = (higher != hits).any(axis=1)
    for name, metric in metrics.RANKING.items():
        before, after = metric(hits, n_relevant).sum(axis=1), metric(higher, n_relevant).sum(axis=1)
        assert (after >= before - 1e-12).all(), name
        if name in ("ndcg", "map"):  # the metrics that look at every rank
            assert (after > before)[moved].all(), name


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


@given(CASES)
def test_mean_ranks_are_those_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    own, others = rng.integers(0, 4, 8).astype(float), rng.integers(0, 4, (8, 6)).astype(float)
    others[rng.random(others.shape) < 0.3] = np.nan
    expected = [rankdata(-np.append(s, o[~np.isnan(o)]))[0] for s, o in zip(own, others, strict=True)]
    assert metrics.mean_rank(own, others).tolist() == expected


@given(CASES)
def test_logloss_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = np.append(rng.integers(0, 2, 30), [0, 1, 0, 1])
    probability = np.append(rng.random(30), [0.0, 0.0, 1.0, 1.0])
    terms = metrics.logloss_terms(label, probability)
    assert terms.mean() == pytest.approx(log_loss(label, probability), abs=1e-9)
    np.testing.assert_array_equal(metrics.logloss_terms(2 * label - 1, probability), terms)  # labels 1 and -1
    assert np.isfinite(terms).all()
    assert terms[-4:] == pytest.approx([0, 36.0437, 36.0437, 0], abs=1e-4)

"""AUC against a count of all pairs, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from recvec.errors import ValueRangeError
from recvec.kernels.auc import CHUNK, auc, auc_of_draws, auc_of_scores

SEEDS = st.integers(0, 2**32 - 1)


def lists(rng, n_users, n_items, most):
    """Return sorted lists of 0 ... `most` distinct items a user, as CSR arrays."""
    kept = [np.sort(rng.choice(n_items, rng.integers(0, min(most, n_items) + 1), replace=False)) for _ in range(n_users)]
    return np.cumsum([0, *map(len, kept)]), np.concatenate(kept).astype(np.int32)


def rows_of(pair):
    return np.split(pair[1], pair[0][1:-1])


def by_pairs(scores, relevant, exclude=None, candidates=None):
    """Count all pairs, as the definition says; an item that is not available is below everything else."""
    n_users, n_items = scores.shape
    allowed = set(range(n_items)) if candidates is None else set(candidates.tolist())
    out = rows_of(exclude) if exclude is not None else [[]] * n_users
    values = []
    for own, items, without in zip(np.where(np.isnan(scores), -np.inf, scores), rows_of(relevant), out, strict=True):
        asked = [own[i] for i in items if i in allowed]
        others = [own[i] for i in allowed - set(items) - set(without)]
        wins = sum((a > b) + 0.5 * (a == b) for a in asked for b in others)
        values.append(wins / (len(asked) * len(others)) if asked and others else np.nan)
    return values


@given(SEEDS, st.sampled_from([1, 2, 7, 40]), st.booleans(), st.booleans(), st.booleans())
def test_counts_all_pairs(seed, n_items, excluding, choosing, holes):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, 4, (5, n_items)).astype(np.float32)  # many ties, and both signs of zero
    scores[rng.random(scores.shape) < 0.1] = -0.0
    if holes:
        scores[rng.random(scores.shape) < 0.2] = np.nan
        scores[rng.random(scores.shape) < 0.1] = -np.inf
        scores[rng.random(scores.shape) < 0.1] = np.inf
    relevant = lists(rng, 5, n_items, 8)
    exclude = lists(rng, 5, n_items, n_items) if excluding else None  # relevant items among them as well
    candidates = rng.choice(n_items, rng.integers(0, n_items + 1), replace=False).astype(np.int32) if choosing else None
    answer = auc_of_scores(scores, relevant, exclude, candidates)
    np.testing.assert_array_equal(answer, by_pairs(scores, relevant, exclude, candidates))


def test_agrees_with_scikit_learn_beyond_one_chunk() -> None:
    rng = np.random.default_rng(0)
    n_items = 2 * CHUNK + 3
    scores = np.round(rng.standard_normal((3, n_items)), 2).astype(np.float32)
    relevant = np.array([0, 1, 1, 70]), np.sort(rng.choice(n_items - 1, 70, replace=False)).astype(np.int32)
    relevant[1][0] = n_items - 1  # the first user's only item is the very last
    expected = [
        roc_auc_score(np.isin(np.arange(n_items), i), s) if len(i) else np.nan for s, i in zip(scores, rows_of(relevant), strict=True)
    ]
    np.testing.assert_allclose(auc_of_scores(scores, relevant), expected, rtol=0, atol=1e-12)


@given(SEEDS)
def test_negated_scores_give_the_complement(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, 4, (4, 20)).astype(np.float32)
    relevant, exclude = lists(rng, 4, 20, 5), lists(rng, 4, 20, 5)
    np.testing.assert_allclose(auc_of_scores(scores, relevant, exclude), 1 - auc_of_scores(-scores, relevant, exclude), rtol=0, atol=1e-15)


@given(SEEDS)
def test_neither_the_order_of_the_others_nor_what_is_excluded_matters(seed):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((1, 30), np.float32)
    relevant, exclude = np.arange(4, dtype=np.int32), np.arange(20, 30, dtype=np.int32)
    given = (np.array([0, 4]), relevant), (np.array([0, 10]), exclude)
    changed = scores.copy()
    changed[0, 4:20] = rng.permutation(scores[0, 4:20])
    changed[0, 20:] = rng.standard_normal(10)
    assert auc_of_scores(changed, *given)[0] == auc_of_scores(scores, *given)[0]


def test_the_scores_are_left_as_they_are() -> None:
    scores = np.array([[1, np.nan, 0]], np.float32)
    auc_of_scores(scores, (np.array([0, 1]), np.array([0], np.int32)))
    np.testing.assert_array_equal(scores, [[1, np.nan, 0]])


SCORES = np.zeros((2, 3), np.float32)
LISTS = np.array([0, 1, 1]), np.array([2], np.int32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SCORES.astype(np.float64), LISTS), "scores is float64 with 2 axes; allowed: a float32 array with 2 axes"),
        ((np.asfortranarray(SCORES), LISTS), "scores is not C-contiguous"),
        ((SCORES, (np.array([0, 1]), np.array([2]))), "relevant has 1 rows; allowed: 2"),
        ((SCORES, (np.array([0, 2, 2]), np.array([2, 0]))), "row 0 of relevant is not sorted"),
        ((SCORES, (np.array([0, 1, 1]), np.array([3]))), "relevant holds an item row outside 0 ... 2, the columns of the scores"),
        ((SCORES, (np.array([0, 1, 1]), np.array([-1]))), "relevant holds an item row outside 0 ... 2"),
        ((SCORES, LISTS, (np.array([0, 0, 1]), np.array([7]))), "exclude holds an item row outside 0 ... 2"),
        ((SCORES, LISTS, None, np.array([0, 0], np.int32)), "candidates holds row 0 twice"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueRangeError, match=message):
        auc_of_scores(*arguments)


# All rows together ------------------------------------------------------------------------------------------------


@given(SEEDS)
def test_pooled_auc_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    label, score = np.append(rng.integers(0, 2, 40), [0, 1]), rng.integers(0, 6, 42) / 7
    times = np.append(rng.integers(0, 4, 40), [1, 1])
    assert auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert auc(label, score, times) == pytest.approx(roc_auc_score(label, score, sample_weight=times), abs=1e-12)
    assert auc(2 * label - 1, score) == auc(label, score)  # labels 1 and -1
    assert auc(label, -score) == pytest.approx(1 - auc(label, score), abs=1e-12)
    repeated = np.repeat(label, times), np.repeat(score, times)
    assert auc(*repeated) == pytest.approx(auc(label, score, times), abs=1e-12)


@pytest.mark.parametrize("label", [[], [0, 0], [1, 1]])
def test_without_both_kinds_of_rows_auc_is_not_defined(label):
    assert np.isnan(auc(np.array(label), np.arange(float(len(label)))))


def test_a_score_that_is_not_a_number_is_the_lowest() -> None:
    assert auc(np.array([1, 0]), np.array([np.nan, -5.0])) == 0
    assert auc(np.array([1, 0]), np.array([np.nan, -np.inf])) == 0.5


def test_draws_are_weighted_aucs() -> None:
    rng = np.random.default_rng(0)
    label, score, groups = rng.integers(0, 2, 50), rng.integers(0, 9, 50), rng.integers(0, 6, 50)
    blocks = [rng.integers(0, 3, (6, 4)).astype(np.int32), rng.integers(0, 3, (6, 1)).astype(np.int32)]
    expected = [auc(label, score, draw[groups]) for block in blocks for draw in block.T]
    np.testing.assert_allclose(auc_of_draws(label, score, groups, blocks), expected, rtol=0, atol=1e-15)

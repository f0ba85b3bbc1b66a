"""The screen against a stable sort of all scores: it may only save work, never change a list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract.runtime import Threads
from recvec.kernels import screening
from recvec.kernels.byte_tiles import multiplies_bytes
from recvec.kernels.topk import _dot, top_k, top_k_by
from tests.kernels.test_topk import assert_same, exclusions, reference, whole_numbers

TWO = Threads(2)
pytestmark = pytest.mark.skipif(not multiplies_bytes(), reason="this processor has no instruction that multiplies bytes")


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Screen small problems too."""
    for name in ("MIN_QUERIES", "MIN_ITEMS", "MAX_SHARE"):
        monkeypatch.setattr(screening, name, 1)


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_queries = draw(st.sampled_from([1, 5, 6, 7, screening.Screen.block + 1]))
    n_items = draw(st.sampled_from([30, 63, 64, 65, 1000, 32 * 64 + 1]))
    d = draw(st.sampled_from([1, 2, 16, 33]))
    exclude = exclusions(rng, n_queries, n_items, draw(st.integers(0, n_items))) if draw(st.booleans()) else None
    candidates = None
    if draw(st.booleans()):
        candidates = rng.permutation(n_items)[: draw(st.integers(20, n_items))].astype(np.int32)
    items = whole_numbers(rng, n_items, d, largest=draw(st.sampled_from([1, 2, 50])))
    items *= rng.choice([0, 1, 1, 4], (n_items, 1)).astype(np.float32)  # lengths differ, as those of trained vectors do
    return whole_numbers(rng, n_queries, d), items, draw(st.sampled_from([1, 2, 10, 20])), exclude, candidates


@settings(max_examples=60, deadline=None)
@given(problems())
def test_equals_a_stable_sort(problem):
    queries, items, k, exclude, candidates = problem
    expected = reference(queries @ items.T, k, exclude, candidates)
    assert_same(top_k(queries, items, k, exclude=exclude, candidates=candidates, executor=TWO), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-34, 1e-12, 1.0, 1e12]), st.sampled_from(["normal", "outlier", "popular", "sparse"]))
def test_finds_the_best_scores_of_any_spread(seed, size, kind):
    rng = np.random.default_rng(seed)
    queries, items = rng.standard_normal((40, 24), dtype=np.float32), rng.standard_normal((3000, 24), dtype=np.float32)
    if kind == "outlier":
        items[:, 0] *= 1000
        queries[::2, 1] *= 1000
    elif kind == "popular":
        items *= rng.pareto(1.0, (3000, 1)).astype(np.float32)
    elif kind == "sparse":
        items *= rng.random(items.shape) < 0.05
    queries *= np.float32(size)
    rows, scores = top_k(queries, items, 10, executor=TWO)
    exact = queries.astype(np.float64) @ items.astype(np.float64).T
    best = -np.sort(-exact, axis=1)[:, :10]
    room = 1e-5 * np.linalg.norm(queries.astype(np.float64), axis=1)[:, None] * np.linalg.norm(items, axis=1).max()
    assert (np.abs(scores - best) <= room).all()
    assert (np.abs(np.take_along_axis(exact, rows.astype(np.int64), axis=1) - best) <= room).all()
    assert all(len(set(row)) == 10 for row in rows.tolist())


def test_same_bits_for_any_number_of_threads_and_any_company():
    rng = np.random.default_rng(0)
    queries, items = rng.standard_normal((1100, 20), dtype=np.float32), rng.standard_normal((5000, 20), dtype=np.float32)
    rows, scores = top_k(queries, items, 10, executor=Threads(1))
    assert_same(top_k(queries, items, 10, executor=Threads(3)), (rows, scores))
    assert_same(top_k(queries[400:700], items, 10, executor=TWO), (rows[400:700], scores[400:700]))


def test_a_query_of_zeros_lists_the_first_rows_that_are_not_excluded():
    queries, items = np.zeros((7, 8), np.float32), np.random.default_rng(0).standard_normal((200, 8), dtype=np.float32)
    queries[3] = 1
    exclude = np.array([0, 2, 2, 2, 2, 2, 2, 2]), np.array([0, 2], np.int32)
    rows, scores = top_k(queries, items, 3, exclude=exclude, executor=TWO)
    assert rows[:3].tolist() == [[1, 3, 4], [0, 1, 2], [0, 1, 2]]
    assert (scores[[0, 1, 2, 4, 5, 6]] == 0).all()
    assert rows[3].tolist() == np.argsort(-items.sum(axis=1), kind="stable")[:3].tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_vectors_that_cannot_be_bounded_are_scored_one_by_one(value):
    rng = np.random.default_rng(0)
    queries, items = rng.standard_normal((20, 8), dtype=np.float32), rng.standard_normal((300, 8), dtype=np.float32)
    items[5, 2] = value
    assert not screening.Screen(queries, items, np.arange(300, dtype=np.int32), TWO).holds
    assert_same(top_k(queries, items, 5, executor=TWO), top_k_by(_dot, queries, items, 5, executor=TWO))


def test_lists_shorter_than_k_say_so():
    queries, items = np.ones((6, 4), np.float32), np.ones((40, 4), np.float32)
    exclude = np.arange(7) * 35, np.tile(np.arange(35, dtype=np.int32), 6)
    rows, scores = top_k(queries, items, 10, exclude=exclude, executor=TWO)
    assert (rows == np.array([35, 36, 37, 38, 39, -1, -1, -1, -1, -1])).all()
    assert np.isneginf(scores[:, 5:]).all()

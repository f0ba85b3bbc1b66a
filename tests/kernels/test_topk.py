"""Top-k against a stable sort of all scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract.runtime import Threads
from recvec.errors import ValueRangeError
from recvec.kernels.topk import BLOCK_SCORES, QUERY_BLOCK, top_k, top_k_of_scores

TWO = Threads(2)
ITEM_BLOCK = BLOCK_SCORES // QUERY_BLOCK


def reference(scores, k, exclude=None, candidates=None):
    """What top-k is by definition: all scores, sorted stably."""
    scores = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32)
    if exclude is not None:
        indptr, indices = exclude
        for q in range(len(scores)):
            scores[q, indices[indptr[q] : indptr[q + 1]]] = -np.inf
    if candidates is not None:
        forbidden = np.setdiff1d(np.arange(scores.shape[1]), candidates)
        scores[:, forbidden] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    beyond = ((0, 0), (0, k - order.shape[1]))
    rows = np.pad(np.where(best == -np.inf, -1, order), beyond, constant_values=-1)
    return rows, np.pad(best, beyond, constant_values=-np.inf)


def assert_same(answer, expected):
    rows, scores = answer
    assert rows.dtype == np.int32
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_array_equal(scores, expected[1])


def exclusions(rng, n_queries, n_items, most):
    """Return sorted exclusions of 0 ... `most` items a query."""
    kept = [np.unique(rng.integers(0, n_items, rng.integers(0, most + 1))) for _ in range(n_queries)]
    indptr = np.cumsum([0, *map(len, kept)])
    return indptr, np.concatenate(kept).astype(np.int32)


def whole_numbers(rng, *shape, largest=2):
    """Return small whole numbers: products are exact in any order of summation, and ties are many."""
    return rng.integers(-largest, largest + 1, shape).astype(np.float32)


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_queries = draw(st.sampled_from([0, 1, 2, 7, QUERY_BLOCK + 1]))
    n_items = draw(st.sampled_from([1, 2, 63, 65, ITEM_BLOCK, 2 * ITEM_BLOCK + 1]))
    d = draw(st.sampled_from([1, 2, 16, 300]))
    exclude = exclusions(rng, n_queries, n_items, draw(st.integers(0, n_items))) if draw(st.booleans()) and n_queries else None
    candidates = None
    if draw(st.booleans()):
        candidates = rng.permutation(n_items)[: draw(st.integers(0, n_items))].astype(np.int32)
    k = draw(st.sampled_from([1, 2, 10, 100, 1000]))
    return whole_numbers(rng, n_queries, d), whole_numbers(rng, n_items, d), k, exclude, candidates


@settings(max_examples=80, deadline=None)
@given(problems())
def test_equals_a_stable_sort(problem):
    queries, items, k, exclude, candidates = problem
    scores = queries @ items.T
    expected = reference(scores, k, exclude, candidates)
    assert_same(top_k(queries, items, k, exclude=exclude, candidates=candidates, executor=TWO), expected)
    assert_same(top_k_of_scores(scores, k, exclude=exclude, candidates=candidates), expected)
    assert_same(top_k_of_scores(scores, k, exclude=exclude, candidates=candidates, executor=TWO), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True, allow_subnormal=True), min_size=1, max_size=300),
    st.integers(1, 80),
)
def test_any_float_is_ranked(values, k):
    scores = np.array([values, values[::-1]], np.float32)
    assert_same(top_k_of_scores(scores, k), reference(scores, k))


def test_float_vectors_give_the_products():
    rng = np.random.default_rng(0)
    queries, items = rng.standard_normal((40, 64), np.float32), rng.standard_normal((3000, 64), np.float32)
    rows, scores = top_k(queries, items, 20, executor=TWO)
    exact = queries.astype(np.float64) @ items.T.astype(np.float64)
    np.testing.assert_array_equal(rows, reference(exact, 20)[0])
    np.testing.assert_allclose(scores, np.take_along_axis(exact, rows, axis=1), rtol=1e-5)


def test_zero_queries_list_the_smallest_rows():
    items = whole_numbers(np.random.default_rng(0), 5000, 8)
    rows, scores = top_k(np.zeros((3, 8), np.float32), items, 300, executor=TWO)
    np.testing.assert_array_equal(rows, np.tile(np.arange(300), (3, 1)))
    assert (scores == 0).all()


def test_minus_zero_ties_with_zero():
    rows, _ = top_k_of_scores(np.array([[-0.0, 0.0, -0.0]], np.float32), 3)
    np.testing.assert_array_equal(rows, [[0, 1, 2]])


def test_all_excluded():
    items = np.ones((4, 2), np.float32)
    exclude = np.array([0, 4, 6]), np.array([0, 1, 2, 3, 0, 1])
    rows, scores = top_k(np.ones((2, 2), np.float32), items, 3, exclude=exclude, executor=TWO)
    np.testing.assert_array_equal(rows, [[-1, -1, -1], [2, 3, -1]])
    np.testing.assert_array_equal(scores, np.float32([[-np.inf] * 3, [2, 2, -np.inf]]))


@pytest.mark.parametrize("candidates", [None, np.empty(0, np.int32)])
def test_no_items(candidates):
    items = np.empty((0 if candidates is None else 5, 3), np.float32)
    rows, scores = top_k(np.ones((2, 3), np.float32), items, 4, candidates=candidates, executor=TWO)
    assert (rows == -1).all()
    assert (scores == -np.inf).all()


def test_exclusion_may_be_a_part_of_a_larger_matrix():
    indptr, indices = np.array([2, 4]), np.array([3, 3, 0, 1])
    rows, _ = top_k(np.ones((1, 1), np.float32), np.ones((4, 1), np.float32), 4, exclude=(indptr, indices), executor=TWO)
    np.testing.assert_array_equal(rows, [[2, 3, -1, -1]])


@pytest.mark.parametrize("n_queries", [1, 40, 1300])
@pytest.mark.parametrize("k", [20, 1000])
def test_same_bits_for_any_number_of_threads(n_queries, k):
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((n_queries, 96), np.float32)
    items = rng.standard_normal((400_000 if n_queries == 1 else 20_000, 96), np.float32)
    exclude = exclusions(rng, n_queries, len(items), 50)
    rows, scores = top_k(queries, items, k, exclude=exclude, executor=Threads(1))
    for n in (2, 3):
        again = top_k(queries, items, k, exclude=exclude, executor=Threads(n))
        np.testing.assert_array_equal(again[0], rows)
        np.testing.assert_array_equal(again[1].view(np.int32), scores.view(np.int32))


def test_batch_equals_one_by_one():
    rng = np.random.default_rng(0)
    queries, items = rng.standard_normal((30, 48), np.float32), rng.standard_normal((9000, 48), np.float32)
    rows, scores = top_k(queries, items, 50, executor=TWO)
    singles = [top_k(queries[q : q + 1], items, 50, executor=TWO) for q in range(len(queries))]
    np.testing.assert_allclose(np.vstack([s for _, s in singles]), scores, rtol=1e-5)
    assert np.mean(np.vstack([r for r, _ in singles]) == rows) > 0.999


def test_spans_of_items_are_merged_in_order():
    items = np.ones((300_000, 64), np.float32)
    items[[299_999, 150_000]] = 2
    rows, _ = top_k(np.ones((1, 64), np.float32), items, 5, executor=TWO)
    np.testing.assert_array_equal(rows, [[150_000, 299_999, 0, 1, 2]])


def test_inputs_stay_as_they_are():
    rng = np.random.default_rng(0)
    queries, items = whole_numbers(rng, 5, 4), whole_numbers(rng, 50, 4)
    candidates, exclude = np.array([7, 3, 40], np.int32), exclusions(rng, 5, 50, 5)
    given_arrays = [queries, items, candidates, *exclude]
    before = [a.copy() for a in given_arrays]
    top_k(queries, items, 3, exclude=exclude, candidates=candidates, executor=TWO)
    for array, old in zip(given_arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


ONES = np.ones((2, 3), np.float32)
EMPTY_ROWS = np.array([0, 0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k is 0; allowed: an integer of at least 1"),
        ({"k": 2.0}, "k is 2.0; allowed"),
        ({"queries": ONES.astype(np.float64)}, "queries is float64 with 2 axes; allowed: a float32 array with 2 axes"),
        ({"queries": ONES[0]}, "queries is float32 with 1 axes"),
        ({"queries": [[1.0]]}, "queries is list; allowed"),
        ({"queries": ONES[:, :2]}, "queries is not C-contiguous"),
        ({"items": np.ones((4, 2), np.float32)}, "queries have 3 columns; allowed: 2"),
        ({"exclude": (np.array([0, 0]), EMPTY_ROWS)}, "exclude has 1 rows; allowed: 2"),
        ({"exclude": (np.array([0, 2, 1]), EMPTY_ROWS)}, "does not ascend"),
        ({"exclude": (np.array([0, 2, 9]), EMPTY_ROWS)}, "does not ascend within 0 ... 3"),
        ({"exclude": (np.array([0, 1, 3]), np.array([0, 3, 1]))}, "row 1 of exclude is not sorted by column"),
        ({"exclude": (EMPTY_ROWS, np.array([0.5]))}, "indices of exclude is no vector of integers"),
        ({"candidates": np.array([0, 1])}, "candidates is no int32 vector"),
        ({"candidates": np.array([0, 4], np.int32)}, "candidates holds row 4; allowed: 0 ... 3"),
        ({"candidates": np.array([-1, 2], np.int32)}, "candidates holds row -1"),
        ({"candidates": np.array([2, 0, 2], np.int32)}, "candidates holds row 2 twice"),
    ],
)
def test_refusals(change, message):
    arguments = {"queries": ONES, "items": np.ones((4, 3), np.float32), "k": 2} | change
    with pytest.raises(ValueRangeError, match=message.replace("...", r"\.\.\.")):
        top_k(**arguments, executor=TWO)

"""Nearest neighbours against float64 similarities of all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract.runtime import Threads
from recvec.errors import ValueRangeError
from recvec.kernels.similarity import nearest

TWO = Threads(2)
METRICS = ("cosine", "dot", "euclidean")


def similarities(queries, vectors, metric):
    """Return all similarities in float64."""
    queries, vectors = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return -np.linalg.norm(queries[:, None] - vectors, axis=2)
    products = queries @ vectors.T
    if metric == "dot":
        return products
    norms = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    return np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(METRICS),
    st.sampled_from([1, 3, 20]),
    st.sampled_from([1, 5, 33, 300]),
    st.sampled_from([1, 2, 7, 300]),
    st.sampled_from([1, 4, 400]),
)
def test_equals_the_sorted_similarities(seed, metric, n_queries, n, d, k):
    rng = np.random.default_rng(seed)
    queries, vectors = rng.standard_normal((n_queries, d), np.float32), rng.standard_normal((n, d), np.float32)
    rows, found = nearest(queries, vectors, k, metric=metric, executor=TWO)
    exact = similarities(queries, vectors, metric)
    expected = -np.sort(-exact, axis=1)[:, :k]
    width = expected.shape[1]
    assert (rows[:, width:] == -1).all()
    assert (found[:, width:] == -np.inf).all()
    assert (np.diff(found[:, :width], axis=1) <= 0).all()
    np.testing.assert_allclose(found[:, :width], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, rows[:, :width], axis=1), expected, rtol=1e-5, atol=1e-5)
    assert all(len(set(row)) == width for row in rows[:, :width].tolist())


@pytest.mark.parametrize("metric", METRICS)
def test_ties_go_to_the_smaller_row(metric):
    vectors = np.ones((700, 8), np.float32)
    rows, _ = nearest(vectors[:2], vectors, 40, metric=metric, executor=TWO)
    np.testing.assert_array_equal(rows, np.tile(np.arange(40), (2, 1)))


@pytest.mark.parametrize("offset", [0, 1000])
def test_duplicates_are_at_distance_zero(offset):
    vectors = np.random.default_rng(0).standard_normal((500, 64), np.float32) + np.float32(offset)
    vectors[[77, 490]] = vectors[13]
    rows, found = nearest(vectors[[13]], vectors, 4, metric="euclidean", executor=TWO)
    np.testing.assert_array_equal(rows[0, :3], [13, 77, 490])
    np.testing.assert_array_equal(found[0, :3], [0, 0, 0])
    assert not np.signbit(found[0, :3]).any()
    assert found[0, 3] < -5


def test_zero_vectors_have_cosine_zero():
    vectors = np.array([[0, 0], [-1, 0], [3, 4], [0, 0]], np.float32)
    rows, found = nearest(np.array([[2, 0], [0, 0]], np.float32), vectors, 4, executor=TWO)
    np.testing.assert_array_equal(rows, [[2, 0, 3, 1], [0, 1, 2, 3]])
    np.testing.assert_allclose(found, [[0.6, 0, 0, -1], [0, 0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1e-30, 1e25, 1e30])
def test_cosine_of_very_short_and_long_vectors(scale):
    vectors = np.random.default_rng(0).standard_normal((100, 16)).astype(np.float32)
    queries = vectors[:5]
    rows, found = nearest(queries, (vectors * scale).astype(np.float32), 3, executor=TWO)
    assert (found <= 1).all()
    np.testing.assert_array_equal(rows[:, 0], np.arange(5))
    np.testing.assert_allclose(found, -np.sort(-similarities(queries, vectors, "cosine"), axis=1)[:, :3], rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_vectors_with_nan_are_no_neighbours(metric):
    vectors = np.random.default_rng(0).standard_normal((50, 4), np.float32)
    vectors[9, 2] = np.nan
    rows, _ = nearest(vectors[:3], vectors, 50, metric=metric, executor=TWO)
    assert 9 not in rows
    assert (rows[:, -1] == -1).all()


@pytest.mark.parametrize("metric", METRICS)
def test_exclusion_and_candidates(metric):
    vectors = np.random.default_rng(0).standard_normal((60, 4), np.float32)
    itself = np.arange(4), np.arange(3, dtype=np.int32)
    allowed = np.array([50, 1, 0, 2, 30], np.int32)
    rows, _ = nearest(vectors[:3], vectors, 5, metric=metric, exclude=itself, candidates=allowed, executor=TWO)
    for q in range(3):
        assert set(rows[q]) == set(allowed.tolist()) - {q} | {-1}


@pytest.mark.parametrize("metric", METRICS)
def test_same_bits_for_any_number_of_threads(metric):
    vectors = np.random.default_rng(0).standard_normal((6000, 32), np.float32)
    rows, found = nearest(vectors[:1100], vectors, 10, metric=metric, executor=Threads(1))
    for n in (2, 3):
        again = nearest(vectors[:1100], vectors, 10, metric=metric, executor=Threads(n))
        np.testing.assert_array_equal(again[0], rows)
        np.testing.assert_array_equal(again[1].view(np.int32), found.view(np.int32))


@pytest.mark.parametrize("metric", METRICS)
def test_batch_equals_one_by_one(metric):
    vectors = np.random.default_rng(0).standard_normal((2000, 32), np.float32)
    _, found = nearest(vectors[:20], vectors, 10, metric=metric, executor=TWO)
    singles = [nearest(vectors[q : q + 1], vectors, 10, metric=metric, executor=TWO)[1] for q in range(20)]
    np.testing.assert_allclose(np.vstack(singles), found, rtol=1e-5)


def test_unknown_metric():
    vectors = np.ones((2, 2), np.float32)
    with pytest.raises(ValueRangeError, match="metric is 'l2'; allowed: cosine, dot, euclidean"):
        nearest(vectors, vectors, 1, metric="l2", executor=TWO)

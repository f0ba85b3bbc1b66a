"""Metrics of lists against the catalogue, by hand and by their bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recvec.kernels.catalogue import coverage, exposure, gini, novelty, popularity_lift

ROWS = np.array([[0, 1, 2], [3, -1, -1], [-1, -1, -1]], np.int32)
COUNTS = np.array([8, 4, 1, 0])
EXPOSURES = st.lists(st.integers(0, 50), min_size=1, max_size=40).filter(any).map(np.array)


def test_novelty_by_hand() -> None:
    # -log2 of 8/8, 4/8, 1/8; an item that nobody met counts as met by one of 8; an empty list has none
    np.testing.assert_array_equal(novelty(ROWS, COUNTS, 8), [(0 + 1 + 3) / 3, 3, np.nan])


def test_popularity_lift_by_hand() -> None:
    lift = popularity_lift(ROWS, COUNTS, np.array([2.0, 4.0, 1.0]))
    np.testing.assert_allclose(lift, [13 / 3 / 2, 0, np.nan], rtol=1e-15)
    np.testing.assert_array_equal(popularity_lift(ROWS[:2], COUNTS, np.array([np.nan, 0.0])), [np.nan, np.nan])


@given(st.integers(0, 2**32 - 1))
def test_a_list_is_as_popular_as_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, counts = rng.integers(0, 9, (5, 4)).astype(np.int32), rng.integers(1, 30, 9)
    np.testing.assert_allclose(popularity_lift(rows, counts, counts[rows].mean(axis=1)), 1)
    surprise = novelty(rows, counts, 30)
    assert ((surprise >= 0) & (surprise <= math.log2(30) + 1e-12)).all()
    np.testing.assert_allclose(novelty(rng.permuted(rows, axis=1), counts, 30), surprise)  # the order does not matter


def test_exposure_and_coverage_by_hand() -> None:
    shown = exposure(np.array([[0, 2], [2, -1], [-1, -1]], np.int32), 5)
    assert shown.tolist() == [1, 0, 2, 0, 0]
    assert coverage(shown) == 2 / 5


def test_blocks_of_lists_add_up() -> None:
    rows = np.random.default_rng(0).integers(-1, 7, (20, 5)).astype(np.int32)
    np.testing.assert_array_equal(exposure(rows[:9], 7) + exposure(rows[9:], 7), exposure(rows, 7))
    assert exposure(rows[:0], 7).tolist() == [0] * 7


@pytest.mark.parametrize(
    ("shown", "value"),
    [([5, 5, 5], 0), ([0, 0, 0, 7], 3 / 4), ([7, 0, 0, 0], 3 / 4), ([1, 2, 3, 4], 1 / 4), ([3], 0), ([0, 0], np.nan)],
)
def test_gini_by_hand(shown: list[int], value: float) -> None:
    assert gini(np.array(shown)) == pytest.approx(value, abs=1e-15, nan_ok=True)


@given(EXPOSURES)
def test_gini_is_the_mean_difference_and_within_its_bounds(shown: np.ndarray) -> None:
    n = len(shown)
    value = gini(shown)
    assert value == pytest.approx(np.abs(shown[:, None] - shown).sum() / (2 * n * shown.sum()), abs=1e-12)
    assert 0 <= value <= 1 - 1 / n + 1e-12
    assert gini(3 * shown) == pytest.approx(value, abs=1e-12)


def test_large_exposures_do_not_overflow() -> None:
    shown = np.zeros(2_000_000, np.int64)
    shown[0] = 1_000_000_000
    assert gini(shown) == pytest.approx(1 - 1 / 2_000_000, abs=1e-15)

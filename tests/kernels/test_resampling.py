"""Sums over draws against matrix products."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recvec.kernels.resampling import draw_times, sums_of_draws, sums_of_pair_draws

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.sampled_from([0, 1, 5, 30]), st.sampled_from([1, 3, 70]))
def test_draws_are_with_replacement_and_as_many_as_there_are_things(seed: int, n: int, n_draws: int) -> None:
    times = draw_times(np.random.default_rng(seed), n, n_draws)
    assert times.shape == (n, n_draws)
    assert times.dtype == np.int32
    assert (times.sum(axis=0) == n).all()


def test_two_blocks_of_draws_continue_each_other() -> None:
    whole = draw_times(np.random.default_rng(0), 20, 7)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(np.hstack([draw_times(rng, 20, 4), draw_times(rng, 20, 3)]), whole)


@given(SEEDS, st.sampled_from([1, 4, 33]), st.sampled_from([1, 3, 64]))
def test_sums_are_a_matrix_product(seed: int, n: int, n_draws: int) -> None:
    rng = np.random.default_rng(seed)
    values, times = rng.standard_normal((n, 5)), draw_times(rng, n, n_draws)
    values[rng.random(values.shape) < 0.5] = 0
    np.testing.assert_allclose(sums_of_draws(values, times), times.T @ values, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(sums_of_draws(np.asfortranarray(values), times), sums_of_draws(values, times))


def test_what_is_not_a_number_is_not_lost() -> None:
    assert np.isnan(sums_of_draws(np.array([[np.nan], [1.0]]), np.ones((2, 1), np.int32)))[0, 0]


@given(SEEDS)
def test_pairs_count_as_often_as_user_times_item(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 6, 40).astype(np.int32), rng.integers(0, 4, 40).astype(np.int32)
    values = rng.standard_normal((40, 3))
    of_users, of_items = draw_times(rng, 6, 9), draw_times(rng, 4, 9)
    expected = (of_users[users] * of_items[items]).T @ values
    np.testing.assert_allclose(sums_of_pair_draws(users, items, values, of_users, of_items), expected, rtol=0, atol=1e-12)

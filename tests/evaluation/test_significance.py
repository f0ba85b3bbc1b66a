"""Intervals and p-values against scipy, against slow readings of their definitions, and against the truth."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm, permutation_test
from sklearn.metrics import roc_auc_score

from recvec.errors import ValueRangeError
from recvec.evaluation.significance import auc_interval, bootstrap_intervals, holm, not_below, sign_flip, two_way_intervals

SEEDS = st.integers(0, 2**32 - 1)


def mean_interval(values: np.ndarray, **options: float) -> np.ndarray:
    """Return the interval of the mean of one metric."""
    return bootstrap_intervals(values[:, None], np.ones(len(values)), **options)[0]


# Users ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_draws", [2, 64, 130])
def test_the_draws_are_those_of_scipy(n_draws: int) -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, 50).astype(float)
    sums = rng.random(50) * counts
    theirs = bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True, n_resamples=n_draws, confidence_level=0.9, method="percentile", rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    mine = bootstrap_intervals(sums[:, None], counts, seed=7, level=0.9, n_draws=n_draws)
    np.testing.assert_allclose(mine, [[theirs.low, theirs.high]], rtol=0, atol=1e-12)


def test_intervals_cover_the_mean_and_shrink_with_more_users() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.random(100), rng.random(10_000)
    (low, high), (low_many, high_many) = mean_interval(few), mean_interval(many)
    assert low < few.mean() < high
    assert 5 < (high - low) / (high_many - low_many) < 20
    # the width is that of the normal approximation
    assert high_many - low_many == pytest.approx(2 * 1.96 * many.std() / 100, rel=0.15)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_cover_the_truth_as_often_as_they_say(level: float) -> None:
    rng = np.random.default_rng(1)
    intervals = bootstrap_intervals(rng.random((300, 1000)) ** 3, np.ones(300), level=level)  # 1,000 experiments
    covered = np.mean((intervals[:, 0] <= 0.25) & (intervals[:, 1] >= 0.25))
    assert covered == pytest.approx(level, abs=0.03)


@given(SEEDS, st.integers(10, 60))
def test_an_interval_holds_its_estimate(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, n).astype(float)
    sums = rng.random((n, 3)) * counts[:, None]
    estimate = sums.sum(axis=0) / counts.sum()
    low, high = bootstrap_intervals(sums, counts, seed=seed, n_draws=200).T
    assert ((low < estimate) & (estimate < high)).all()


def test_each_metric_may_count_other_rows() -> None:
    rng = np.random.default_rng(0)
    values, defined = rng.random((80, 2)), rng.random((80, 2)) < 0.6
    both = bootstrap_intervals(values * defined, defined.astype(float))
    for j in range(2):
        np.testing.assert_array_equal(both[j], bootstrap_intervals((values * defined)[:, [j]], defined[:, j].astype(float))[0])
    width = both[0, 1] - both[0, 0]
    assert width == pytest.approx(2 * 1.96 * values[defined[:, 0], 0].std() / defined[:, 0].sum() ** 0.5, rel=0.15)


def test_what_nobody_counts_has_no_interval() -> None:
    intervals = bootstrap_intervals(np.ones((5, 2)) * [0, 1], np.ones((5, 2)) * [0, 1])
    np.testing.assert_array_equal(intervals, [[np.nan, np.nan], [1, 1]])
    assert np.isnan(bootstrap_intervals(np.zeros((0, 2)), np.zeros(0))).all()


def test_a_draw_in_which_nothing_counts_is_left_out() -> None:
    values = np.array([2.0, *[0.0] * 7])  # one user of eight counts; a third of the draws miss him
    np.testing.assert_array_equal(bootstrap_intervals(values[:, None], values / 2), [[2, 2]])


def test_rows_of_a_user_come_together() -> None:
    rng = np.random.default_rng(0)
    values, users = rng.random((60, 2)), rng.permutation(np.repeat([7, 3, 11], 20))
    by_user = np.array([values[users == u].sum(axis=0) for u in (3, 7, 11)])
    expected = bootstrap_intervals(by_user, np.full(3, 20.0))
    np.testing.assert_allclose(bootstrap_intervals(values, np.ones(60), users), expected, rtol=0, atol=1e-12)


def test_a_row_that_is_there_twice_says_nothing_new() -> None:
    values = np.random.default_rng(0).random(40)
    twice = bootstrap_intervals(np.repeat(values, 2)[:, None], np.ones(80), np.repeat(np.arange(40), 2))[0]
    np.testing.assert_allclose(twice, mean_interval(values), rtol=0, atol=1e-12)
    taken_for_new = mean_interval(np.repeat(values, 2))
    assert np.diff(taken_for_new)[0] < 0.8 * np.diff(twice)[0]


def test_equal_seeds_add_no_noise() -> None:
    values = np.random.default_rng(0).random((50, 2))
    expected = bootstrap_intervals(values, np.ones(50))
    np.testing.assert_allclose(bootstrap_intervals(np.stack([values] * 3), np.ones(50)), expected, rtol=0, atol=1e-12)


def test_the_noise_of_training_widens_intervals() -> None:
    shift = np.array([-0.1, 0.0, 0.05, 0.2])  # all users are equal: only seeds differ
    sums = np.broadcast_to(shift[:, None, None], (4, 30, 1))
    means = np.mean(list(itertools.product(shift, repeat=4)), axis=1)  # all 256 draws of four seeds
    low, high = bootstrap_intervals(sums, np.ones(30), n_draws=20_000)[0]
    assert (low, high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)


def test_the_seed_is_the_only_source_of_chance() -> None:
    values = np.random.default_rng(0).random(50)
    before = np.random.get_state()[1].sum()  # noqa: NPY002
    np.testing.assert_array_equal(mean_interval(values), mean_interval(values))
    assert (mean_interval(values, seed=1) != mean_interval(values)).any()
    assert np.random.get_state()[1].sum() == before  # noqa: NPY002


# Users and items --------------------------------------------------------------------------------------------------


def crossed(rng: np.random.Generator, of_user: float, of_item: float, of_pair: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of 60 users and 50 items, and values that vary with the user, the item and the pair."""
    users, items = (side.astype(np.int32) for side in np.nonzero(rng.random((60, 50)) < 0.3))
    effects = of_user * rng.standard_normal(60)[users] + of_item * rng.standard_normal(50)[items]
    return users, items, effects + of_pair * rng.standard_normal(len(users))


def test_two_way_draws_are_products() -> None:
    rng = np.random.default_rng(0)
    users, items, gains = crossed(rng, 1, 1, 1)
    shares = 1 / np.bincount(users)[users]
    draws = np.random.default_rng(5)
    of_users, of_items = (np.array([np.bincount(draws.integers(0, n, n), minlength=n) for _ in range(40)]) for n in (60, 50))
    times = of_users[:, users] * of_items[:, items]  # (40, p)
    expected = np.quantile(times @ gains / (times @ shares), [0.05, 0.95])
    mine = two_way_intervals(3 * users + 5, 7 * items, gains[:, None], shares, seed=5, level=0.9, n_draws=40)  # any numbers will do
    np.testing.assert_allclose(mine, [expected], rtol=0, atol=1e-12)


@pytest.mark.parametrize("effects", [(1, 0, 0), (0, 1, 0), (0.7, 0.7, 0.7)])
def test_two_way_intervals_cover_the_truth(effects: tuple[float, float, float]) -> None:
    covered = []
    for seed in range(150):
        users, items, values = crossed(np.random.default_rng(seed), *effects)
        low, high = two_way_intervals(users, items, values[:, None], np.ones(len(users)), n_draws=200)[0]
        covered.append(low <= 0 <= high)
    assert 0.9 < np.mean(covered) <= 0.99


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueRangeError, match="there are 3 users, 2 items and 3 gains; allowed: one of each a pair"):
        two_way_intervals(np.zeros(3, np.int32), np.zeros(2, np.int32), np.zeros((3, 1)), np.zeros(3))


def test_drawing_users_alone_is_blind_to_items() -> None:
    users, items, values = crossed(np.random.default_rng(0), 0, 1, 0.1)
    both = two_way_intervals(users, items, values[:, None], np.ones(len(users)))[0]
    alone = bootstrap_intervals(values[:, None], np.ones(len(users)), users)[0]
    assert np.diff(both)[0] > 3 * np.diff(alone)[0]


def test_single_pairs_count_three_times() -> None:
    users, items, values = crossed(np.random.default_rng(0), 0, 0, 1)
    low, high = two_way_intervals(users, items, values[:, None], np.ones(len(users)))[0]
    assert (high - low) / (2 * 1.96 * values.std() / len(users) ** 0.5) == pytest.approx(3**0.5, rel=0.15)


# Clicks -----------------------------------------------------------------------------------------------------------


def test_auc_interval_is_that_of_slow_draws() -> None:
    rng = np.random.default_rng(0)
    label, score, users = rng.integers(0, 2, 200), rng.integers(0, 20, 200), rng.integers(0, 25, 200)
    draws = np.random.default_rng(4)
    times = [np.bincount(draws.integers(0, 25, 25), minlength=25) for _ in range(70)]
    expected = np.quantile([roc_auc_score(label, score, sample_weight=t[users]) for t in times], [0.1, 0.9])
    mine = auc_interval(label, score, 3 * users - 40, seed=4, level=0.8, n_draws=70)  # users by any numbers
    assert mine.shape == (2,)
    np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-12)


def test_auc_interval_covers_the_truth() -> None:
    covered = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        label = rng.random(400) < 0.3
        low, high = auc_interval(label, rng.standard_normal(400) + label, np.arange(400), n_draws=200)
        covered.append(low <= norm.cdf(2**-0.5) <= high)  # P(x + 1 > y) for standard normal x, y
    assert 0.88 <= np.mean(covered) <= 0.99


def test_draws_without_both_labels_are_left_out() -> None:
    assert auc_interval(np.array([1, 0]), np.array([1.0, 0.0]), np.array([0, 1])).tolist() == [1, 1]
    assert np.isnan(auc_interval(np.ones(3), np.arange(3.0), np.arange(3))).all()


# Differences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8, 11])
@pytest.mark.parametrize("decimals", [1, 15])
def test_sign_flips_are_those_of_scipy(n: int, decimals: int) -> None:
    differences = np.round(np.random.default_rng(n).standard_normal(n) + 0.4, decimals)  # one decimal: many equal sums
    exact = permutation_test(
        (differences, np.zeros(n)), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip(differences) == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 10_000) ** 0.5 + 2e-4)


def test_equal_differences_tie_with_themselves() -> None:
    for value in (0.1, 1 / 3, 1e-9, 1e9):
        assert sign_flip(np.full(4, value)) == pytest.approx(2 / 16, abs=0.015)  # all signs alike, either way
    assert sign_flip(np.zeros(100)) == 1
    assert sign_flip(np.zeros(0)) == 1


@given(SEEDS, st.integers(9, 60))
def test_sums_that_differ_by_rounding_are_equal(seed: int, n: int) -> None:
    whole = np.random.default_rng(seed).integers(-3, 4, n)  # exact in any order of summation, and many sums are equal
    assert sign_flip(whole / 10, n_draws=300) == sign_flip(whole.astype(float), n_draws=300)


@given(SEEDS, st.integers(1, 40))
def test_neither_direction_nor_unit_matters(seed: int, n: int) -> None:
    differences = np.random.default_rng(seed).standard_normal(n)
    p = sign_flip(differences, n_draws=300)
    assert 1 / 301 <= p <= 1
    assert sign_flip(-differences, n_draws=300) == p
    assert sign_flip(differences * 1024, n_draws=300) == p


def test_many_users_are_as_the_normal_approximation_says() -> None:
    rng = np.random.default_rng(0)
    differences = rng.standard_normal(20_001)
    for z in (0.5, 1.5, 2.5):
        shifted = differences - differences.mean() + z / 20_001**0.5
        assert sign_flip(shifted) == pytest.approx(2 * norm.sf(z), abs=0.02)
    assert sign_flip(differences + 1) == 1 / 10_001


def test_p_values_are_even_where_nothing_differs() -> None:
    p = np.array([sign_flip(np.random.default_rng(seed).standard_normal(30), n_draws=500) for seed in range(400)])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_difference_must_be_a_number(wrong: float) -> None:
    with pytest.raises(ValueRangeError, match="a difference is not a finite number; allowed: finite numbers; leave out users"):
        sign_flip(np.array([0.1, wrong]))


def test_holm_by_hand() -> None:
    # Holm's table: sorted .005, .01, .03, .04 times 4, 3, 2, 1, and never falling
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02], rtol=1e-15)
    assert holm(np.array([0.6, 0.7])).tolist() == [1, 1]
    assert holm(np.array([0.3])).tolist() == [0.3]
    assert holm(np.zeros(0)).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_adjusts_upwards_and_keeps_the_order(p_values: list[float]) -> None:
    p = np.array(p_values)
    adjusted = holm(p)
    assert ((adjusted >= p) & (adjusted <= np.minimum(1, len(p) * p) + 1e-15)).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    if len(p) > 1:
        np.testing.assert_array_equal(holm(p[::-1])[::-1], adjusted)


def test_not_below_is_a_statement_about_the_lower_end() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(10_000)
    noise -= noise.mean()
    width = 1.96 / 100  # half of the interval of the mean

    def shifted(low: float) -> np.ndarray:
        return noise + low + width

    assert not_below(shifted(-0.004), 1.0)
    assert not not_below(shifted(-0.006), 1.0)
    assert not_below(shifted(-0.006), 1.0, margin=0.007)
    assert not_below(shifted(-0.004) / 10, 0.1)  # relative to the reference
    assert not not_below(shifted(-0.004), 0.1)
    assert not_below(np.zeros(5), 0.3)
    assert not not_below(np.zeros(0), 0.3)

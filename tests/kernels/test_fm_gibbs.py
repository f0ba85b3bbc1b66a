"""Bayesian factorization machines and those by alternating least squares: planted parameters, exact laws, errors."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from recvec.contract.runtime import Threads
from recvec.errors import ValueRangeError
from recvec.kernels.fm_als import descend
from recvec.kernels.fm_blocks import Block, Factors, Relations
from recvec.kernels.fm_gibbs import Likelihood, draw
from recvec.kernels.fm_gibbs_latent import draw_cutpoints
from recvec.kernels.fm_gibbs_posterior import Posterior, predict
from recvec.kernels.fm_gibbs_prior import draw_laws, first_laws
from recvec.kernels.fm_gibbs_random import below_normal, normal_between, normal_quantile
from recvec.types import F32, F64, Array

ONE, TWO = Threads(1), Threads(2)


def side(rng: np.random.Generator, n: int, n_shared: int) -> Block:
    shared = (rng.random((n, n_shared)) < 0.3).astype(np.float32)
    groups = np.repeat([0, 1], [n, n_shared]).astype(np.int32)
    return Block(sp.csr_array(np.hstack([np.eye(n, dtype=np.float32), shared])), groups)


def planted(seed: int, n: int = 6000, likelihood: Likelihood = "normal") -> tuple[Relations, F32, F64]:
    """Observations of a machine of rank 2, and their scores."""
    rng = np.random.default_rng(seed)
    blocks = side(rng, 40, 4), side(rng, 30, 5)
    problem = Relations(blocks, tuple(rng.integers(0, b.n_rows, n).astype(np.int32) for b in blocks))
    x = problem.stacked().toarray().astype(np.float64)
    w, v = rng.normal(0, 0.5, x.shape[1]), rng.normal(0, 0.6, (x.shape[1], 2))
    scores = 0.4 + x @ w + (((x @ v) ** 2) - x**2 @ v**2).sum(axis=1) / 2
    hidden = scores + rng.normal(size=n)
    if likelihood == "probit":
        hidden = hidden > 0
    elif likelihood == "ordered":
        hidden = np.searchsorted([-1.0, 0.0, 1.5], hidden)
    return problem, hidden.astype(np.float32), scores


def fitted(likelihood: Likelihood, *, threads: Threads = TWO, iterations: int = 60) -> tuple[Relations, F64, Posterior]:
    problem, targets, scores = planted(0, likelihood=likelihood)
    rng = np.random.default_rng(1)
    posterior = draw(
        problem, targets, rank=2, n_iterations=iterations, n_kept=iterations * 2 // 3, rng=rng, executor=threads, likelihood=likelihood
    )
    return problem, scores, posterior


def test_a_planted_machine_is_found() -> None:
    problem, scores, posterior = fitted("normal")
    mean, deviation = predict(posterior, problem, executor=TWO)
    assert np.sqrt(np.mean((mean - scores) ** 2)) < 0.3
    np.testing.assert_allclose(posterior.noise.mean(), 1, atol=0.06)
    np.testing.assert_allclose(deviation.mean(), 1.03, atol=0.06)


def test_probabilities_of_clicks_are_found() -> None:
    problem, scores, posterior = fitted("probit")
    mean, deviation = predict(posterior, problem, executor=TWO)
    assert np.abs(mean - norm.cdf(scores)).mean() < 0.06
    assert posterior.cutpoints.shape == (40, 1)
    assert 0 < deviation.mean() < 0.1


def test_cutpoints_of_stars_are_found() -> None:
    problem, scores, posterior = fitted("ordered")
    cutpoints = posterior.cutpoints.mean(axis=0)
    np.testing.assert_allclose(np.diff(cutpoints), [1.0, 1.5], atol=0.15)
    assert not posterior.bias.any()
    mean, deviation = predict(posterior, problem, executor=TWO)
    expected = sum(norm.cdf(scores - c) for c in (-1.0, 0.0, 1.5))
    assert np.abs(mean - expected).mean() < 0.1
    assert 0.4 < deviation.mean() < 1


@pytest.mark.parametrize("likelihood", ["normal", "probit", "ordered"])
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(likelihood: Likelihood) -> None:
    first, second = (fitted(likelihood, threads=threads, iterations=6)[2] for threads in (ONE, TWO))
    for name in ("bias", "linear", "factors", "noise", "cutpoints"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_the_law_of_a_bias_is_the_conjugate_one() -> None:
    """One feature that stands everywhere, nothing to interact with: given noise and laws, w is normal; its draws must be."""
    n, rng = 400, np.random.default_rng(3)
    block = Block(sp.csr_array(np.ones((1, 1), np.float32)), np.zeros(1, np.int32))
    targets = rng.normal(2, 1, n).astype(np.float32)
    problem = Relations((block,), (np.zeros(n, np.int32),))
    posterior = draw(problem, targets, rank=1, n_iterations=4000, n_kept=3500, rng=rng, executor=ONE)
    level = posterior.bias + posterior.linear[:, 0]
    assert abs(level.mean() - targets.mean()) < 0.02
    np.testing.assert_allclose(level.std(), 1 / math.sqrt(n), rtol=0.12)
    np.testing.assert_allclose(posterior.noise.mean(), 1 / targets.var(), rtol=0.03)


def test_new_rows_are_predicted_from_their_features() -> None:
    problem, _, posterior = fitted("normal")
    attributes = problem.blocks[1].features.toarray().copy()
    attributes[:, :30] = 0  # items without their ids
    unknown = Relations((problem.blocks[0], Block(sp.csr_array(attributes), problem.blocks[1].groups)), problem.rows)
    mean, _ = predict(posterior, unknown, executor=TWO)
    x = unknown.stacked().toarray()
    by_hand = np.zeros(len(x))
    for b, w, v in zip(posterior.bias, posterior.linear, posterior.factors, strict=True):
        by_hand += (b + x @ w + ((x @ v) ** 2 - x**2 @ v**2).sum(axis=1) / 2) / len(posterior.bias)
    np.testing.assert_allclose(mean, by_hand, rtol=1e-4, atol=1e-4)


def test_least_squares_goes_down_and_ends_where_the_gradient_vanishes() -> None:
    problem, targets, _ = planted(2, n=800)
    x, machines = problem.stacked().toarray().astype(np.float64), []
    rng = np.random.default_rng(0)

    def keep(_: int, machine: Factors, __: object) -> None:
        machines.append(machine)

    descend(problem, targets, rank=2, n_iterations=300, reg=3.0, linear_reg=0.5, rng=rng, executor=TWO, on_iteration=keep)

    def objective(m: Factors) -> tuple[float, F64, F64]:
        w, v = m.linear.astype(float), m.factors.astype(float)
        rest = targets - (m.bias + x @ w + ((x @ v) ** 2 - x**2 @ v**2).sum(axis=1) / 2)
        of_w = -x.T @ rest + 3.0 * 0.5 * w
        of_v = -(x.T @ (rest[:, None] * (x @ v)) - (x**2).T @ rest[:, None] * v) + 3.0 * v
        return (rest**2).sum() + 3.0 * (0.5 * (w**2).sum() + (v**2).sum()), of_w, of_v

    values = [objective(m)[0] for m in machines]
    assert all(b <= a * (1 + 1e-5) for a, b in pairwise(values))
    first, last = (np.sqrt((of_w**2).sum() + (of_v**2).sum()) for _, of_w, of_v in (objective(machines[at]) for at in (0, -1)))
    assert last < 0.01 * first


def test_cutpoints_given_scores_follow_their_law() -> None:
    """With all scores 0 and two levels the law of the one cutpoint is known on a grid."""
    levels = np.repeat([0, 1], [30, 10]).astype(np.int32)
    scores, at, rng, draws = np.zeros(40, np.float32), np.zeros(1), np.random.default_rng(0), []
    for _ in range(2500):
        at = draw_cutpoints(scores, levels, at, rng, ONE)
        draws.append(at[0])
    grid = np.linspace(-1, 3, 4001)
    weight = np.exp(30 * norm.logcdf(grid) + 10 * norm.logsf(grid))
    mean = (weight * grid).sum() / weight.sum()
    spread = math.sqrt((weight * (grid - mean) ** 2).sum() / weight.sum())
    np.testing.assert_allclose(np.mean(draws), mean, atol=0.02)
    np.testing.assert_allclose(np.std(draws), spread, rtol=0.06)


@settings(max_examples=200, deadline=None)
@given(u=st.floats(1e-6, 1 - 1e-6), low=st.floats(-30, 30), width=st.floats(1e-3, 60))
def test_numbers_cut_off_lie_between_the_bounds_and_have_their_law(u: float, low: float, width: float) -> None:
    x = normal_between(u, low, low + width)
    assert low <= x <= low + width
    if -5 < low < 5 and width < 3:
        share = (norm.cdf(x) - norm.cdf(low)) / (norm.cdf(low + width) - norm.cdf(low))
        if low > 0:
            share = (norm.sf(low) - norm.sf(x)) / (norm.sf(low) - norm.sf(low + width))
        np.testing.assert_allclose(share, u, atol=3e-3)


def test_quantiles_are_those_of_scipy() -> None:
    p = np.concatenate([np.logspace(-290, -1, 50), np.linspace(0.1, 0.9, 50), 1 - np.logspace(-12, -1, 20)])
    np.testing.assert_allclose([normal_quantile(v) for v in p], norm.ppf(p), rtol=3e-6, atol=3e-6)
    np.testing.assert_allclose([below_normal(v) for v in (-30.0, -3.0, 0.0, 4.0)], norm.cdf([-30.0, -3.0, 0.0, 4.0]), rtol=1e-9)


def test_bad_input_is_refused() -> None:
    problem, targets, _ = planted(0, n=50)
    given_ = {"rank": 2, "n_iterations": 2, "n_kept": 1, "rng": np.random.default_rng(0), "executor": ONE}
    with pytest.raises(ValueRangeError, match="targets are float32 of length 49; allowed: float32, one for each of the 50"):
        draw(problem, targets[1:], **given_)
    with pytest.raises(ValueRangeError, match="target 0 is not finite"):
        draw(problem, np.full(50, np.nan, np.float32), **given_)
    with pytest.raises(ValueRangeError, match="rank is 0; allowed: 1 or more"):
        draw(problem, targets, **(given_ | {"rank": 0}))
    with pytest.raises(ValueRangeError, match=r"n_kept is 3; allowed: 1 \.\.\. n_iterations, which is 2"):
        draw(problem, targets, **(given_ | {"n_kept": 3}))
    with pytest.raises(ValueRangeError, match=r"every is 3; allowed: 1 \.\.\. n_iterations / n_kept, which is 2"):
        draw(problem, targets, every=3, **given_)
    with pytest.raises(ValueRangeError, match="targets of a probit machine are 0 and 1"):
        draw(problem, targets, likelihood="probit", **given_)
    with pytest.raises(ValueRangeError, match="targets of an ordered machine are whole numbers"):
        draw(problem, np.repeat([0, 2], 25).astype(np.float32), likelihood="ordered", **given_)
    with pytest.raises(ValueRangeError, match="reg is 0"):
        descend(problem, targets, rank=2, n_iterations=1, reg=0, rng=np.random.default_rng(0), executor=ONE)
    posterior = draw(problem, targets, **given_)
    with pytest.raises(ValueRangeError, match="the blocks have 44 features; allowed: 79"):
        predict(posterior, Relations(problem.blocks[:1], problem.rows[:1]), executor=ONE)


@pytest.mark.parametrize("likelihood", ["normal", "probit", "ordered"])
def test_a_broken_chain_goes_on(likelihood: Likelihood) -> None:
    """Whether the break is before the first kept draw, or between two."""
    problem, targets, _ = planted(5, n=300, likelihood=likelihood)
    states: list[dict[str, Array]] = []
    generators = []
    rng = np.random.default_rng(7)

    def keep(_: int, __: Factors, state: Mapping[str, Array]) -> None:
        states.append({name: array.copy() for name, array in state.items()})
        generators.append(rng.bit_generator.state)

    def drawn(**options: Any) -> Posterior:
        return draw(problem, targets, rank=2, n_iterations=6, n_kept=3, executor=ONE, likelihood=likelihood, **options)

    whole = drawn(rng=rng, on_iteration=keep)
    for done in (1, 4, 6):
        seen: list[int] = []
        again = np.random.default_rng(0)
        again.bit_generator.state = generators[done - 1]
        found = drawn(rng=again, resume=states[done - 1], done=done, on_iteration=lambda n, *_, seen=seen: seen.append(n))
        assert seen == list(range(done + 1, 7))
        for name in ("bias", "linear", "factors", "noise", "cutpoints"):
            assert np.array_equal(getattr(found, name), getattr(whole, name)), (done, name)


def test_broken_least_squares_go_on() -> None:
    problem, targets, _ = planted(5, n=300)
    states: list[dict[str, Array]] = []

    def descended(**options: Any) -> Factors:
        return descend(problem, targets, rank=2, n_iterations=4, reg=1.0, rng=np.random.default_rng(0), executor=ONE, **options)

    whole = descended(on_iteration=lambda _, __, state: states.append({name: array.copy() for name, array in state.items()}))
    found = descended(resume=states[1], done=2)
    assert found.bias == whole.bias
    assert np.array_equal(found.factors, whole.factors)
    assert np.array_equal(found.linear, whole.linear)


def test_kept_draws_are_those_of_the_chain() -> None:
    problem, targets, _ = planted(0, n=50)
    chain, spread = (
        draw(problem, targets, rank=2, n_iterations=9, n_kept=n_kept, every=every, rng=np.random.default_rng(0), executor=ONE)
        for n_kept, every in ((9, 1), (3, 2))
    )
    np.testing.assert_array_equal(spread.factors, chain.factors[[4, 6, 8]])
    np.testing.assert_array_equal(spread.noise, chain.noise[[4, 6, 8]])


def test_a_small_scale_lets_a_group_be_small() -> None:
    groups, scales, rng = np.array([0, 0, 0, 1, 1], np.int32), np.array([1.0, 0.01]), np.random.default_rng(0)
    zeros = np.zeros(5, np.float32), np.zeros((5, 16), np.float32)
    laws = [draw_laws(groups, *zeros, first_laws(2, 16), 16, scales, rng) for _ in range(500)]
    mean = np.mean([factors for _, factors, _, _ in laws], axis=(0, 2))
    np.testing.assert_allclose(mean, [(3 + 2) / 1.0, (2 + 2) / 0.01], rtol=0.05)  # of Gamma((n + 2) / 2, c / 2)

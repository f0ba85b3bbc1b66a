"""One sweep over a block against the same arithmetic on the stacked observations, feature by feature, in float64."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract.runtime import Threads
from recvec.kernels.fm_blocks import Block, Relations
from recvec.kernels.fm_gibbs_random import normal
from recvec.kernels.fm_gibbs_sides import Parameters, Side, Sweep
from recvec.kernels.sampling import stream
from recvec.types import F32, F64

ONE, TWO = Threads(1), Threads(2)


def block(rng: np.random.Generator, n_rows: int, n_shared: int, *, ids: bool = True, density: float = 0.5) -> Block:
    """Ids, a feature that stands nowhere, one that stands in one row with a value of its own, and shared ones."""
    dense = rng.normal(size=(n_rows, n_shared)) * (rng.random((n_rows, n_shared)) < density)
    nowhere, alone = np.zeros((n_rows, 1)), np.zeros((n_rows, 1))
    alone[-1] = 1.5
    parts = [np.eye(n_rows) if ids else np.zeros((n_rows, 0)), nowhere, alone, dense]
    groups = np.repeat(np.arange(3), [parts[0].shape[1] + 1, 1, n_shared])
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int32)
    return Block(sp.csr_array(np.hstack(parts).astype(np.float32)), groups)


def relations(rng: np.random.Generator, blocks: list[Block], n: int) -> Relations:
    rows = [rng.integers(0, max(1, b.n_rows - 1), n).astype(np.int32) for b in blocks]  # the last row has no observations
    return Relations(tuple(blocks), tuple(rows))


def partners(problem: Relations, dense: F64, f: int, *, pairs: bool) -> F64:
    """Values (n, n_features) of what feature f interacts with."""
    values = dense.copy()
    values[:, f] = 0
    if not pairs:
        at = np.searchsorted(problem.starts, f, side="right") - 1
        values[:, problem.starts[at] : problem.starts[at + 1]] = 0
    return values


def score(problem: Relations, w: F64, v: F64, bias: float, *, pairs: bool) -> F64:
    dense = problem.stacked().toarray().astype(np.float64)
    s = bias + dense @ w
    for f in range(dense.shape[1]):
        s += dense[:, f] * ((partners(problem, dense, f, pairs=pairs) @ v) @ v[f]) / 2
    return s


def noise(key: int, f: int, count: int) -> F64:
    numbers, state = [], stream(key, f)
    for _ in range(count):
        z, state = normal(np.uint64(state))
        numbers.append(z)
    return np.array(numbers)


def reference(problem: Relations, at: int, targets: F32, start: Parameters, told: Sweep, order: list[int]) -> tuple[F64, F64]:
    """Draw the features of a block in the given order; return all biases and factors."""
    w, v, d = start.linear.astype(float), start.factors[:, : told.dimension].astype(float), told.dimension
    dense, first, (groups, mu, lam, mu_w, lam_w) = problem.stacked().toarray().astype(float), problem.starts[at], told.prior
    for local in order:
        f, g = first + local, groups[local]
        phi = dense[:, [f]] * np.column_stack([np.ones(len(dense)), partners(problem, dense, f, pairs=told.pairs) @ v])
        lambdas, centre, theta = np.append(lam_w[g], lam[g, :d]), np.append(mu_w[g], mu[g, :d]), np.append(w[f], v[f])
        rest = targets - score(problem, w, v, start.bias, pairs=told.pairs)
        system = told.alpha * phi.T @ phi + np.diag(lambdas)
        step = np.linalg.solve(system, told.alpha * phi.T @ rest - lambdas * (theta - centre))
        if told.key:
            step += np.linalg.solve(np.linalg.cholesky(system).T, noise(int(told.key), local, d + 1))
        w[f], v[f] = theta[0] + step[0], theta[1:] + step[1:]
    return w, v


def case(seed: int, rank: int, n_blocks: int, *, pairs: bool, key: int) -> tuple[Relations, F32, Parameters, list[Sweep]]:
    rng = np.random.default_rng(seed)
    blocks = [block(rng, 7 - k, 5 - k, ids=k < 2) for k in range(n_blocks)]
    problem = relations(rng, blocks, 60)
    targets = rng.normal(size=60).astype(np.float32)
    start = Parameters.start(problem, rank, 0.5, rng)
    start.bias, start.linear[:] = 0.3, rng.normal(size=problem.n_features)
    width, n_groups = start.factors.shape[1], problem.groups.max() + 1
    mu, lam = np.zeros((n_groups, width), np.float32), np.ones((n_groups, width), np.float32)
    mu[:, :rank], lam[:, :rank] = rng.normal(size=(n_groups, rank)), rng.gamma(2, size=(n_groups, rank))
    laws = mu, lam, mu[:, 0].copy(), lam[:, 0].copy()
    told = []
    for at, b in enumerate(blocks):
        mine = slice(problem.starts[at], problem.starts[at] + b.n_features)
        told.append(Sweep((problem.groups[mine], *laws), 1.7, np.uint64(key), rank, pairs))
    return problem, targets, start, told


def drawn_order(side: Side) -> list[int]:
    return [*side.private[1].tolist(), *side.shared[0].tolist()]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rank=st.sampled_from([1, 5, 16, 20]),
    n_blocks=st.integers(1, 3),
    pairs=st.booleans(),
    key=st.sampled_from([0, 7, 1 << 62]),
)
def test_a_sweep_is_that_on_the_stacked_observations(seed: int, rank: int, n_blocks: int, pairs: bool, key: int) -> None:
    problem, targets, start, told = case(seed, rank, n_blocks, pairs=pairs, key=key)
    sides = [Side.of(problem, at, start.factors.shape[1]) for at in range(n_blocks)]
    for side in sides:
        side.refresh(start, pairs=pairs, executor=ONE)
    for at, side in enumerate(sides):
        w, v = reference(problem, at, targets, start, told[at], drawn_order(side))
        rest = side.draw(start, targets[side.order], told[at], TWO)
        np.testing.assert_allclose(start.linear, w, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(start.factors[:, :rank], v, rtol=2e-3, atol=2e-3)
        assert not start.factors[:, rank:].any()
        left = targets - score(problem, start.linear.astype(float), start.factors[:, :rank].astype(float), start.bias, pairs=pairs)
        by_row = np.bincount(problem.rows[at], left, minlength=side.block.n_rows)
        np.testing.assert_allclose(rest[:, 0], by_row, rtol=1e-3, atol=1e-3 * np.abs(left).max())
        np.testing.assert_allclose(rest[:, 1].sum(), (left**2).sum(), rtol=1e-3)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_draws_the_same_bits(threads: int) -> None:
    rng = np.random.default_rng(1)
    blocks = [block(rng, 300, 40), block(rng, 200, 60, density=0.2)]
    problem = relations(rng, blocks, 20_000)
    targets = rng.normal(size=20_000).astype(np.float32)
    answers = []
    for executor in (TWO, Threads(threads)):
        start = Parameters.start(problem, 16, 0.1, np.random.default_rng(2))
        width, n_groups = 16, problem.groups.max() + 1
        zeros, ones = np.zeros((n_groups, width), np.float32), np.ones((n_groups, width), np.float32)
        for at in (0, 1, 0, 1):
            side = Side.of(problem, at, width)
            side.refresh(start, pairs=True, executor=executor)
            mine = slice(side.first_feature, side.first_feature + side.block.n_features)
            prior = problem.groups[mine], zeros, ones, zeros[:, 0].copy(), ones[:, 0].copy()
            side.draw(start, targets[side.order], Sweep(prior, 1.0, np.uint64(at + 5), width, pairs=True), executor)
        answers.append(start)
    assert np.isfinite(answers[0].factors).all()
    np.testing.assert_array_equal(answers[0].factors, answers[1].factors)
    np.testing.assert_array_equal(answers[0].linear, answers[1].linear)
    np.testing.assert_array_equal(answers[0].own, answers[1].own)

"""The half-step against a dense solve in float64, row by row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract.runtime import Threads
from recvec.errors import DivergedError
from recvec.kernels import blocks, conjugate_gradient
from recvec.kernels.least_squares import FixedSide, WeightedRows, chosen, gramian, half_step, solve

WIDTHS = (1, 10, 16, 33, 64, 128, 300)
SOLVERS = ("cg", "cholesky", "ials++")
ONE = Threads(1)


def problem(seed, n, m, d, density=0.15, scale=1.0):
    """Rows of random length, some of them empty, with two different weights for each entry."""
    rng = np.random.default_rng(seed)
    observed = rng.random((n, m)) < density * rng.random((n, 1)) * 2
    observed[:: max(2, n // 3)] = False
    indptr = np.concatenate(([0], observed.sum(1).cumsum()))
    indices = observed.nonzero()[1].astype(np.int32)
    quadratic, linear = (rng.random((2, len(indices))) + 0.2).astype(np.float32)
    fixed = (scale * rng.standard_normal((m, d)) / np.sqrt(d)).astype(np.float32)
    start = (0.1 * rng.standard_normal((n, d))).astype(np.float32)
    reg = (0.1 + rng.random(n)).astype(np.float32)
    gram = np.float32(0.3) * gramian(fixed, executor=ONE)
    return start, WeightedRows(indptr, indices, quadratic, linear), fixed, gram, reg


def entries(rows, u):
    at = slice(rows.indptr[u], rows.indptr[u + 1])
    return rows.indices[at], rows.quadratic[at].astype(np.float64), rows.linear[at].astype(np.float64)


def systems(rows, fixed, gram, reg):
    """The dense system (A, b) of each row, in float64."""
    y = fixed.astype(np.float64)
    for u in range(len(reg)):
        indices, q, w = entries(rows, u)
        yield gram + float(reg[u]) * np.eye(len(gram)) + (y[indices].T * q) @ y[indices], w @ y[indices]


def dense(rows, fixed, gram, reg):
    return np.array([np.linalg.solve(a, b) if b.any() else 0 * b for a, b in systems(rows, fixed, gram, reg)])


def losses(x, rows, fixed, gram, reg):
    return np.array([v @ a @ v - 2 * b @ v for v, (a, b) in zip(x.astype(np.float64), systems(rows, fixed, gram, reg), strict=True)])


def assert_close(x, expected, tolerance):
    assert x.dtype == np.float32
    assert x.shape == expected.shape
    np.testing.assert_allclose(x, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1e-6))


problems = st.builds(
    problem,
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    m=st.integers(1, 60),
    d=st.sampled_from(WIDTHS),
    density=st.floats(0, 1),
    scale=st.sampled_from((1e-2, 1.0, 3.0)),
)


@settings(max_examples=30)
@given(problems)
def test_exact_solution_is_the_dense_one(given_problem):
    start, rows, fixed, gram, reg = given_problem
    x = half_step(start, rows, fixed, gram, reg, solver="cholesky", executor=ONE)
    assert_close(x, dense(rows, fixed, gram, reg), 1e-4)


@settings(max_examples=30)
@given(problems)
def test_many_steps_reach_the_dense_solution(given_problem):
    start, rows, fixed, gram, reg = given_problem
    x = half_step(start, rows, fixed, gram, reg, cg_steps=100, executor=ONE)
    assert_close(x, dense(rows, fixed, gram, reg), 1e-4)


@settings(max_examples=30)
@given(problems, st.integers(0, 6))
def test_no_step_raises_the_loss(given_problem, steps):
    start, rows, fixed, gram, reg = given_problem
    start[np.diff(rows.indptr) == 0] = 0
    before, *after = (
        losses(half_step(start, rows, fixed, gram, reg, cg_steps=k, executor=ONE), rows, fixed, gram, reg) for k in (0, steps, steps + 1)
    )
    room = 1e-4 * (np.abs(before) + np.abs(after[1]))
    assert (after[0] <= before + room).all()
    assert (after[1] <= after[0] + room).all()


@settings(max_examples=25)
@given(problems, st.sampled_from(SOLVERS))
def test_rows_without_entries_are_exactly_zero_and_inputs_unchanged(given_problem, solver):
    start, rows, fixed, gram, reg = given_problem
    inputs = (start, rows.indptr, rows.indices, rows.quadratic, rows.linear, fixed, gram, reg)
    before = [array.copy() for array in inputs]
    x = half_step(start, rows, fixed, gram, reg, solver=solver, executor=ONE)
    assert not x[np.diff(rows.indptr) == 0].any()
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("d", [*WIDTHS, 256, 272])
def test_every_width_with_long_rows(d):
    start, rows, fixed, gram, reg = problem(d, 12, 1500, d, density=0.7)
    expected = dense(rows, fixed, gram, reg)
    assert_close(half_step(start, rows, fixed, gram, reg, solver="cholesky", executor=ONE), expected, 1e-4)
    assert_close(half_step(start, rows, fixed, gram, reg, cg_steps=80, executor=ONE), expected, 1e-4)


@pytest.mark.parametrize("d", [16, 272])
def test_tiles_and_groups_change_only_the_rounding(d, monkeypatch):
    start, rows, fixed, gram, reg = problem(5, 80, 700, d, density=0.5)
    whole = half_step(start, rows, fixed, gram, reg, executor=ONE)
    monkeypatch.setattr(conjugate_gradient, "CACHE_BYTES", 100 * 4 * d)
    grouped = half_step(start, rows, fixed, gram, reg, executor=ONE)
    np.testing.assert_array_equal(grouped, whole)
    monkeypatch.setattr(conjugate_gradient, "TILED_BYTES", 0)
    assert_close(half_step(start, rows, fixed, gram, reg, executor=ONE), whole, 1e-5)
    shuffled = np.concatenate([np.random.default_rng(u).permutation(np.arange(*rows.indptr[u : u + 2])) for u in range(80)])
    unsorted = WeightedRows(rows.indptr, rows.indices[shuffled], rows.quadratic[shuffled], rows.linear[shuffled])
    assert_close(half_step(start, unsorted, fixed, gram, reg, executor=ONE), whole, 1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("tiled_bytes", [0, 1 << 40])
def test_same_bits_for_any_number_of_threads(solver, tiled_bytes, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_COST", 1 << 12)
    monkeypatch.setattr(conjugate_gradient, "TILED_BYTES", tiled_bytes)
    start, rows, fixed, _, reg = problem(3, 400, 20_000, 33, density=0.01)
    answers = []
    for threads in (1, 2, 3):
        executor = Threads(threads)
        gram = gramian(fixed, executor=executor)
        answers.append(half_step(start, rows, fixed, gram, reg, solver=solver, executor=executor))
    np.testing.assert_array_equal(answers[1], answers[0])
    np.testing.assert_array_equal(answers[2], answers[0])


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_row_alone_is_the_row_among_many(solver):
    start, rows, fixed, gram, reg = problem(11, 60, 90, 16)
    together = half_step(start, rows, fixed, gram, reg, solver=solver, executor=ONE)
    for u in range(0, 60, 7):
        indices, q, w = entries(rows, u)
        alone = WeightedRows(np.array([0, len(indices)]), indices, q.astype(np.float32), w.astype(np.float32))
        x = half_step(start[u : u + 1], alone, fixed, gram, reg[u : u + 1], solver=solver, executor=ONE)
        assert_close(x[0], together[u], 1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [10, 300])
def test_nan_shows(solver, d):
    start, rows, fixed, _, reg = problem(2, 30, 50, d)
    fixed[7, 0] = np.nan
    gram = gramian(fixed, executor=ONE)
    x = half_step(start, rows, fixed, gram, reg, solver=solver, executor=ONE)
    filled = np.diff(rows.indptr) > 0
    assert np.isnan(x[filled]).all()
    assert not x[~filled].any()


@pytest.mark.parametrize("solver", SOLVERS)
def test_infinite_weight_shows(solver):
    start, rows, fixed, gram, reg = problem(2, 30, 50, 10)
    u = int(np.flatnonzero(np.diff(rows.indptr))[0])
    rows.linear[rows.indptr[u]] = np.inf
    x = half_step(start, rows, fixed, gram, reg, solver=solver, executor=ONE)
    assert not np.isfinite(x[u]).any()
    assert np.isfinite(np.delete(x, u, axis=0)).all()


def test_singular_system_is_an_error_of_the_exact_solver():
    start, rows, fixed, gram, reg = problem(4, 5, 3, 16, density=1)
    with pytest.raises(DivergedError, match="not positive definite; use a larger reg"):
        half_step(start, rows, fixed, gram, -10 - 0 * reg, solver="cholesky", executor=ONE)


def test_nothing_to_do():
    start, rows, fixed, gram, reg = problem(4, 5, 3, 8, density=0)
    nobody = WeightedRows(rows.indptr[:1], rows.indices, rows.quadratic, rows.linear)
    assert half_step(start[:0], nobody, fixed, gram, reg[:0], executor=ONE).shape == (0, 8)
    assert not half_step(start, rows, fixed, gram, reg, executor=ONE).any()
    assert not half_step(start, rows, fixed[:0], 0 * gram, reg, executor=ONE).any()


def test_objective_of_implicit_falls_to_its_minimum():
    """With q = c - 1 and l = c, both sides in turn: the loss over all cells, as implicit states it."""
    rng = np.random.default_rng(0)
    confidence = np.where(rng.random((30, 20)) < 0.3, 1 + 4 * rng.random((30, 20)), 0)
    users, items = (0.1 * rng.standard_normal((2, 30, 8))).astype(np.float32)
    items = items[:20]

    def objective(users, items):
        scores = users.astype(np.float64) @ items.T
        cells = np.where(confidence > 0, confidence * (1 - scores) ** 2, scores**2)
        return cells.sum() + 0.5 * ((users**2).sum() + (items**2).sum())

    def solve(side, fixed, confidence, solver):
        c = confidence[confidence > 0].astype(np.float32)
        rows = WeightedRows(np.concatenate(([0], (confidence > 0).sum(1).cumsum())), confidence.nonzero()[1].astype(np.int32), c - 1, c)
        reg = np.full(len(side), 0.5, np.float32)
        return half_step(side, rows, fixed, gramian(fixed, executor=ONE), reg, solver=solver, cg_steps=2, executor=ONE)

    ends = []
    for solver in ("cg", "cholesky"):
        x, y, seen = users, items, [np.inf]
        for _ in range(60):
            x = solve(x, y, confidence, solver)
            y = solve(y, x, confidence.T, solver)
            seen.append(objective(x, y))
        assert (np.diff(seen[1:]) <= 1e-4).all()
        ends.append(seen[-1])
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)
    nudged = [objective(x + s * 1e-2 * rng.standard_normal(x.shape), y) for s in (-1, 1)]
    assert min(nudged) > ends[1]


@settings(max_examples=10)
@given(st.integers(0, 20_000), st.sampled_from(WIDTHS[:4]))
def test_gramian(n, d):
    vectors = np.random.default_rng(n).standard_normal((n, d)).astype(np.float32)
    expected = vectors.astype(np.float64).T @ vectors
    for threads in (1, 2):
        assert_close(gramian(vectors, executor=Threads(threads)), expected, 1e-5)


def test_rows_of_every_length_with_repeated_vectors_and_little_regularization():
    """Lengths around the width, where the exact solver turns from its dual to its primal system; items alike in pairs."""
    rng, d = np.random.default_rng(8), 32
    lengths = [1, 2, 31, 32, 33, 200, 600]
    fixed = rng.standard_normal((700, d)).astype(np.float32)
    fixed[1::2] = fixed[::2]
    indices = np.concatenate([np.sort(rng.permutation(700)[:n]) for n in lengths]).astype(np.int32)
    weights = (rng.random(len(indices)) + 0.1).astype(np.float32)
    rows = WeightedRows(np.concatenate(([0], np.cumsum(lengths))), indices, weights, weights)
    gram, reg = np.float32(1e-3) * gramian(fixed, executor=ONE), np.full(len(lengths), 1e-3, np.float32)
    x = half_step(np.zeros((7, d), np.float32), rows, fixed, gram, reg, solver="cholesky", executor=ONE)
    for row, expected in zip(x, dense(rows, fixed, gram, reg), strict=True):
        assert_close(row, expected, 1e-3)


@pytest.mark.parametrize("solver", ["cholesky", "ials++"])
@pytest.mark.parametrize("zero", [True, False])
def test_weights_at_and_below_zero_are_solved_too(solver, zero):
    """The objective of implicit with confidence 1 has weights of zero; the dual system has no place for them."""
    start, rows, fixed, gram, reg = problem(6, 30, 50, 16)
    rows.quadratic[::3] *= 0 if zero else -0.01
    x = start
    for _ in range(1 if solver == "cholesky" else 80):
        x = half_step(x, rows, fixed, gram, reg, solver=solver, block_size=8, executor=ONE)
    assert_close(x, dense(rows, fixed, gram, reg), 1e-3)


@settings(max_examples=20)
@given(problems, st.sampled_from((16, 32, 64)))
def test_sweeps_over_blocks_lower_the_loss_and_reach_the_dense_solution(given_problem, size):
    start, rows, fixed, gram, reg = given_problem
    start[np.diff(rows.indptr) == 0] = 0
    x, before = start, losses(start, rows, fixed, gram, reg)
    for _ in range(40):
        x = half_step(x, rows, fixed, gram, reg, solver="ials++", block_size=size, executor=ONE)
        after = losses(x, rows, fixed, gram, reg)
        assert (after <= before + 1e-4 * (np.abs(before) + np.abs(after))).all()
        before = after
    least = losses(dense(rows, fixed, gram, reg), rows, fixed, gram, reg)
    assert (after <= least + 1e-2 * np.abs(least) + 1e-6).all()


def test_one_block_of_all_coordinates_is_the_exact_solution():
    start, rows, fixed, gram, reg = problem(9, 30, 90, 48, density=0.8)
    exact, swept = (half_step(start, rows, fixed, gram, reg, solver=s, block_size=64, executor=ONE) for s in ("cholesky", "ials++"))
    assert_close(swept, exact, 1e-5)


def test_a_side_that_was_turned_before_gives_the_same_bits():
    start, rows, fixed, gram, reg = problem(9, 30, 90, 16)
    side = FixedSide.of(fixed, gram, executor=ONE)
    for solver in SOLVERS:
        expected = half_step(start, rows, fixed, gram, reg, solver=solver, cg_steps=2, executor=ONE)
        np.testing.assert_array_equal(solve(start, rows, side, reg, solver=solver, executor=ONE), expected)


@pytest.mark.parametrize(("length", "d", "expected"), [(30, 64, "cg"), (300, 64, "cg"), (3, 1024, "cholesky"), (3000, 1024, "cg")])
def test_few_entries_of_long_vectors_are_solved_exactly(length, d, expected):
    indptr = np.arange(11) * length
    assert chosen(indptr, d, cg_steps=2, block_size=64) == expected

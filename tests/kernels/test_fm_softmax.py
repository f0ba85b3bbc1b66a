"""Ranking machines by softmax: objective and gradient, the sampled normalizer, attributes, bits, resuming."""

import numpy as np
import pytest
import scipy.sparse as sp

from recvec.contract import Runtime
from recvec.errors import ValueRangeError
from recvec.kernels.fm_blocks import Block, Factors
from recvec.kernels.fm_softmax import Softmax, SoftmaxProblem, solve_softmax

ONE = Runtime(threads=1).executor


def block(n: int, kind: np.ndarray) -> Block:
    """Return ids and one attribute."""
    attribute = np.eye(int(kind.max()) + 1, dtype=np.float32)[kind]
    features = sp.csr_array(np.hstack([np.eye(n, dtype=np.float32), attribute]))
    return Block(features, np.concatenate([np.zeros(n), np.ones(attribute.shape[1])]).astype(np.int32))


def problem(rng: np.random.Generator, n: int = 30, m: int = 20, kinds: int = 3) -> tuple[Block, Block, np.ndarray, np.ndarray]:
    """Return blocks, interactions, and chances that belong to the kinds alone."""
    kind, group = rng.integers(0, kinds, n), rng.integers(0, kinds, m)
    chance = np.where(kind[:, None] == group, 0.5, 0.05) * np.linspace(0.5, 1.5, m)
    dense = (rng.random((n, m)) < chance).astype(np.float32)
    dense[np.arange(n), np.arange(n) % m] = 1
    return block(n, kind), block(m, group), dense, chance


def scores_of(factors: Factors, users: Block, items: Block) -> np.ndarray:
    """Return the scores of all pairs."""
    first = users.n_features
    p, q = users.features @ factors.factors[:first], items.features @ factors.factors[first:]
    return np.asarray(p @ q.T + items.features @ factors.linear[first:], np.float64)


def test_objective_is_minus_the_log_likelihood_of_what_was_picked() -> None:
    rng = np.random.default_rng(0)
    users, items, dense, _ = problem(rng)
    made = SoftmaxProblem.of(users, items, sp.csr_array(dense), 4, Softmax(reg=0.0, shared_reg=0.0))
    parameters = rng.normal(size=len(made.zeros())).astype(np.float32)
    value, _ = made.gradient(parameters, np.arange(dense.shape[1]), ONE)
    scores = scores_of(made.join(parameters), users, items)
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert value == pytest.approx(-(dense * np.log(chances)).sum(), rel=1e-5)


@pytest.mark.parametrize("n_drawn", [20, 7])
def test_gradient_is_that_of_finite_differences(n_drawn: int) -> None:
    rng = np.random.default_rng(1)
    users, items, dense, _ = problem(rng)
    made = SoftmaxProblem.of(users, items, sp.csr_array(dense), 3, Softmax(reg=0.1, shared_reg=0.2, cold_weight=0.5))
    parameters, drawn = (0.5 * rng.normal(size=len(made.zeros()))).astype(np.float32), np.sort(rng.permutation(20)[:n_drawn])
    _, slope = made.gradient(parameters, drawn, ONE)
    for _ in range(20):
        direction = rng.normal(size=len(parameters)).astype(np.float32)
        up, down = (made.gradient(parameters + np.float32(s) * direction, drawn, ONE)[0] for s in (1e-2, -1e-2))
        assert (up - down) / 2e-2 == pytest.approx(float(slope @ direction), rel=5e-3, abs=0.5)


def test_drawn_items_give_the_normalizer_without_bias() -> None:
    """The mean of the sums of exponentials over draws is that over all items."""
    rng = np.random.default_rng(2)
    users, items, dense, _ = problem(rng, n=3, m=12)
    made = SoftmaxProblem.of(users, items, sp.csr_array(dense[:1].repeat(3, axis=0)), 2, Softmax(reg=0.0, shared_reg=0.0))
    m = made.by_user.shape[1]
    parameters = rng.normal(size=len(made.zeros())).astype(np.float32)
    p, q = made.rows(parameters, ONE)
    exact = np.exp(p @ q[:, :2].T + q[:, 2]).sum(axis=1)
    drawn = [np.sort(rng.permutation(m)[: m // 2]) for _ in range(4000)]
    mean = np.mean([np.exp(p @ q[at, :2].T + q[at, 2]).sum(axis=1) * m / len(at) for at in drawn], axis=0)
    np.testing.assert_allclose(mean, exact, rtol=0.05)


def test_new_users_are_ranked_by_their_attributes() -> None:
    rng = np.random.default_rng(3)
    users, items, dense, chance = problem(rng, n=500, m=60, kinds=4)
    dense[450:] = 0
    loss = Softmax(reg=0.01, shared_reg=0.01)
    found = solve_softmax(users, items, sp.csr_array(dense), rank=8, loss=loss, rng=np.random.default_rng(0), executor=ONE)
    assert not found.factors[450:500].any()
    scores = scores_of(found, users, items)[450:]
    agreement = [np.corrcoef(np.exp(s), c)[0, 1] for s, c in zip(scores, chance[450:], strict=True)]
    assert np.mean(agreement) > 0.9


def test_same_bits_for_any_number_of_threads_and_after_a_break() -> None:
    rng = np.random.default_rng(4)
    users, items, dense, _ = problem(rng, n=700, m=90)
    interactions, kept = sp.csr_array(dense), {}
    options = {"rank": 6, "loss": Softmax(reg=0.01, shared_reg=0.01, cold_weight=1.0), "n_negatives": 40, "n_steps": 8}
    generator = np.random.default_rng(0)

    def note(step: int, factors: Factors, state: object) -> None:
        kept[step] = (state, generator.bit_generator.state)

    whole = solve_softmax(users, items, interactions, rng=generator, executor=ONE, on_step=note, **options)
    two = solve_softmax(users, items, interactions, rng=np.random.default_rng(0), executor=Runtime(threads=2).executor, **options)
    state, drawn = kept[5]
    again = np.random.default_rng()
    again.bit_generator.state = drawn
    resumed = solve_softmax(users, items, interactions, rng=again, executor=ONE, resume=state, done=5, **options)
    for other in (two, resumed):
        assert np.array_equal(whole.factors, other.factors)
        assert np.array_equal(whole.linear, other.linear)


def test_bad_input_is_refused() -> None:
    users, items, dense, _ = problem(np.random.default_rng(5))
    options = {"rank": 2, "loss": Softmax(reg=0.0, shared_reg=0.0), "rng": np.random.default_rng(0), "executor": ONE}
    with pytest.raises(ValueRangeError, match="n_negatives is 0"):
        solve_softmax(users, items, sp.csr_array(dense), n_negatives=0, **options)
    with pytest.raises(ValueRangeError, match="allowed: \\(30, 20\\)"):
        solve_softmax(users, items, sp.csr_array(dense.T), **options)
    with pytest.raises(ValueRangeError, match="reg is -1"):
        Softmax(reg=-1.0, shared_reg=0.0)

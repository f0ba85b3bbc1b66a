"""Ranking machines by the whole-data squared loss: the objective against all pairs, its minimum, ids, attributes, bits."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Runtime
from recvec.errors import ValueRangeError
from recvec.kernels.fm_blocks import Block, Factors
from recvec.kernels.fm_whole import WholeLoss, solve_whole, whole_loss
from recvec.kernels.least_squares import WeightedRows, gramian, half_step

ONE = Runtime(threads=1).executor
LOSS = WholeLoss(unobserved_weight=0.3, reg=0.02, shared_reg=0.5)


def ids_block(n: int, *attributes: np.ndarray) -> Block:
    """Return a block of one-hot ids, and columns of attributes as groups of their own."""
    features = sp.csr_array(np.hstack([np.eye(n, dtype=np.float32), *(a.astype(np.float32) for a in attributes)]))
    groups = np.concatenate([np.zeros(n), *(np.full(a.shape[1], g + 1) for g, a in enumerate(attributes))])
    return Block(features, groups.astype(np.int32))


def drawn(rng: np.random.Generator, n: int, m: int, share: float = 0.2) -> sp.csr_array:
    """Return random interactions, every user and item with one at least."""
    dense = (rng.random((n, m)) < share) * rng.integers(1, 4, (n, m))
    dense[np.arange(n), np.arange(n) % m] = 1
    dense[np.arange(m) % n, np.arange(m)] = 1
    return sp.csr_array(dense.astype(np.float32))


def plain_loss(factors: Factors, users: Block, items: Block, dense: np.ndarray, loss: WholeLoss) -> float:
    """The objective as it is written, pair by pair; first group ids, the others shared; without cold rows."""
    first = users.n_features
    p, q = users.features.toarray() @ factors.factors[:first], items.features.toarray() @ factors.factors[first:]
    scores = p @ q.T + items.features.toarray() @ factors.linear[first:]
    a0, nu = loss.unobserved_weight, loss.reg_exponent
    total = (dense * (scores - 1) ** 2).sum() + a0 * (scores**2).sum()
    vectors = factors.factors if not loss.linear else np.column_stack([factors.factors, factors.linear])
    for block, mine, counts, others in (
        (users, vectors[:first], (dense > 0).sum(1), len(q)),
        (items, vectors[first:], (dense > 0).sum(0), len(p)),
    ):
        scale = (counts + a0 * others) ** nu
        lengths = (mine.astype(np.float64) ** 2).sum(axis=1)
        is_id = block.groups == 0
        total += loss.reg * scale @ lengths[is_id] + loss.shared_reg * scale.mean() * lengths[~is_id].sum()
    return float(total)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), linear=st.booleans(), exponent=st.sampled_from([0.0, 0.5, 1.0]))
def test_objective_equals_the_sum_over_all_pairs(seed: int, linear: bool, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    n, m, d = rng.integers(2, 9, 3)
    users, items = ids_block(n, rng.normal(size=(n, 2))), ids_block(m, rng.normal(size=(m, 3)))
    interactions = drawn(rng, n, m)
    f = n + m + 5
    weights = np.concatenate([np.zeros(n + 2), rng.normal(size=m + 3) * linear]).astype(np.float32)
    factors = Factors(0.0, weights, rng.normal(size=(f, d)).astype(np.float32))
    loss = WholeLoss(unobserved_weight=0.3, reg=0.02, shared_reg=0.5, reg_exponent=exponent, linear=linear)
    found = whole_loss(factors, users, items, interactions, loss, executor=ONE)
    assert found == pytest.approx(plain_loss(factors, users, items, interactions.toarray(), loss), rel=1e-5)


def test_solution_is_stationary() -> None:
    """No direction lowers the objective: the gradient by finite differences is zero at the solution."""
    rng = np.random.default_rng(1)
    n, m = 14, 11
    users, items = ids_block(n, np.eye(3)[rng.integers(0, 3, n)]), ids_block(m, np.eye(2)[rng.integers(0, 2, m)])
    interactions = drawn(rng, n, m)
    for cold_weight in (0.0, 0.7):
        loss = WholeLoss(unobserved_weight=0.3, reg=0.02, shared_reg=0.5, cold_weight=cold_weight)
        found = solve_whole(
            users, items, interactions, rank=3, loss=loss, n_epochs=120, cg_steps=6, rng=np.random.default_rng(0), executor=ONE
        )

        def value(factors: np.ndarray, linear: np.ndarray) -> float:
            machine = Factors(0.0, linear, factors)
            return whole_loss(machine, users, items, interactions, loss, executor=ONE)  # noqa: B023

        base, size = value(found.factors, found.linear), 0.005
        for _ in range(12):
            step = rng.normal(size=found.factors.shape).astype(np.float32) * size
            slope = (rng.normal(size=len(found.linear)) * size * (np.arange(len(found.linear)) >= n + 3)).astype(np.float32)
            up, down = value(found.factors + step, found.linear + slope), value(found.factors - step, found.linear - slope)
            curvature = up + down - 2 * base
            assert curvature > 0
            assert abs(up - down) < 0.02 * curvature


def test_ids_only_reaches_the_minimum_of_als() -> None:
    a0, reg, d = 0.2, 0.02, 4
    _, _, dense, _ = planted(np.random.default_rng(2))
    dense = dense[:, dense.any(axis=0)][dense.any(axis=1)]
    interactions, (n, m) = sp.csr_array(dense), dense.shape
    loss = WholeLoss(unobserved_weight=a0, reg=reg, shared_reg=1.0, linear=False)
    users, items = ids_block(n), ids_block(m)
    sides = [interactions, sp.csr_array(interactions.T.tocsr())]
    regs = [(reg * (np.diff(s.indptr) + a0 * s.shape[1])).astype(np.float32) for s in sides]
    start = np.random.default_rng(0)
    vectors = [start.normal(size=(k, d)).astype(np.float32) * np.float32(0.1 / np.sqrt(d)) for k in (n, m)]
    begun = Factors(0.0, np.zeros(n + m, np.float32), np.concatenate(vectors))
    found = solve_whole(users, items, interactions, rank=d, loss=loss, n_epochs=80, rng=np.random.default_rng(0), executor=ONE, start=begun)
    for _ in range(80):
        for side in (0, 1):
            entries, other = sides[side], vectors[1 - side]
            rows = WeightedRows(entries.indptr, entries.indices, entries.data, entries.data)
            gram = np.float32(a0) * gramian(other, executor=ONE)
            vectors[side] = half_step(vectors[side], rows, other, gram, regs[side], solver="cholesky", executor=ONE)
    als = Factors(0.0, np.zeros(n + m, np.float32), np.concatenate(vectors))
    mine, theirs = (whole_loss(f, users, items, interactions, loss, executor=ONE) for f in (found, als))
    assert mine == pytest.approx(theirs, rel=1e-4)


def test_one_pass_equals_a_direct_solution_of_the_features() -> None:
    """With enough steps the users' half solves the normal equations of all their features together."""
    rng = np.random.default_rng(3)
    n, m, d = 12, 9, 3
    users, items = ids_block(n, np.eye(2)[rng.integers(0, 2, n)]), ids_block(m)
    interactions, loss = drawn(rng, n, m), WholeLoss(unobserved_weight=0.3, reg=0.02, shared_reg=0.5, linear=False)
    seen: list[Factors] = []
    start = Factors(0.0, np.zeros(n + 2 + m, np.float32), rng.normal(size=(n + 2 + m, d)).astype(np.float32) * np.float32(0.3))
    solve_whole(
        users, items, interactions, rank=d, loss=loss, n_epochs=1, cg_steps=60, rng=rng, executor=ONE, start=start,
        on_epoch=lambda _, f: seen.append(f),
    )  # fmt: skip
    q, x, dense = start.factors[n + 2 :].astype(np.float64), users.features.toarray().astype(np.float64), interactions.toarray()
    scale = (dense > 0).sum(1) + 0.3 * m
    system = np.diag(np.repeat(np.r_[0.02 * scale, [0.5 * scale.mean()] * 2], d))
    right = np.zeros((n + 2) * d)
    for u in range(n):
        form = 0.3 * q.T @ q + (q * dense[u][:, None]).T @ q
        system += np.kron(np.outer(x[u], x[u]), form)
        right += np.kron(x[u], dense[u] @ q)
    expected = np.linalg.solve(system, right).reshape(-1, d)
    np.testing.assert_allclose(seen[0].factors[: n + 2], expected, atol=2e-4)


@pytest.mark.parametrize("rank", [5, 32, 300])
def test_same_bits_for_any_number_of_threads(rank: int) -> None:
    rng = np.random.default_rng(4)
    n, m = 3000, 400
    users, items = ids_block_sparse(n, rng.integers(0, 5, n)), ids_block_sparse(m, rng.integers(0, 3, m))
    interactions = sp.csr_array(sp.random(n, m, 0.02, format="csr", random_state=1, dtype=np.float32))
    loss = WholeLoss(unobserved_weight=0.1, reg=0.02, shared_reg=0.5, cold_weight=0.5)
    found = [
        solve_whole(
            users, items, interactions, rank=rank, loss=loss, n_epochs=1, rng=np.random.default_rng(0), executor=Runtime(threads=t).executor
        )
        for t in (1, 2)
    ]
    assert np.array_equal(found[0].factors, found[1].factors)
    assert np.array_equal(found[0].linear, found[1].linear)


def ids_block_sparse(n: int, levels: np.ndarray) -> Block:
    """Return ids and one attribute."""
    k = int(levels.max()) + 1
    attribute = sp.csr_array((np.ones(n, np.float32), levels.astype(np.int32), np.arange(n + 1)), shape=(n, k))
    features = sp.csr_array(sp.hstack([sp.eye_array(n, format="csr", dtype=np.float32), attribute], format="csr"))
    return Block(features, np.concatenate([np.zeros(n), np.ones(k)]).astype(np.int32))


def planted(rng: np.random.Generator) -> tuple[Block, Block, np.ndarray, np.ndarray]:
    """Return blocks, interactions and chances where a user's taste is that of the attribute, and items without taste of their own."""
    n, m, kinds = 600, 80, 4
    kind, group = rng.integers(0, kinds, n), rng.integers(0, kinds, m)
    chance = np.where(kind[:, None] == group, 0.4, 0.05) * np.linspace(0.5, 1.5, m)
    return ids_block(n, np.eye(kinds)[kind]), ids_block(m, np.eye(kinds)[group]), (rng.random((n, m)) < chance).astype(np.float32), chance


def test_new_users_and_new_items_are_ranked_by_their_attributes() -> None:
    rng = np.random.default_rng(5)
    users, items, dense, chance = planted(rng)
    cold_users, cold_items = np.arange(540, 600), np.arange(70, 80)
    dense[cold_users], dense[:, cold_items] = 0, 0
    loss = WholeLoss(unobserved_weight=0.3, reg=0.02, shared_reg=0.1)
    found = solve_whole(users, items, sp.csr_array(dense), rank=8, loss=loss, rng=np.random.default_rng(0), executor=ONE)
    first = users.n_features
    assert not found.factors[cold_users].any()  # ids of which nothing is known
    assert not found.factors[first + cold_items].any()
    p, q = users.features @ found.factors[:first], items.features @ found.factors[first:]
    scores = p @ q.T + items.features @ found.linear[first:]
    warm = scores[540:, :70]
    agreement = [np.corrcoef(s, c)[0, 1] for s, c in zip(warm, chance[540:, :70], strict=True)]
    assert np.mean(agreement) > 0.9
    own = chance[:540, 70:] > 0.15  # new items of the user's own group
    new = scores[:540, 70:]
    assert np.mean(new[own]) > np.mean(new[~own]) + 2 * new[~own].std()


def test_killed_and_resumed_equals_uninterrupted() -> None:
    rng = np.random.default_rng(6)
    users, items, dense, _ = planted(rng)
    interactions, kept = sp.csr_array(dense), {}
    options = {"rank": 6, "loss": LOSS, "n_epochs": 4, "executor": ONE}
    whole = solve_whole(users, items, interactions, rng=np.random.default_rng(0), on_epoch=kept.__setitem__, **options)
    again = solve_whole(users, items, interactions, rng=np.random.default_rng(0), start=kept[2], done=2, **options)
    assert np.array_equal(whole.factors, again.factors)
    assert np.array_equal(whole.linear, again.linear)


def test_bad_input_is_refused() -> None:
    users, items = ids_block(3), ids_block(2)
    options = {"rank": 2, "loss": LOSS, "rng": np.random.default_rng(0), "executor": ONE}
    with pytest.raises(ValueRangeError, match="allowed: \\(3, 2\\)"):
        solve_whole(users, items, sp.csr_array(np.ones((2, 2), np.float32)), **options)
    with pytest.raises(ValueRangeError, match="weights of 0 or more"):
        solve_whole(users, items, sp.csr_array(-np.ones((3, 2), np.float32)), **options)
    with pytest.raises(ValueRangeError, match="unobserved_weight is 0"):
        WholeLoss(unobserved_weight=0.0, reg=1.0, shared_reg=1.0)

"""Dot products against the formulas of factorization machines, written out pair by pair and triple by triple."""

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recvec.contract import Threads
from recvec.kernels.fm_vectors import CONTEXT, ITEM, USER, Machine, as_items, as_users, draw_scores, in_context, sums

SIZES = (5, 4, 3)  # features of user, item, context
GROUPS = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5], np.int32)


def machine(kind: str, seed: int) -> Machine:
    rng = np.random.default_rng(seed)
    s, d, f = (3 if kind == "draws" else 1), 4, sum(SIZES)
    r = rng.standard_normal((6, 6))
    return Machine(
        bias=rng.standard_normal(s),
        linear=rng.standard_normal((s, f)).astype(np.float32),
        factors=rng.standard_normal((s, f, d)).astype(np.float32),
        starts=np.cumsum([0, *SIZES]),
        groups=GROUPS,
        third=rng.standard_normal((f, 2)).astype(np.float32) if kind == "third" else None,
        fields=(r + r.T).astype(np.float32) if kind == "fields" else None,
    )


def written_out(m: Machine, x: np.ndarray) -> np.ndarray:
    """Return the score of one observation by each machine, (S,)."""
    v, w = m.factors.astype(np.float64), m.linear.astype(np.float64)
    total = m.bias + w @ x
    for f, g in combinations(range(len(x)), 2):
        r = 1.0 if m.fields is None else float(m.fields[m.groups[f], m.groups[g]])
        total = total + r * x[f] * x[g] * np.einsum("sd,sd->s", v[:, f], v[:, g])
    if m.third is not None:
        u = m.third.astype(np.float64)
        total = total + sum(x[f] * x[g] * x[h] * (u[f] * u[g] * u[h]).sum() for f, g, h in combinations(range(len(x)), 3))
    return total


def rows(rng: np.random.Generator, n: int, width: int) -> sp.csr_array:
    x = rng.standard_normal((n, width)) * (rng.random((n, width)) < 0.6)
    return sp.csr_array(x.astype(np.float32))


@pytest.mark.parametrize("kind", ["plain", "draws", "third", "fields"])
@given(seed=st.integers(0, 1000))
def test_scores_are_those_of_the_formula_with_and_without_context(kind: str, seed: int) -> None:
    m, rng, executor = machine(kind, seed), np.random.default_rng(seed + 1), Threads(1)
    blocks = [rows(rng, n, width) for n, width in zip((3, 4, 3), SIZES, strict=True)]
    found = [sums(m, side, block, executor) for side, block in enumerate(blocks)]
    users, items = as_users(m, found[USER]), as_items(m, found[ITEM])
    assert users.shape == (3, m.width + 2 * m.n_draws)
    assert items.shape == (4, m.width + 2 * m.n_draws)
    shifted = in_context(m, users, found[CONTEXT])
    x = [block.toarray().astype(np.float64) for block in blocks]
    for queries, context in ((users, np.zeros_like(x[2])), (shifted, x[2])):
        expected = np.array([[written_out(m, np.concatenate([x[0][u], x[1][i], context[u]])) for i in range(4)] for u in range(3)])
        size = 1 + np.abs(expected).max()
        np.testing.assert_allclose(queries @ items.T + m.bias.mean(), expected.mean(axis=2), atol=3e-5 * size)
        each = draw_scores(m, np.repeat(queries, 4, axis=0), np.tile(items, (3, 1))).reshape(3, 4, -1)
        np.testing.assert_allclose(each, expected, atol=3e-5 * size)


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    m, block = machine("draws", 0), rows(np.random.default_rng(0), 5000, SIZES[0])
    one, two = (as_users(m, sums(m, USER, block, Threads(n))) for n in (1, 2))
    assert np.array_equal(one, two)

"""What attributes explain of ids."""

import numpy as np
import pytest
import scipy.sparse as sp

import recvec as rv
from recvec.kernels.fm_vectors import ITEM, USER, as_items, as_users, sums
from recvec.models.fm_attributes import ATTRIBUTE_SCALE, explained, scales, settled
from recvec.models.fm_problem import problem_of
from recvec.models.fm_solvers import occurring, spread_out


def one_hot(codes: np.ndarray) -> sp.csr_array:
    return sp.csr_array(np.eye(codes.max() + 1)[codes])


def test_attributes_take_what_they_explain_and_no_more() -> None:
    rng = np.random.default_rng(0)
    told, idle = rng.integers(0, 5, 400), rng.integers(0, 40, 400)
    x = sp.csr_array(sp.hstack([one_hot(told), one_hot(idle)]))
    groups = np.repeat([0, 1], [5, 40]).astype(np.int32)
    truth = rng.normal(size=(5, 8))
    truth -= truth[told].mean(axis=0)
    totals = truth[told] + rng.normal(size=(400, 8)) + 3
    found, rest = explained(x, groups, totals)
    np.testing.assert_allclose(x @ found + rest, totals, atol=1e-10)
    assert np.sqrt(np.mean((found[:5] - truth) ** 2)) < 0.15
    assert np.abs(found[5:]).mean() < 0.02  # least squares: .25
    np.testing.assert_allclose(rest.mean(axis=0), 3, atol=0.1)


@pytest.mark.parametrize("within", [False, True])
def test_no_score_of_who_is_known_changes(within: bool) -> None:
    data, rng = rv.sample(), np.random.default_rng(1)
    problem = problem_of(rv.FM(task="rating"), data)
    seen = occurring(problem).features
    drawn = rng.normal(size=(2, len(seen))).astype(np.float32), rng.normal(size=(2, len(seen), 3)).astype(np.float32)
    machine = spread_out(problem, seen, np.zeros(2), *drawn)
    machine = (
        machine if within else type(machine)(machine.bias, machine.linear, machine.factors, machine.starts, machine.groups, within=False)
    )
    users, items = (np.unique(rows) for rows in problem.rows[:2])
    executor = rv.Runtime(threads=1).executor

    def scores(m: object) -> np.ndarray:
        u, i = (sums(m, side, sp.csr_array(problem.features[side][rows]), executor) for side, rows in ((USER, users), (ITEM, items)))  # type: ignore[arg-type]
        return as_users(m, u) @ as_items(m, i).T  # type: ignore[arg-type]

    after = settled(settled(machine, problem, USER), problem, ITEM)
    assert not np.allclose(after.factors, machine.factors)
    np.testing.assert_allclose(scores(after), scores(machine), atol=2e-3)


def test_attributes_alone_have_a_narrow_prior() -> None:
    problem = problem_of(rv.FM(task="rating"), rv.sample())
    found = scales(problem, occurring(problem).features)
    ids = [0, problem.coders[USER].n_groups]
    assert (found[ids] == 1).all()
    assert (np.delete(found, ids)[: len(found) - 2] == ATTRIBUTE_SCALE).all()

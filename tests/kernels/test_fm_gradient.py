"""Factorization machines by gradients: scores against sums over pairs and triples, gradients against differences."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Threads
from recvec.errors import DivergedError, ValueRangeError
from recvec.kernels import fm_gradient
from recvec.kernels.fm_gradient import Machine, corrected_bias, fitted_bias, learn, mean_loss, score
from recvec.kernels.fm_gradient_batches import deal
from recvec.kernels.fm_gradient_rows import LOGISTIC, SQUARED, packed, unpacked
from recvec.kernels.fm_gradient_steps import FIRST, Settings, run_epoch

ONE, TWO = Threads(1), Threads(2)


def sparse(rng, n, n_features, density=0.4):
    return sp.csr_array(sp.random(n, n_features, density, format="csr", dtype=np.float32, random_state=rng, data_rvs=rng.standard_normal))


def random_machine(rng, n_features, rank, order, n_groups):
    groups = rng.integers(0, max(1, n_groups), n_features).astype(np.int32)
    groups[0] = max(0, n_groups - 1)
    crossed = rng.standard_normal((n_groups, n_groups)).astype(np.float32)
    return Machine(
        bias=0.3,
        linear=rng.standard_normal(n_features).astype(np.float32),
        factors=rng.standard_normal((n_features, rank)).astype(np.float32),
        groups=groups,
        third=rng.standard_normal((n_features, rank)).astype(np.float32) if order == 3 else None,
        field_weights=(crossed + crossed.T) / 2 if n_groups else None,
    )


def by_hand(matrix, m):
    """Sum over all pairs and triples, in float64."""
    dense, out = matrix.toarray().astype(np.float64), []
    linear, v = m.linear.astype(np.float64), m.factors.astype(np.float64)
    for x in dense:
        total = m.bias + x @ linear
        for f, g in itertools.combinations(range(len(x)), 2):
            weight = 1 if m.field_weights is None else m.field_weights[m.groups[f], m.groups[g]]
            total += weight * x[f] * x[g] * (v[f] @ v[g])
        if m.third is not None:
            u = m.third.astype(np.float64)
            for f, g, h in itertools.combinations(range(len(x)), 3):
                total += x[f] * x[g] * x[h] * (u[f] * u[g] * u[h]).sum()
        out.append(total)
    return np.array(out)


shapes = {"rank": st.sampled_from([1, 3, 15, 16, 70]), "order": st.sampled_from([2, 3]), "n_groups": st.sampled_from([0, 1, 3])}


@given(seed=st.integers(0, 2**31), n=st.integers(0, 6), n_features=st.integers(1, 8), **shapes)
@settings(max_examples=40, deadline=None)
def test_scores_are_sums_over_pairs_and_triples(seed, n, n_features, rank, order, n_groups):
    rng = np.random.default_rng(seed)
    matrix, machine = sparse(rng, n, n_features), random_machine(rng, n_features, rank, order, n_groups)
    np.testing.assert_allclose(score(matrix, machine, ONE), by_hand(matrix, machine), rtol=1e-4, atol=1e-3)


def gradients(matrix, labels, m, loss, batch_size=1000):
    """Return the gradients by bias, linear weights, factors, third-order factors, field weights: what Adam saw of one batch."""
    rng, rank = np.random.default_rng(0), m.factors.shape[1]
    weights = packed(m.bias, m.linear, m.factors, m.third, m.field_weights)
    batches = deal(matrix, m.groups if m.field_weights is not None else None, batch_size, rng, ONE)
    moments, room = fm_gradient._moments(weights, len(m.linear)), fm_gradient._room(batches, weights)
    rates = Settings(np.float32(0), fm_gradient._by_place(weights, rank, 0, 0), loss)
    run_epoch(weights, moments, batches, labels[batches.order], m.groups, room, rates, np.arange(1), ONE)
    second, third = (unpacked(weights, matrix[0]) / (1 - FIRST) for matrix in (moments.second, moments.third))
    assert np.array_equal(second[:, rank + 1 :], np.zeros_like(second[:, rank + 1 :]))
    assert np.array_equal(third[:, rank:], np.zeros_like(third[:, rank:]))
    return weights.shared[1] / (1 - FIRST), second[:, rank], second[:, :rank], third[:, :rank], moments.fields[0] / (1 - FIRST)


@given(seed=st.integers(0, 2**31), logistic=st.booleans(), **shapes)
@settings(max_examples=25, deadline=None)
def test_gradients_are_differences(seed, logistic, rank, order, n_groups):
    rng = np.random.default_rng(seed)
    matrix, m = sparse(rng, 7, 5), random_machine(rng, 5, min(rank, 16), order, n_groups)
    labels = (rng.random(7) < 0.5).astype(np.float32)
    bias, linear, factors, third, fields = gradients(matrix, labels, m, LOGISTIC if logistic else SQUARED)

    def at(**changes):
        changed = Machine(**{**{n: getattr(m, n) for n in ("bias", "linear", "factors", "groups", "third", "field_weights")}, **changes})
        return mean_loss(by_hand(matrix, changed), labels, logistic=logistic)

    def difference(name, *places):
        low, high = (np.array(getattr(m, name), np.float64) for _ in range(2))
        for place in places:
            low[place] -= 1e-3
            high[place] += 1e-3
        return (at(**{name: high}) - at(**{name: low})) / 2e-3

    f, d, g, h = int(rng.integers(5)), int(rng.integers(m.factors.shape[1])), max(0, n_groups - 1), 0
    wanted = {"bias": (bias, difference("bias", ())), "linear": (linear[f], difference("linear", f))}
    wanted["factors"] = factors[f, d], difference("factors", (f, d))
    if order == 3:
        wanted["third"] = third[f, d], difference("third", (f, d))
    if n_groups:
        wanted["fields"] = fields[g, h], difference("field_weights", *{(g, h), (h, g)})
    for name, (found, numeric) in wanted.items():
        assert found == pytest.approx(numeric, rel=2e-3, abs=2e-3), name


def planted(rng, n, degree):
    """Return rows of +1 and -1 whose label is the sign of a product of so many of them."""
    dense = rng.choice([-1.0, 1.0], (n, 6)).astype(np.float32)
    return sp.csr_array(dense), (dense[:, :degree].prod(axis=1) > 0).astype(np.float32)


def auc(scores, labels):
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    n = labels.sum()
    return (ranks[labels == 1].sum() - n * (n + 1) / 2) / (n * (len(labels) - n))


GROUPS = np.arange(6, dtype=np.int32)
QUICK = {"rank": 7, "learning_rate": 0.02, "batch_size": 64, "n_epochs": 40}


def test_third_order_finds_triples_that_second_order_cannot():
    rng = np.random.default_rng(0)
    (matrix, labels), (held, wanted) = planted(rng, 2000, 3), planted(rng, 1000, 3)
    found = {order: learn(matrix, labels, GROUPS, **QUICK, order=order, rng=np.random.default_rng(1), executor=ONE) for order in (2, 3)}
    areas = {order: auc(score(held, machine, ONE), wanted) for order, machine in found.items()}
    assert areas[2] < 0.6
    assert areas[3] > 0.99


def test_second_order_finds_pairs_and_a_field_weight_of_their_own():
    rng = np.random.default_rng(0)
    (matrix, labels), (held, wanted) = planted(rng, 2000, 2), planted(rng, 1000, 2)
    for fields in (False, True):
        machine = learn(matrix, labels, GROUPS, **QUICK, field_weights=fields, rng=np.random.default_rng(1), executor=ONE)
        assert auc(score(held, machine, ONE), wanted) > 0.99
    assert abs(machine.field_weights[0, 1]) > 2 * np.abs(np.delete(np.delete(machine.field_weights, [0, 1], 0), [0, 1], 1)).mean()


@pytest.mark.parametrize("kind", [{}, {"order": 3}, {"field_weights": True}, {"order": 3, "field_weights": True}])
def test_the_same_bits_for_any_number_of_threads(kind):
    rng = np.random.default_rng(0)
    matrix, groups = sparse(rng, 3000, 50, 0.2), np.repeat(np.arange(5), 10).astype(np.int32)
    labels = (rng.random(3000) < 0.5).astype(np.float32)
    given = {"rank": 5, "batch_size": 1000, "n_epochs": 3, **kind}
    one, two, other = (
        learn(matrix, labels, groups, **given, rng=np.random.default_rng(seed), executor=on) for seed, on in ((0, ONE), (0, TWO), (1, ONE))
    )
    for name in ("bias", "linear", "factors", "third", "field_weights", "curve"):
        first, second = (np.array(getattr(machine, name), np.float64) for machine in (one, two))
        assert np.array_equal(first, second, equal_nan=True), name
    assert not np.array_equal(one.factors, other.factors)


def test_early_stopping_keeps_the_best_epoch_and_its_probabilities_are_right_in_the_mean():
    rng = np.random.default_rng(0)
    matrix, held = sparse(rng, 300, 40), sparse(rng, 200, 40)
    labels, wanted = ((m @ np.linspace(-1, 1, 40) + rng.standard_normal(m.shape[0]) > 0.5).astype(np.float32) for m in (matrix, held))
    given = {"rank": 15, "learning_rate": 0.1, "batch_size": 50, "executor": ONE}
    groups = np.zeros(40, np.int32)
    stopped = learn(matrix, labels, groups, **given, n_epochs=60, valid=(held, wanted), patience=3, rng=np.random.default_rng(3))
    best = 1 + int(np.argmin([value for _, value in stopped.curve]))
    assert len(stopped.curve) == best + 3 < 60
    short = learn(matrix, labels, groups, **given, n_epochs=best, rng=np.random.default_rng(3))
    assert np.array_equal(short.factors, stopped.factors)
    chances = 1 / (1 + np.exp(-score(held, stopped, ONE).astype(np.float64)))
    assert chances.mean() == pytest.approx(wanted.mean(), abs=1e-6)
    assert mean_loss(score(held, stopped, ONE), wanted, logistic=True) <= stopped.curve[best - 1][1] + 1e-6


def test_regularization_of_a_rare_feature_is_that_of_the_objective():
    """A feature that stands in one row of 64 batches ends where the objective says: lazy steps make good what passed it by."""
    n, reg = 640, 0.02
    dense = np.zeros((n, 2), np.float32)
    dense[:, 0], dense[::64, 1] = 1, 1
    labels = (3 * dense[:, 1]).astype(np.float32)
    machine = learn(
        sp.csr_array(dense), labels, np.zeros(2, np.int32), rank=1, loss="squared", learning_rate=0.01, reg=10.0, reg_linear=reg,
        batch_size=10,
        n_epochs=400, rng=np.random.default_rng(0), executor=ONE,
    )  # fmt: skip
    centred = np.hstack([np.ones((n, 1)), dense]).astype(np.float64)  # the bias is not regularized
    exact = np.linalg.solve(centred.T @ centred / n + np.diag([0, reg, reg]), centred.T @ labels / n)
    assert machine.linear[1] == pytest.approx(exact[2], rel=0.05)


def test_squared_loss_finds_a_plane():
    rng = np.random.default_rng(0)
    matrix = sparse(rng, 500, 6, 1.0)
    weights = np.arange(6.0)
    machine = learn(
        matrix, (matrix @ weights + 2).astype(np.float32), GROUPS, rank=2, loss="squared", learning_rate=0.03, batch_size=50, n_epochs=150,
        rng=rng, executor=ONE,
    )  # fmt: skip
    np.testing.assert_allclose(machine.linear, weights, atol=0.1)
    assert machine.bias == pytest.approx(2, abs=0.1)


def test_biases():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, 5000)
    labels = (rng.random(5000) < 1 / (1 + np.exp(-scores - 1.5))).astype(np.float32)
    bias = fitted_bias(scores, labels)
    assert (1 / (1 + np.exp(-scores - bias))).mean() == pytest.approx(labels.mean(), abs=1e-6)
    assert bias == pytest.approx(1.5, abs=0.2)
    kept = np.flatnonzero((labels == 1) | (rng.random(5000) < 0.1))
    assert corrected_bias(fitted_bias(scores[kept], labels[kept]), 0.1) == pytest.approx(1.5, abs=0.3)
    with pytest.raises(ValueRangeError, match="share of negatives kept is 0; allowed"):
        corrected_bias(0, 0)


def test_what_cannot_be_learned_from_is_refused_in_a_line():
    matrix, groups, rng = sparse(np.random.default_rng(0), 4, 3), np.zeros(3, np.int32), np.random.default_rng(0)
    for labels, text in (
        (np.array([0, 1, 2, 0], np.float32), "label 2 of row 2 is not usable; allowed: 0 and 1"),
        (np.array([0, 1, np.nan, 0], np.float32), "label nan of row 2"),
        (np.ones(4, np.float32), "all labels are 1; allowed: 0 and 1, both"),
        (np.ones(3, np.float32), r"labels have shape \(3,\); allowed: \(4,\)"),
    ):
        with pytest.raises(ValueRangeError, match=text):
            learn(matrix, labels, groups, rank=2, rng=rng, executor=ONE)
    with pytest.raises(ValueRangeError, match="the matrix has 3 columns; allowed: 2"):
        learn(matrix, np.array([0, 1, 0, 1], np.float32), groups[:2], rank=2, rng=rng, executor=ONE)
    with pytest.raises(DivergedError, match=r"left the finite numbers in epoch .; lower learning_rate"), np.errstate(all="ignore"):
        learn(matrix, np.array([0, 1e30, 0, 1], np.float32), groups, rank=2, loss="squared", learning_rate=1e30, rng=rng, executor=ONE)


@pytest.mark.parametrize(("order", "fields"), [(2, False), (3, True)])
def test_a_broken_run_goes_on(order, fields):
    rng = np.random.default_rng(3)
    matrix, groups, states, machines = sparse(rng, 60, 7), np.array([0, 0, 1, 1, 1, 2, 2], np.int32), [], []
    labels = (rng.random(60) < 0.5).astype(np.float32)

    def learned(**options):
        return learn(
            matrix, labels, groups, rank=3, order=order, field_weights=fields, learning_rate=0.05, batch_size=16, n_epochs=5,
            rng=np.random.default_rng(1), executor=ONE, **options,
        )  # fmt: skip

    def keep(epoch):
        states.append({name: array.copy() for name, array in epoch.state().items()})
        machines.append(epoch.machine())

    whole = learned(on_epoch=keep)
    for done in (2, 5):
        seen = []
        found = learned(resume=states[done - 1], on_epoch=lambda epoch, seen=seen: seen.append(epoch.number))
        assert seen == list(range(done + 1, 6))
        assert [value for value, _ in found.curve] == [value for value, _ in whole.curve]
        for machine in (found, machines[-1]):
            for name in ("bias", "linear", "factors", "third", "field_weights"):
                assert np.array_equal(getattr(machine, name), getattr(whole, name)), name
    with pytest.raises(ValueRangeError, match="cannot be resumed; leave resume out"):
        learned(resume=states[0], valid=(matrix, labels))

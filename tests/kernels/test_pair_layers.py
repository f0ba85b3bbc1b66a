"""Layers over pairs against plain numpy, for any shape and any number of threads."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Threads
from recvec.kernels import pair_layers as layers

shapes = st.tuples(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 6), st.integers(1, 40), st.integers(1, 20))


def drawn(shape: tuple[int, ...]) -> tuple[np.random.Generator, np.ndarray, np.ndarray, np.ndarray]:
    seed, n, width, n_items, d = shape
    rng = np.random.default_rng(seed)
    users, items = (rng.standard_normal((rows, d), dtype=np.float32) for rows in (n, n_items))
    return rng, users, items, rng.integers(0, n_items, (n, width))


def wide(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)


@settings(deadline=None, max_examples=30)
@given(shapes)
def test_dot_products_and_their_gradient(shape: tuple[int, ...]) -> None:
    rng, users, items, rows = drawn(shape)
    slopes = rng.standard_normal(rows.shape, dtype=np.float32)
    np.testing.assert_allclose(layers.dots(users, items, rows), np.einsum("bd,bjd->bj", users, items[rows]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        layers.dots_for_users(slopes, items, rows), np.einsum("bj,bjd->bd", slopes, items[rows]), rtol=1e-4, atol=1e-5
    )
    expected = np.zeros_like(items)
    np.add.at(expected, rows, slopes[:, :, None] * users[:, None])
    slots = layers.Slots.of(rows, len(items))
    one, three = (layers.dots_for_items(slopes, users, slots, Threads(n)) for n in (1, 3))
    np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(one, three)
    assert slots.counts.tolist() == np.bincount(rows.ravel(), minlength=len(items)).tolist()


@settings(deadline=None, max_examples=30)
@given(shapes)
def test_halves_of_a_layer_and_their_gradient(shape: tuple[int, ...]) -> None:
    rng, users, items, rows = drawn(shape)
    halves = layers.rounded(items)
    items = wide(halves)
    values = layers.joined(users, halves, rows, np.empty((rows.size, users.shape[1]), np.uint16))
    exact = np.maximum(users[:, None] + items[rows], 0).reshape(rows.size, -1)
    np.testing.assert_allclose(wide(values), exact, rtol=2**-8)
    slopes = layers.rounded(rng.standard_normal(exact.shape, dtype=np.float32))
    masked = np.where(exact > 0, wide(slopes), 0)
    np.testing.assert_allclose(
        layers.joined_for_users(slopes, values, len(users)), masked.reshape(*rows.shape, -1).sum(axis=1), rtol=1e-4, atol=1e-5
    )
    assert np.array_equal(wide(slopes), masked)
    expected = np.zeros_like(items)
    np.add.at(expected, rows.ravel(), masked)
    one, three = (layers.joined_for_items(slopes, layers.Slots.of(rows, len(items)), Threads(n)) for n in (1, 3))
    np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(one, three)


@settings(deadline=None, max_examples=30)
@given(shapes)
def test_later_layers_and_the_loss(shape: tuple[int, ...]) -> None:
    rng, users, items, _ = drawn(shape)
    bias, weight = users[0], items[0]
    bits = layers.rounded(users)
    values = layers.bent(bits.copy(), bias)
    np.testing.assert_allclose(wide(values), np.maximum(wide(bits) + bias, 0), rtol=2**-8)
    np.testing.assert_allclose(layers.finished(values, weight), wide(values) @ weight, rtol=1e-4, atol=1e-5)
    slopes = rng.standard_normal(len(users), dtype=np.float32)
    back, of_weight = layers.finished_gradient(slopes, values, weight)
    np.testing.assert_allclose(wide(back), slopes[:, None] * weight, rtol=2**-8)
    np.testing.assert_allclose(of_weight, slopes @ wide(values), rtol=1e-4, atol=1e-5)
    more = layers.rounded(rng.standard_normal(users.shape, dtype=np.float32))
    kept = np.where(values > 0, wide(more), 0)
    np.testing.assert_allclose(layers.passed(more, values), kept.sum(axis=0), rtol=1e-4, atol=1e-5)
    assert np.array_equal(wide(more), kept)
    logits = rng.standard_normal((len(users), 3), dtype=np.float32) * 5
    signs = np.array([-1, 1, 1], np.float32)
    total, slope = layers.logistic(logits, 10)
    np.testing.assert_allclose(total, np.log1p(np.exp(signs * logits.astype(np.float64))).sum(), rtol=1e-5)
    np.testing.assert_allclose(slope, signs / (1 + np.exp(-signs * logits)) / 10, rtol=1e-5)
    shares, added = rng.random(len(users), dtype=np.float32), users.copy()
    sums = layers.decayed(added, users, shares, np.abs(weight))
    np.testing.assert_allclose(sums, (shares[:, None] * users**2).sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(added, users * (1 + 2 * shares[:, None] * np.abs(weight)), rtol=1e-5)


def test_rounding_is_to_nearest_and_ties_to_even() -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF], np.uint32)
    assert layers.rounded(bits.view(np.float32)).tolist() == [0x3F80, 0x3F82, 0x3F81, 0x3F80]


def test_sums_by_place() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert layers.summed(rows, np.array([2, 0, 2]), 4).tolist() == [[2, 3], [0, 0], [4, 6], [0, 0]]

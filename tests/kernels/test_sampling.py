"""Random numbers of kernels, and the distributions of negatives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recvec.kernels.compiled import compiled_exactly
from recvec.kernels.sampling import (
    STEP,
    alias_table,
    below,
    catalogue,
    high_unit,
    item_by_rank,
    item_by_share,
    low_unit,
    mixed,
    rank_law,
    shuffle,
    stream,
)


@compiled_exactly
def many(state, n, kind, top, members, threshold, alias, orders, spread, vectors, depth):
    """Draw n items."""
    out = np.empty(n, np.int64)
    for t in range(n):
        state += STEP
        if kind == 0:
            out[t] = item_by_share(mixed(state), members, threshold, alias)
        elif kind == 1:
            out[t] = item_by_rank(mixed(state), orders, spread, vectors, 0, rank_law(depth, len(members)))
        else:
            out[t] = below(mixed(state), top)
    return out


def draw(items, n, *, kind=0, top=1, vectors=None, depth=0.1, seed=3):
    x = np.zeros((1, 16), np.float32) if vectors is None else vectors
    return many(np.uint64(stream(seed, 0)), n, kind, top, *items, x, np.float32(depth))


def agrees(counts: np.ndarray, expected: np.ndarray) -> bool:
    """Chi-square at 1 in 1,000, over what is expected at least 5 times."""
    often = expected >= 5
    value = float(((counts - expected)[often] ** 2 / expected[often]).sum())
    return value < stats.chi2.ppf(0.999, often.sum() - 1)


def splitmix(state: int) -> int:
    """Return what `mixed` returns, in Python's own numbers."""
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def test_the_generator_is_splitmix64() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]  # of seed 1234567, in the reference implementation
    step = int(STEP)
    assert [splitmix((1234567 + n * step) % 2**64) for n in (1, 2, 3)] == published
    assert [int(mixed(np.uint64((1234567 + n * step) % 2**64))) for n in (1, 2, 3)] == published


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**32 - 1))
def test_numbers_stay_in_their_range(bits: int, n: int) -> None:
    assert below(np.uint64(bits), n) == (bits >> 32) * n >> 32 < n
    for number in (high_unit(np.uint64(bits)), low_unit(np.uint64(bits))):
        assert 0 < number <= 1


def test_streams_and_seeds_differ() -> None:
    assert len({int(stream(seed, number)) for seed in range(30) for number in range(30)}) == 900


def test_all_are_drawn_alike() -> None:
    nothing = catalogue(np.arange(3, dtype=np.int32), np.ones(3))
    assert agrees(np.bincount(draw(nothing, 50_000, kind=2, top=37), minlength=37), np.full(37, 50_000 / 37))


def test_a_shuffle_is_a_permutation_and_each_is_as_likely() -> None:
    seen: dict[tuple[int, ...], int] = {}
    state = np.uint64(stream(1, 1))
    for _ in range(12_000):
        values = np.arange(4)
        state = np.uint64(shuffle(state, values))
        seen[tuple(values.tolist())] = seen.get(tuple(values.tolist()), 0) + 1
    assert len(seen) == 24
    assert agrees(np.array(list(seen.values())), np.full(24, 500.0))


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40))
def test_the_table_holds_the_shares(shares: list[float]) -> None:
    share = np.array(shares)
    threshold, alias = alias_table(share)
    held = threshold.astype(float)
    np.add.at(held, alias, 1 - threshold.astype(float))
    np.testing.assert_allclose(held / len(share), share / share.sum(), atol=1e-6)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_draws_follow_the_shares(exponent: float) -> None:
    share = np.arange(1.0, 51.0) ** exponent
    items = catalogue(np.arange(100, 150, dtype=np.int32), share)
    counts = np.bincount(draw(items, 60_000), minlength=150)[100:]
    assert agrees(counts, 60_000 * share / share.sum())


def test_draws_by_rank_follow_the_geometric_law_of_each_factor() -> None:
    rng = np.random.default_rng(0)
    vectors, bias = rng.standard_normal((60, 16)).astype(np.float32), rng.standard_normal(60).astype(np.float32)
    vectors[:, 3:] = 0
    members = np.arange(20, 60, dtype=np.int32)
    items = catalogue(members, np.ones(40), (vectors, bias))
    x = np.zeros((1, 16), np.float32)
    x[0, :3] = 0.5, -2.0, 1.0
    mine = np.column_stack([vectors[members, :3], bias[members]]).astype(float)
    weight = np.abs([0.5, 2.0, 1.0, 1.0]) * mine.std(axis=0)
    mean = 0.1 * 40
    law = np.exp(-np.arange(40) / mean) - np.exp(-np.arange(1, 41) / mean)
    expected = np.zeros(60)
    for f, sign in enumerate((1, -1, 1, 1)):
        expected[members[np.argsort(-sign * mine[:, f])]] += weight[f] / weight.sum() * law / law.sum()
    counts = np.bincount(draw(items, 80_000, kind=1, vectors=x, depth=0.1), minlength=60)
    assert counts[:20].sum() == 0
    assert agrees(counts, 80_000 * expected)


def test_without_any_spread_something_is_drawn_all_the_same() -> None:
    items = catalogue(np.arange(5, dtype=np.int32), np.ones(5), (np.zeros((5, 16), np.float32), np.zeros(5, np.float32)))
    assert set(draw(items, 100, kind=1, depth=10.0).tolist()) <= set(range(5))

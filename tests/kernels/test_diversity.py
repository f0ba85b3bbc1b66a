"""Maximal marginal relevance against the formula written out, and what it promises at its ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recvec.contract import Runtime
from recvec.errors import ValueRangeError
from recvec.kernels.diversity import intra_list_similarity, mmr

ONE = Runtime(threads=1).executor


def by_the_formula(rows: np.ndarray, scores: np.ndarray, vectors: np.ndarray, k: int, diversity: float) -> list[int]:
    pool = [int(r) for r in rows if r >= 0]
    length = np.linalg.norm(vectors.astype(np.float64), axis=1)
    units = vectors / np.where(length > 0, length, 1)[:, None]
    span = float(scores[0]) - float(scores[len(pool) - 1]) if pool else 0.0
    relevance = {r: (float(s) - float(scores[len(pool) - 1])) / (span or 1.0) for r, s in zip(pool, scores, strict=False)}
    picked: list[int] = []
    while pool and len(picked) < k:
        values = [(1 - diversity) * relevance[r] - (diversity * max(units[r] @ units[j] for j in picked) if picked else 0) for r in pool]
        picked.append(pool.pop(int(np.argmax(values))))
    return picked


def pools(seed: int, n: int = 7, size: int = 12, n_items: int = 40, d: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pools, some of them shorter, over vectors one of which is zero."""
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(n_items)[:size] for _ in range(n)]).astype(np.int32)
    scores = -np.sort(-rng.standard_normal((n, size)).astype(np.float32), axis=1)
    for b, length in enumerate(rng.integers(0, size + 1, n)):
        rows[b, length:], scores[b, length:] = -1, -np.inf
    vectors = rng.standard_normal((n_items, d)).astype(np.float32)
    vectors[3] = 0
    return rows, scores, vectors


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, 15))
def test_it_is_the_greedy_choice_of_the_formula(seed: int, diversity: float, k: int) -> None:
    rows, scores, vectors = pools(seed)
    picked, kept = mmr(rows, scores, vectors, k, diversity, executor=ONE)
    assert picked.shape == kept.shape == (len(rows), k)
    for b in range(len(rows)):
        expected = by_the_formula(rows[b], scores[b], vectors, k, diversity)
        found = picked[b][picked[b] >= 0].tolist()
        assert found == expected
        own = dict(zip(rows[b].tolist(), scores[b].tolist(), strict=True))
        assert kept[b, : len(found)].tolist() == [own[r] for r in found]
        assert (picked[b, len(found) :] == -1).all()
        assert np.isneginf(kept[b, len(found) :]).all()


@given(st.integers(0, 10_000))
def test_without_diversity_the_pool_stays_as_it_is(seed: int) -> None:
    rows, scores, vectors = pools(seed)
    picked, kept = mmr(rows, scores, vectors, 12, 0, executor=ONE)
    assert np.array_equal(picked, rows)
    assert np.array_equal(kept, scores)


def test_near_copies_give_way() -> None:
    vectors = np.array([[1, 0], [1, 0.01], [0, 1], [0.6, 0.8]], np.float32)
    rows, scores = np.array([[0, 1, 2, 3]], np.int32), np.array([[4, 3, 2, 1]], np.float32)
    orders = [mmr(rows, scores, vectors, 4, d, executor=ONE)[0][0].tolist() for d in (0.0, 0.4, 1.0)]
    assert orders == [[0, 1, 2, 3], [0, 2, 1, 3], [0, 2, 3, 1]]


def test_ties_go_to_the_better_rank() -> None:
    rows, same = np.array([[5, 2, 9, 0, 7]], np.int32), np.ones((1, 5), np.float32)
    for vectors in (np.ones((10, 3), np.float32), np.zeros((10, 3), np.float32)):
        for diversity in (0.0, 0.5, 1.0):
            assert mmr(rows, same, vectors, 5, diversity, executor=ONE)[0].tolist() == rows.tolist()


def test_any_number_of_threads_gives_the_same_bits_and_lists_do_not_touch() -> None:
    rows, scores, vectors = pools(0, n=1000, size=50, n_items=300, d=16)
    one = mmr(rows, scores, vectors, 10, 0.4, executor=ONE)
    many = mmr(rows, scores, vectors, 10, 0.4, executor=Runtime(threads=3).executor)
    assert all(np.array_equal(a, b) for a, b in zip(one, many, strict=True))
    alone = mmr(rows[700:701], scores[700:701], vectors, 10, 0.4, executor=ONE)
    assert np.array_equal(alone[0][0], one[0][700])


def test_no_lists_at_all() -> None:
    rows, scores = np.zeros((0, 4), np.int32), np.zeros((0, 4), np.float32)
    assert mmr(rows, scores, np.ones((3, 2), np.float32), 2, 0.5, executor=ONE)[0].shape == (0, 2)
    assert intra_list_similarity(rows, np.ones((3, 2), np.float32), executor=ONE).shape == (0,)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_what_is_no_diversity_is_refused(wrong: object) -> None:
    with pytest.raises(ValueRangeError, match=f"diversity is {wrong}; allowed: a number from 0 .by score alone. to 1"):
        mmr(*pools(0), 3, wrong, executor=ONE)


@given(st.integers(0, 10_000))
def test_similarity_within_a_list_is_the_mean_over_its_pairs(seed: int) -> None:
    rows, _, vectors = pools(seed)
    found = intra_list_similarity(rows, vectors, executor=ONE)
    length = np.linalg.norm(vectors.astype(np.float64), axis=1)
    units = vectors / np.where(length > 0, length, 1)[:, None]
    for b in range(len(rows)):
        mine = units[rows[b][rows[b] >= 0]]
        pairs = (mine @ mine.T)[np.triu_indices(len(mine), 1)]
        assert found[b] == pytest.approx(pairs.mean() if len(pairs) else 0.0, abs=1e-6)


def test_more_diversity_means_less_similarity() -> None:
    rows, scores, vectors = pools(1, n=200, size=60, n_items=300, d=8)
    means = []
    for diversity in (0.0, 0.2, 0.4, 0.6):
        lists, _ = mmr(rows, scores, vectors, 8, diversity, executor=ONE)
        means.append(intra_list_similarity(lists, vectors, executor=ONE).mean())
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1] + 0.05

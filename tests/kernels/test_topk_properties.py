"""Top-k of any scores, cut into blocks of any size, against a list that plain Python sorts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract.runtime import Threads
from recvec.kernels import topk
from recvec.kernels.topk import top_k, top_k_by, top_k_of_scores

ONE, THREE = Threads(1), Threads(3)
SCORES = st.one_of(
    st.floats(width=32, allow_subnormal=True),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38]),
)


def expected(scores: list[list[float]], k: int, out: list[set[int]], allowed: set[int]) -> tuple[list[list[int]], list[list[float]]]:
    """Sort the pairs of score and row by hand; what is not available is not in the list, which is padded."""
    rows, best = [], []
    for line, gone in zip(scores, out, strict=True):
        there = [(-s + 0.0, row) for row, s in enumerate(line) if row in allowed - gone and not math.isnan(s) and s != -math.inf]
        mine = sorted(there)[:k]
        rows.append([row for _, row in mine] + [-1] * (k - len(mine)))
        best.append([-s for s, _ in mine] + [-math.inf] * (k - len(mine)))
    return rows, best


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, int]:
    """Sizes of blocks, lists and spans, from one query or item at a time on."""
    return {
        "QUERY_BLOCK": draw(st.sampled_from([1, 2, 3, 512])),
        "MIN_QUERIES": draw(st.sampled_from([1, 2, 16])),
        "BLOCK_SCORES": draw(st.sampled_from([6, 7, 16, 1 << 17])),  # at least one item for the queries of a task
        "SPARE": draw(st.sampled_from([1, 2, 64])),
        "TASK_KEYS": draw(st.sampled_from([1, 8, 1 << 18])),
        "MAX_TASKS": draw(st.sampled_from([1, 2, 7, 32])),
        "MIN_SPAN": draw(st.sampled_from([1, 2, 4096])),
        "MIN_SPAN_WORK": draw(st.sampled_from([1, 1 << 22])),
    }


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, int, list[set[int]], set[int]]:
    """Scores with many ties, k up to far beyond the catalogue, exclusions, candidates."""
    n_queries, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 24))
    few = draw(st.lists(SCORES, min_size=1, max_size=draw(st.sampled_from([2, 5, 40]))))  # few values, many ties
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.choice(np.array(few, np.float32), (n_queries, n_items))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    out = [set(np.flatnonzero(rng.random(n_items) < share).tolist()) for _ in range(n_queries)]
    allowed = set(rng.permutation(n_items)[: draw(st.integers(0, n_items))].tolist()) if draw(st.booleans()) else set(range(n_items))
    return scores, draw(st.sampled_from([1, 2, 3, n_items, n_items + 1, 5 * n_items])), out, allowed


def arguments(rng: np.random.Generator, out: list[set[int]], allowed: set[int], n_items: int) -> dict[str, object]:
    """Exclusions and candidates as the kernels take them; candidates in any order, or none where all are allowed."""
    indptr, indices = np.cumsum([0, *map(len, out)]), np.array([i for gone in out for i in sorted(gone)], np.int32)
    candidates = None if len(allowed) == n_items and rng.random() < 0.5 else rng.permutation(np.array(sorted(allowed), np.int32))
    return {"exclude": (indptr, indices) if indices.size or rng.random() < 0.5 else None, "candidates": candidates}


def assert_equal(found: tuple[np.ndarray, np.ndarray], rows: list[list[int]], best: list[list[float]]) -> None:
    assert found[0].tolist() == rows
    np.testing.assert_array_equal(found[1], np.array(best, np.float32))


@settings(max_examples=400)
@given(problem=problems(), sizes=blocks(), seed=st.integers(0, 99))
def test_any_scores_in_any_blocks(problem: tuple[np.ndarray, int, list[set[int]], set[int]], sizes: dict[str, int], seed: int) -> None:
    scores, k, out, allowed = problem
    rows, best = expected(scores.tolist(), k, out, allowed)
    given_lists = arguments(np.random.default_rng(seed), out, allowed, scores.shape[1])
    # vectors are numbers of lines and columns of the table, so that any score may be anywhere
    queries, items = (np.arange(n, dtype=np.float32)[:, None] for n in scores.shape)

    def look_up(asked: np.ndarray, some: np.ndarray, into: np.ndarray) -> None:
        into[:] = scores[np.ix_(asked[:, 0].astype(int), some[:, 0].astype(int))]

    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(topk, name, value)
        for executor in (ONE, THREE):
            assert_equal(top_k_by(look_up, queries, items, k, **given_lists, executor=executor), rows, best)
            assert_equal(top_k_of_scores(scores, k, **given_lists, executor=executor), rows, best)
    assert_equal(top_k_of_scores(scores, k, **given_lists), rows, best)


@settings(max_examples=150)
@given(problem=problems(), sizes=blocks(), seed=st.integers(0, 99))
def test_products_of_one_number(problem: tuple[np.ndarray, int, list[set[int]], set[int]], sizes: dict[str, int], seed: int) -> None:
    """A product of two numbers is rounded once, in whatever block: huge ones overflow to infinity, 0 times infinity is NaN."""
    scores, k, out, allowed = problem
    items, queries = scores[0][:, None].copy(), scores[:, :1].copy()
    with np.errstate(all="ignore"):
        products = (queries * items.T).astype(np.float32)
    rows, best = expected(products.tolist(), k, out, allowed)
    given_lists = arguments(np.random.default_rng(seed), out, allowed, scores.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(topk, name, value)
        assert_equal(top_k(queries, items, k, **given_lists, executor=THREE), rows, best)


@pytest.mark.parametrize("k", [1, 7, 64, 65, 1000])
def test_long_lists_that_fill_and_are_cut_again_and_again(k: int) -> None:
    """Ascending scores: every item enters every list, so that selection runs as often as it can."""
    n = 5000
    scores = np.arange(n, dtype=np.float32) // 3  # ties of three
    rows, best = expected([scores.tolist()], k, [set()], set(range(n)))
    assert_equal(top_k_of_scores(scores[None], k), rows, best)
    assert_equal(top_k(np.ones((1, 1), np.float32), scores[:, None].copy(), k, executor=THREE), rows, best)

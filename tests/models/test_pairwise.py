"""bpr and warp at the edges: small and odd tables, weights, labels, divergence."""

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.data.dataset import Dataset
from recvec.errors import DivergedError, InputError

METHODS = [
    rv.BPR(embedding_dim=4, epochs=3),
    rv.BPR(embedding_dim=1, epochs=3, negatives="uniform"),
    rv.BPR(embedding_dim=17, epochs=3, negatives="popularity", item_bias=False),
    rv.WARP(embedding_dim=4, epochs=3),
]


@pytest.fixture(params=METHODS, ids=lambda m: f"{m.name}-{m.embedding_dim}")
def method(request: pytest.FixtureRequest) -> rv.BPR | rv.WARP:
    return request.param


def table(pairs: list[tuple[int, int]], **columns: list[float]) -> Dataset:
    return rv.read(pl.DataFrame({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs], **columns}))


@pytest.mark.parametrize(
    "pairs",
    [
        [(0, 0), (0, 1), (0, 2), (1, 0)],  # user 0 has all items
        [(0, 0), (0, 1), (1, 0), (1, 1)],  # everyone has everything
        [(0, 0), (1, 1)],  # two users, two items, one each
        [(u, u % 5) for u in range(20)],  # one item each
    ],
)
def test_small_tables(method: rv.BPR | rv.WARP, pairs: list[tuple[int, int]]) -> None:
    data = table(pairs)
    model = method.fit(data)
    assert model.item_vectors.shape == (data.n_items, method.embedding_dim + int(method.item_bias))
    assert np.isfinite(model.user_vectors).all()
    assert np.isfinite(model.item_vectors).all()
    assert np.array_equal(model.user_vectors, model.queries(histories=data.histories()))


def test_a_huge_learning_rate_is_told_with_advice(sample: Dataset) -> None:
    for name in ("bpr", "warp"):
        with pytest.raises(DivergedError, match=rf"{name} left the finite numbers in .*; lower learning_rate \(it is 1e\+06\)"):
            rv.method(name, learning_rate=1e6, epochs=20, embedding_dim=8).fit(sample)


def test_weights_that_are_all_zero_are_refused(method: rv.BPR | rv.WARP) -> None:
    with pytest.raises(InputError, match=f"{method.name} needs interactions with a weight above 0, and every weight is 0"):
        method.fit(table([(0, 0), (1, 1), (1, 0)], weight=[0.0, 0.0, 0.0]))


def test_a_label_of_0_is_no_positive(method: rv.BPR | rv.WARP) -> None:
    pairs, labels = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)], [1.0, 0.0, 1.0, 0.0, 1.0]
    model = method.fit(table(pairs, label=labels))
    without = method.fit(table([(0, 0), (1, 1), (2, 2)]))
    assert np.array_equal(model.item_vectors, without.item_vectors)


def test_equal_weights_are_no_weights(method: rv.BPR | rv.WARP) -> None:
    pairs = [(u, (u * u + k) % 7) for u in range(12) for k in range(3)]
    one, other = (method.fit(table(sorted(set(pairs)), **w)) for w in ({}, {"weight": [2.5] * len(set(pairs))}))
    assert np.array_equal(one.item_vectors, other.item_vectors)
    assert np.array_equal(one.user_vectors, other.user_vectors)


@pytest.mark.parametrize("name", ["bpr", "warp"])
def test_heavy_items_end_higher(name: str) -> None:
    """Half of the people have item 0 with weight 9, the other half item 1 with weight 1."""
    pairs = [(u, i) for u in range(60) for i in (int(u >= 30), 2 + u % 6)]
    weights = [9.0 if i == 0 else 1.0 for _, i in pairs]
    bias = rv.method(name, embedding_dim=2, epochs=60, learning_rate=0.02).fit(table(pairs, weight=weights)).item_vectors[:, -1]
    even = rv.method(name, embedding_dim=2, epochs=60, learning_rate=0.02).fit(table(pairs)).item_vectors[:, -1]
    assert bias[0] > bias[1] + 0.1
    assert abs(even[0] - even[1]) < 0.1


@pytest.mark.parametrize("name", ["bpr", "warp"])
def test_the_order_gets_better_and_the_curve_says_so(name: str, sample_split: rv.Split) -> None:
    alike = {"negatives": "uniform"} if name == "bpr" else {}  # adaptive ones get harder from epoch to epoch, and the slope may rise
    model = rv.method(name, embedding_dim=16, epochs=8, settings=alike).fit(sample_split.train)
    slopes = [point["slope"] for point in model.curve]
    assert len(slopes) == 8
    assert slopes[-1] < slopes[0]
    more = rv.method(name, embedding_dim=16, epochs=40).fit(sample_split.train)
    popular = rv.Popularity().fit(sample_split.train)
    mine, theirs = (rv.evaluate(m, sample_split).metrics["ndcg@10"] for m in (more, popular))
    assert mine > 1.5 * theirs


def test_without_bias_there_is_no_extra_column(sample: Dataset) -> None:
    model = rv.BPR(embedding_dim=8, epochs=2, item_bias=False).fit(sample)
    assert (model.n_extra, model.item_vectors.shape[1], model.user_vectors.shape[1]) == (0, 8, 8)
    with_bias = rv.BPR(embedding_dim=8, epochs=2).fit(sample)
    assert (with_bias.n_extra, with_bias.item_vectors.shape[1]) == (1, 9)
    assert (with_bias.user_vectors[:, 8] == 1).all()
    history = sample.histories().take(np.array([5]))
    assert set(model.explain(history, 3).parts) == set()
    assert set(with_bias.explain(history, 3).parts) == {"item bias"}

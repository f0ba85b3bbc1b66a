"""softmax-mf at the edges: small and odd tables, weights, divergence, what explains a score."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.contract import State
from recvec.data.dataset import Dataset
from recvec.errors import ArtifactError, InputError

TINY = rv.SoftmaxMF(embedding_dim=4, epochs=4, batches=2, learning_rate=0.05)


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
@pytest.mark.parametrize("batches", [1, 3, 50])
def test_small_tables(pairs: list[tuple[int, int]], batches: int) -> None:
    data = table(pairs)
    model = rv.SoftmaxMF(embedding_dim=5, epochs=3, batches=batches, n_negatives=2, list_length=3).fit(data)
    assert np.isfinite(model.user_vectors).all()
    assert np.isfinite(model.item_vectors).all()
    assert np.array_equal(model.user_vectors, model.queries(histories=data.histories()))


def test_users_have_unit_length_and_items_that_of_their_popularity(sample: Dataset) -> None:
    model = rv.SoftmaxMF(embedding_dim=8, epochs=3, item_power=0.2).fit(sample)
    counts = np.maximum(np.bincount(sample.matrix().indices, minlength=sample.n_items), 1)
    lengths = (counts / np.exp(np.log(counts).mean())) ** 0.2
    np.testing.assert_allclose(np.linalg.norm(model.item_vectors, axis=1), lengths, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(model.user_vectors, axis=1), 1, rtol=1e-4)


def test_the_loss_falls(sample: Dataset) -> None:
    model = rv.SoftmaxMF(embedding_dim=8, epochs=15, learning_rate=0.06).fit(sample)
    assert model.curve[-1]["loss"] < model.curve[0]["loss"] - 0.1


def test_weights_matter_by_their_ratios_only() -> None:
    pairs = [(u, i) for u in range(12) for i in range(8) if (u + i) % 3]
    weights = np.random.default_rng(0).uniform(1, 5, len(pairs))
    one, other, plain = (TINY.fit(table(pairs, **w)) for w in ({"weight": list(weights)}, {"weight": list(4 * weights)}, {}))
    np.testing.assert_allclose(one.item_vectors, other.item_vectors, rtol=1e-3, atol=1e-4)
    assert not np.allclose(one.item_vectors, plain.item_vectors, atol=1e-3)
    with pytest.raises(InputError, match="softmax-mf needs interactions with a weight above 0"):
        TINY.fit(table(pairs, weight=[0.0] * len(pairs)))


def test_drawn_items_that_are_not_there_are_refused(sample: Dataset) -> None:
    state = TINY.fit(sample).state()
    forged = State({**state.arrays, "fold_in.drawn": np.array([0, 10**6])}, state.meta)
    with pytest.raises(ArtifactError, match="drawn items outside of 0 to 599"):
        TINY.restore(forged)


def test_nothing_of_it_needs_torch(sample: Dataset, tmp_path: Path) -> None:
    """It learns, is loaded, recommends and folds in where torch cannot be imported."""
    rv.save(rv.Recommender(TINY.fit(sample), sample), tmp_path / "model")
    code = f"""
import sys
sys.modules["torch"] = None
import recvec as rv
who = rv.load({str(tmp_path / "model")!r})
assert len(who.recommend(["u1"], k=5)) == len(who.recommend_for(history=["i1", "i2"], k=5)) == 5
rv.SoftmaxMF(embedding_dim=4, epochs=2).fit(rv.sample(n_users=50, n_items=40))
"""
    subprocess.run([sys.executable, "-c", code], check=True)

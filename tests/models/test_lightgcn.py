"""lightgcn and ngcf at the edges: small and odd tables, the propagation against dense powers, what folding in gives."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.data.dataset import Dataset
from recvec.errors import InputError

METHODS = [
    rv.LightGCN(embedding_dim=4, epochs=3, propagation="within"),
    rv.LightGCN(embedding_dim=5, epochs=3, n_layers=10, propagation="after", item_penalty=0.0),
    rv.LightGCN(embedding_dim=4, epochs=3, n_layers=3, loss="bpr", propagation="within", batches=2),
    rv.LightGCN(embedding_dim=4, epochs=3, loss="bpr", propagation="after"),
    rv.NGCF(embedding_dim=4, epochs=3, n_layers=2),
    rv.NGCF(embedding_dim=4, epochs=3, loss="bpr", dropout=0.1),
]


@pytest.fixture(params=METHODS, ids=lambda m: f"{m.name}-{m.loss}-{m.n_layers}")
def method(request: pytest.FixtureRequest) -> rv.LightGCN | rv.NGCF:
    return request.param


def table(pairs: list[tuple[int, int]], **columns: list[float]) -> Dataset:
    return rv.read(pl.DataFrame({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs], **columns}))


@pytest.mark.parametrize(
    "pairs",
    [
        [(0, 0), (0, 1), (0, 2), (1, 0)],  # user 0 has all items
        [(0, 0), (0, 1), (1, 0), (1, 1)],  # everyone has everything
        [(0, 0), (1, 1)],  # two users, two items, one each: more layers than the graph is wide
        [(u, u % 5) for u in range(20)],  # one item each
        [(0, 0), (0, 0), (1, 0), (1, 1), (0, 1), (1, 1)],  # duplicate edges
    ],
)
def test_small_and_odd_graphs(method: rv.LightGCN | rv.NGCF, pairs: list[tuple[int, int]]) -> None:
    data = table(pairs)
    model = method.fit(data)
    assert np.isfinite(model.user_vectors).all()
    assert np.isfinite(model.item_vectors).all()
    assert np.isfinite(model.queries(histories=data.histories())).all()


def test_without_positive_weights_it_is_refused(method: rv.LightGCN | rv.NGCF) -> None:
    with pytest.raises(InputError, match=f"{method.name} needs interactions with a weight above 0"):
        method.fit(table([(0, 0), (1, 1), (1, 0)], weight=[0.0, 0.0, 0.0]))


def test_layers_after_learning_are_those_of_dense_powers(sample: Dataset) -> None:
    """With no layers of its own, the model before is softmax-mf's: one more layer is a product with the dense adjacency."""
    n = sample.n_users
    one, two = (
        rv.LightGCN(embedding_dim=8, epochs=2, propagation="after", item_penalty=0.0, n_layers=layers).fit(sample) for layers in (1, 2)
    )
    pairs = sample.matrix().toarray().astype(np.float64)
    s = pairs / np.sqrt(pairs.sum(axis=1, keepdims=True) * np.maximum(pairs.sum(axis=0, keepdims=True), 1))
    whole = np.block([[np.zeros((n, n)), s], [s.T, np.zeros((sample.n_items,) * 2)]])
    first, second = (np.concatenate([m.user_vectors, m.item_vectors]).astype(np.float64) for m in (one, two))
    x = 3 * second - whole @ (2 * first)  # x + A x + A^2 x less A x + A^2 x
    np.testing.assert_allclose(x + whole @ x, 2 * first, atol=1e-4)


def test_a_fold_in_is_the_stored_vector_less_its_own_part(sample: Dataset) -> None:
    model = rv.LightGCN(embedding_dim=8, epochs=2, n_layers=1, propagation="after").fit(sample)
    own = model.user_vectors - model.queries(histories=sample.histories())
    np.testing.assert_allclose(np.linalg.norm(own, axis=1), 0.5, rtol=1e-3)  # half a unit vector


@pytest.mark.parametrize("settings", [{}, {"loss": "bpr", "learning_rate": 0.01, "n_layers": 2}])
def test_the_loss_falls(sample: Dataset, settings: dict[str, object]) -> None:
    model = rv.LightGCN(embedding_dim=8, epochs=15, **settings).fit(sample)
    assert model.curve[-1]["loss"] < 0.98 * model.curve[0]["loss"]


def test_ngcf_is_the_paper_s_layer(sample: Dataset) -> None:
    """The fold-in's layer written out with dense matrices for one person."""
    model = rv.NGCF(embedding_dim=6, epochs=2, n_layers=1).fit(sample)
    history = sample.histories().take(np.array([5]))
    fold = model.fold_in
    degree, mine = np.asarray(sample.matrix().sum(axis=0)), history.items
    received = (fold.layers[0][mine] / np.sqrt(degree[mine] * history.weights.sum())[:, None] * history.weights[:, None]).sum(axis=0)
    w = fold.transforms[0]
    out = (received + received) @ w[:6] + (received * received) @ w[6:12] + w[12]
    out = np.where(out > 0, out, 0.2 * out)
    found = model.queries(histories=history)[0]
    expected = np.concatenate([received, out / np.linalg.norm(out)])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(model.user_vectors, axis=1), 1, rtol=1e-4)


def test_recommending_needs_no_torch(sample: Dataset, tmp_path: Path) -> None:
    for method in (METHODS[0], METHODS[4]):
        rv.save(rv.Recommender(method.fit(sample), sample), tmp_path / method.name)
    code = f"""
import sys
sys.modules["torch"] = None
import recvec as rv
for name in ("lightgcn", "ngcf"):
    who = rv.load({str(tmp_path)!r} + "/" + name)
    assert len(who.recommend(["u1"], k=5)) == len(who.recommend_for(history=["i1", "i2"], k=5)) == 5
"""
    subprocess.run([sys.executable, "-c", code], check=True)

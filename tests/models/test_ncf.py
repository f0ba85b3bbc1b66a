"""Neural collaborative filtering: the written gradient, joining, candidates, likelihoods, new users, plain pairs of ids."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import recvec as rv
from recvec.contract import DotModel, PairModel, Runtime
from recvec.data.histories import Histories
from recvec.errors import HyperparameterError
from recvec.models.ncf import whole_numbers
from recvec.models.ncf_network import Network
from recvec.nn.batches import Batch

SMALL: dict[str, Any] = {"embedding_dim": 8, "epochs": 4, "batch_size": 512}
NEUMF = rv.NeuMF(**SMALL, mlp_embedding_dim=4, hidden="16,8")


@pytest.fixture(scope="module")
def model(sample: rv.Dataset) -> PairModel:
    return NEUMF.fit(sample)


@pytest.mark.parametrize("n_items", [50, 9000])  # fewer than the slots of a batch, and more
@pytest.mark.parametrize(
    ("method", "apart"),
    [
        (rv.GMF(embedding_dim=7), False),
        (rv.MLP(embedding_dim=5, hidden="12,6,4"), False),
        (rv.NeuMF(embedding_dim=7, mlp_embedding_dim=5, hidden="12"), False),
        (rv.NeuMF(embedding_dim=7, mlp_embedding_dim=5, hidden="12,9"), True),
    ],
    ids=["gmf", "mlp", "neumf", "apart"],
)
def test_the_written_gradient_is_that_of_automatic_differentiation(method: Any, apart: bool, n_items: int) -> None:
    rng = np.random.default_rng(0)
    network = Network(method, (300, n_items), rng)
    with torch.no_grad():  # numbers whose products bfloat16 holds exactly, so that only slopes are rounded
        for name, weight in network.named_parameters():
            unit = 0.5 if name.startswith(("gmf_", "mlp_")) else 1.0
            weight.copy_(torch.from_numpy(np.asarray(unit * rng.integers(-1, 2, tuple(weight.shape)))))
    batch = Batch(*(torch.from_numpy(rng.integers(0, n, shape)) for n, shape in ((300, 700), (n_items, 700), (n_items, (700, 4)))))
    loss = network.loss(batch, 0.01, Runtime(threads=2).executor, apart=apart)
    loss.backward()
    mine = [weight.grad.clone() for weight in network.parameters()]
    network.zero_grad()
    expected = network.derived(batch.users, torch.cat([batch.items[:, None], batch.negatives], dim=1), 0.01, apart=apart)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=2e-3)
    for found, weight in zip(mine, network.parameters(), strict=True):
        tolerance = 1e-5 if method.name == "gmf" else 0.01
        assert float((found - weight.grad).norm()) <= tolerance * float(weight.grad.norm())


def test_parts_are_joined_by_alpha() -> None:
    network = Network(NEUMF, (20, 30), np.random.default_rng(0))
    users, rows = torch.arange(20), torch.arange(20)[:, None]
    (products, _), (layers, _) = network._gmf(users, rows), network._mlp(users, rows)
    network.join(0.3)
    joined = network._gmf(users, rows)[0] + network._mlp(users, rows)[0]
    torch.testing.assert_close(joined, 0.3 * products + 0.7 * layers)


def test_a_model_scores_as_its_network_does(sample: rv.Dataset, model: PairModel) -> None:
    assert model.user_vectors.shape == (sample.n_users, 12)
    queries, items, layers = model.user_vectors[:5], model.item_vectors, model.scorer.arrays()
    pairs = np.concatenate([np.repeat(queries[:, None, 8:], len(items), axis=1), np.repeat(items[None, :, 8:], 5, axis=0)], axis=2)
    hidden = np.maximum(pairs @ layers["weight.0"].T + layers["bias.0"], 0)
    hidden = np.maximum(hidden @ layers["weight.1"].T + layers["bias.1"], 0)
    expected = hidden @ layers["out"] + layers["bias"] + queries[:, :8] @ items[:, :8].T
    np.testing.assert_allclose(model.scores(queries), expected, rtol=1e-4, atol=1e-5)
    users, things = np.arange(5), np.array([3, 1, 4, 1, 5])
    np.testing.assert_allclose(model.predict(users, things), 1 / (1 + np.exp(-expected[users, things])), rtol=1e-4)


def test_candidates_are_scored_exactly_and_most_of_the_exact_list(model: PairModel) -> None:
    some = PairModel(vectors=model.vectors, scorer=model.scorer, n_candidates=100, n_drawing=8, likelihood=True)
    queries = model.queries(np.arange(50))
    exact, drawn = model.recommend(queries, 10), some.recommend(queries, 10)
    scores = model.scores(queries)
    np.testing.assert_allclose(drawn.scores, np.take_along_axis(scores, drawn.rows.astype(np.int64), axis=1), rtol=1e-4, atol=1e-5)
    assert (exact.rows[:, :, None] == drawn.rows[:, None, :]).any(axis=2).mean() > 0.5
    everything = PairModel(vectors=model.vectors, scorer=model.scorer, n_candidates=600, n_drawing=8)
    assert np.array_equal(everything.recommend(queries, 10).rows, exact.rows)


def test_plain_pairs_of_ids_are_all_that_is_needed() -> None:
    pairs = pl.DataFrame(
        [(f"user {u}", f"item {i}") for u in range(12) for i in range(12) if (u - i) % 3 == 0], schema=["user_id", "item_id"], orient="row"
    )
    for method in (rv.GMF(**SMALL), rv.MLP(**SMALL, hidden="8"), NEUMF):
        who = rv.Recommender(method.fit(rv.read(pairs)), rv.read(pairs))
        assert who.recommend(["user 1"], k=3)["item_id"].n_unique() == 3


def test_gmf_is_a_dot_product_whose_predictions_are_likelihoods(sample: rv.Dataset) -> None:
    model = rv.GMF(**SMALL).fit(sample)
    assert isinstance(model, DotModel)
    scores = model.scores(model.queries(np.arange(5)))[np.arange(5), np.arange(5)] + np.float32(model.offset)
    np.testing.assert_allclose(model.predict(np.arange(5), np.arange(5)), 1 / (1 + np.exp(-scores)), rtol=1e-5)


def test_what_is_loaded_without_torch(sample: rv.Dataset, model: PairModel, tmp_path: Path) -> None:
    rv.save(rv.Recommender(model, sample, rungs={}), tmp_path / "neumf")
    rv.save(rv.Recommender(rv.GMF(**SMALL).fit(sample), sample, rungs={}), tmp_path / "gmf")
    code = (
        "import sys; sys.modules['torch'] = None; import recvec as rv; who = rv.load('gmf'); "
        "print(len(who.recommend(['u1'], k=5)), len(who.recommend_for(history=['i1', 'i2'], k=5)))\n"
        "try: rv.load('neumf')\nexcept rv.RecvecError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "5 5",
        "neumf needs PyTorch, which is not installed; install it with: pip install 'recvec[torch]'",
    ]


@pytest.mark.parametrize("text", ["", "16,", "16,0", "a", "16;8"])
def test_widths_are_whole_numbers(text: str) -> None:
    with pytest.raises(HyperparameterError, match=r"mlp: hidden is '.*'; allowed: whole numbers from 1 to 65536, such as 128,64"):
        rv.MLP(hidden=text)
    assert whole_numbers(rv.MLP(hidden=" 16, 8"), "hidden") == (16, 8)


def test_a_diverging_rate_is_said(sample: rv.Dataset) -> None:
    fast = rv.NeuMF(**SMALL, mlp_embedding_dim=4, hidden="16,8", pretrain_share=0.5, joint_rate=1000.0).fit(sample)
    assert any("diverged in epoch" in note for note in fast.notes)
    assert np.isfinite(fast.user_vectors).all()


def test_new_users_are_described_by_their_history(model: PairModel, sample: rv.Dataset) -> None:
    histories = sample.histories()
    folded, stored = model.queries(histories=histories), model.user_vectors
    assert np.corrcoef(folded.ravel(), stored.ravel())[0, 1] > 0.5
    nobody = model.queries(histories=Histories.empty(1, model.n_items))
    np.testing.assert_allclose(nobody[0], stored.mean(axis=0), atol=1e-5)

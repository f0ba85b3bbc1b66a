"""ConvNCF: it starts as the dot product, is what its formula says, and scores as its network does."""

import numpy as np
import pytest
import torch

import recvec as rv
from recvec.errors import HyperparameterError
from recvec.models.conv_ncf_network import Convolutions, Scorer

METHOD = rv.ConvNCF(embedding_dim=8, channels=5)


def drawn(n: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    return tuple(torch.from_numpy(rng.standard_normal((n, 8), dtype=np.float32)) for _ in range(2))  # type: ignore[return-value]


def network() -> Convolutions:
    """With weights that are all in use."""
    found = Convolutions(METHOD, np.random.default_rng(0))
    rng = np.random.default_rng(2)
    with torch.no_grad():
        for weight in found.parameters():
            weight.copy_(torch.from_numpy(rng.standard_normal(tuple(weight.shape))))
    return found


def test_it_starts_as_the_dot_product() -> None:
    p, q = drawn()
    torch.testing.assert_close(Convolutions(METHOD, np.random.default_rng(0))(p, q), (p * q).sum(dim=1))


def test_it_is_a_stack_of_convolutions_over_the_outer_product() -> None:
    p, q = drawn()
    mine = network()
    values = (q[:, :, None] * p[:, None, :])[:, None]  # (n, 1, d, d), the item's axis first
    for layer in mine.layers:
        kernel = layer.weight.reshape(len(layer.weight), 2, 2, -1).permute(0, 3, 1, 2)
        values = torch.relu(torch.nn.functional.conv2d(values, kernel, layer.bias, stride=2))
    torch.testing.assert_close(mine(p, q), mine.out(values[:, :, 0, 0])[:, 0], rtol=1e-4, atol=1e-4)


def test_a_model_scores_as_its_network_does() -> None:
    mine = network()
    layers = {f"{name}.{n}": getattr(layer, name).detach().numpy() for n, layer in enumerate(mine.layers) for name in ("weight", "bias")}
    scorer = Scorer({**layers, "out": mine.out.weight.detach().numpy()[0]})
    p, q = (rows.numpy() for rows in drawn())
    expected = mine(*drawn()).detach().numpy()
    np.testing.assert_allclose(scorer.pairs(p, q), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.diagonal(scorer(p, q)), expected, rtol=1e-4, atol=1e-4)


def test_the_length_is_a_power_of_two() -> None:
    with pytest.raises(HyperparameterError, match="conv-ncf: embedding_dim is 24; allowed: a power of two, such as 32 or 64"):
        rv.ConvNCF(embedding_dim=24)

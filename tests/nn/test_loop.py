"""The training loop: schedules, divergence, stopping, and a resume that gives the same bits."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from recvec.contract import Runtime, State, Training
from recvec.errors import DivergedError, ResourceError
from recvec.nn.device import chosen, computing, generator
from recvec.nn.layers import linear, table
from recvec.nn.loop import Plan, train


class Factors(nn.Module):
    def __init__(self, rng: np.random.Generator, *, sparse: bool) -> None:
        super().__init__()
        self.rows, self.out = table(50, 4, rng, deviation=0.1, sparse=sparse), linear(4, 1, rng)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.out(self.rows(rows))[:, 0]


def run(plan: Plan, *, sparse: bool = False, stop: Any = None, **hooks: Any) -> tuple[Factors, Training, tuple[str, ...]]:
    rng = np.random.default_rng(0)
    training = Training(rng=rng, runtime=Runtime(threads=1), identity={"method": "toy"}, **hooks)
    network = Factors(rng, sparse=sparse)

    def batches() -> list[torch.Tensor]:
        return [torch.from_numpy(rng.integers(0, 50, 16)) for _ in range(5)]

    notes = train(
        network, batches, lambda rows: (network(rows) - (rows % 3).float()).square().mean(), plan, training,
        name="toy", vectors=lambda: (network.rows.weight.detach().numpy(), np.zeros((1, 4), np.float32)), stop=stop,
    )  # fmt: skip
    return network, training, notes


def bits(network: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in network.parameters()]


def test_the_loss_falls() -> None:
    _, training, notes = run(Plan(epochs=30, learning_rate=0.05))
    assert training.curve[-1]["loss"] < 0.3 * training.curve[0]["loss"]
    assert notes == ()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_killed_and_resumed_gives_the_same_bits(optimizer: Any, sparse: bool) -> None:
    plan = Plan(epochs=6, learning_rate=0.05, optimizer=optimizer, schedule="cosine", warm_up=3, clip=0 if sparse else 1)
    kept: list[State] = []

    def stop_after_two(state: State) -> None:
        kept.append(state)
        if len(kept) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, sparse=sparse, checkpoint=stop_after_two)
    whole, resumed = run(plan, sparse=sparse), run(plan, sparse=sparse, resume=kept[-1])
    assert all(np.array_equal(a, b) for a, b in zip(bits(whole[0]), bits(resumed[0]), strict=True))
    assert whole[1].curve == resumed[1].curve


def test_a_diverging_rate_keeps_the_last_good_epoch() -> None:
    plan = Plan(epochs=10, learning_rate=1.0, optimizer="sgd")
    network, training, notes = run(Plan(epochs=10, learning_rate=3.0, optimizer="sgd"))
    assert len(notes) == 1
    assert "lower learning_rate (it is 3)" in notes[0]
    assert all(np.isfinite(p).all() for p in bits(network))
    assert 0 < len(training.curve) < plan.epochs
    with pytest.raises(DivergedError, match=r"toy left the finite numbers in epoch 1; lower learning_rate \(it is 1e\+30\)"):
        run(Plan(epochs=10, learning_rate=1e30, optimizer="sgd"))


def test_stop_ends_training() -> None:
    _, training, _ = run(Plan(epochs=30, learning_rate=0.05), stop=lambda epoch: epoch == 4)
    assert [point["epoch"] for point in training.curve] == [1, 2, 3, 4]


def test_rates_rise_and_fall() -> None:
    plan = Plan(epochs=1, learning_rate=2.0, schedule="linear", warm_up=3)
    assert [plan.rate(p, s) for p, s in ((0.0, 0), (0.25, 1), (0.5, 100), (1.0, 200))] == [0.5, 0.75, 1.0, 0.0]
    assert Plan(epochs=1, learning_rate=2.0, schedule="cosine").rate(0.5, 9) == pytest.approx(1.0)


def test_threads_and_random_numbers_of_torch_are_left_alone() -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    with computing(Runtime(threads=1)) as device:
        assert torch.get_num_threads() == 1
        torch.rand(3, generator=generator(np.random.default_rng(0), device))
        run(Plan(epochs=1, learning_rate=0.1))
    assert torch.get_num_threads() == threads
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_device_that_is_not_there_is_refused() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ResourceError, match="device is 'cuda', which torch does not find here; allowed: cpu"):
            chosen("cuda")

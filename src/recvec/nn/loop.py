"""The one training loop: steps, schedule, clipping, divergence, early stopping, checkpoints and exact resume.

A method gives a network, the batches of an epoch and the loss of a batch; everything that accompanies a fit is here. The state
of a checkpoint holds the network, the optimizer and the random numbers, so that a fit that was killed goes on to the same bits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from recvec.contract import Training
from recvec.errors import DivergedError
from recvec.types import F32, Array

Batch = TypeVar("Batch")
Dealt_co = TypeVar("Dealt_co", covariant=True)


class Batches(Protocol[Dealt_co]):
    """The batches of one epoch: how many, and each in turn."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Dealt_co]: ...


WORSE = 10.0  # an epoch whose loss is so many times that of the first has diverged, though its numbers are finite


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a network is trained.

    Parameters
    ----------
    epochs : int
        Passes over the batches.
    learning_rate : float
        At the beginning.
    optimizer : str
        ``"adam"`` or ``"sgd"``. Tables made with ``sparse=True`` are moved only in the rows that a batch touches.
    betas : (float, float)
        Of Adam.
    weight_decay : float
        L2 penalty, added to the gradient; not of sparse tables.
    schedule : str
        ``"constant"``, or ``"linear"`` or ``"cosine"`` to zero at the end of the last epoch.
    warm_up : int
        Steps over which the learning rate rises.
    clip : float
        Largest norm of a gradient; 0 does not clip.
    """

    epochs: int
    learning_rate: float
    optimizer: Literal["adam", "sgd"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warm_up: int = 0
    clip: float = 0.0

    def rate(self, progress: float, step: int) -> float:
        """Return the learning rate where a share `progress` of all is done, `step` steps from the start."""
        fade = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + np.cos(np.pi * progress))}[self.schedule]
        return self.learning_rate * fade * min(1.0, (step + 1) / (self.warm_up + 1))


def train(
    network: nn.Module,
    batches: Callable[[], Batches[Batch]],
    loss: Callable[[Batch], Tensor],
    plan: Plan,
    training: Training,
    *,
    name: str,
    vectors: Callable[[], tuple[F32, F32]],
    keep: Mapping[str, Array] | None = None,
    stop: Callable[[int], bool] | None = None,
    after: int = 0,
) -> tuple[str, ...]:
    """Train the network in place.

    Parameters
    ----------
    network : nn.Module
        Its parameters are moved.
    batches : callable
        Deals the batches of one epoch, by ``training.rng`` alone.
    loss : callable
        Returns the mean loss of a batch, a scalar.
    plan : Plan
        How.
    training : Training
        Hooks, random numbers, and where to go on.
    name : str
        Method, for messages.
    vectors : callable
        Returns user and item vectors as the model will have them; called where somebody watches.
    keep : mapping of str to array, optional
        What checkpoints hold beside.
    stop : callable, optional
        Called with the number of each finished epoch; training ends where it returns true.
    after : int
        Epochs of an earlier phase of the same fit, from which the numbers go on; the optimizer and the schedule begin anew.

    Returns
    -------
    tuple of str
        Notes for the model: that training diverged and which epoch it is of; empty where all went well.

    Raises
    ------
    DivergedError
        Where the first epoch already left the finite numbers.
    """
    walker = _Walker(network, plan)
    done, arrays = training.restore()
    if done:
        walker.load(arrays)
    done, last = max(done, after), after + plan.epochs
    good, number, first = walker.arrays(), done, training.curve[after]["loss"] if done > after else float("nan")
    for number in range(done + 1, last + 1):
        mean = walker.epoch(batches(), loss, number - after)
        first = mean if number == after + 1 else first
        if not walker.finite() or not np.isfinite(mean) or mean > WORSE * max(first, 0.0) > 0:
            return _diverged(name, plan, (number, last), walker, good)
        good = walker.arrays()
        watched = training.monitor is not None or training.checkpoint is not None
        users, items = vectors() if watched else (_NOTHING, _NOTHING)
        training.end_epoch(number, users, items, arrays={**good, **(keep or {})}, loss=mean)
        if stop is not None and stop(number):
            break
    return ()


_NOTHING = np.empty((0, 0), np.float32)


def _diverged(name: str, plan: Plan, where: tuple[int, int], walker: "_Walker", good: Mapping[str, Array]) -> tuple[str, ...]:
    """Go back to the end of the last good epoch, and say so."""
    number, last = where
    advice = f"lower learning_rate (it is {plan.learning_rate:g})"
    if number == 1:
        raise DivergedError(f"{name} left the finite numbers in epoch 1; {advice}")
    walker.load(good)
    return (f"{name} diverged in epoch {number} of {last}: this is the model of epoch {number - 1}; {advice}",)


class _Walker:
    """A network and the optimizers that move it; its arrays are all that a resumed fit needs."""

    def __init__(self, network: nn.Module, plan: Plan) -> None:
        self.network, self.plan = network, plan
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        tables = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.sparse}
        whole = [p for p in self.parameters if id(p) not in tables]
        rows = [p for p in self.parameters if id(p) in tables]
        self.optimizers: list[torch.optim.Optimizer] = []
        if plan.optimizer == "sgd":
            self._add(torch.optim.SGD, whole, weight_decay=plan.weight_decay)
            self._add(torch.optim.SGD, rows)
        else:
            self._add(torch.optim.Adam, whole, weight_decay=plan.weight_decay, betas=plan.betas, fused=True)
            self._add(torch.optim.SparseAdam, rows, betas=plan.betas)

    def _add(self, kind: Any, parameters: list[nn.Parameter], **settings: Any) -> None:
        if parameters:
            self.optimizers.append(kind(parameters, lr=self.plan.learning_rate, **settings))

    def epoch(self, batches: Batches[Batch], loss: Callable[[Batch], Tensor], number: int) -> float:
        """Take the steps of one epoch and return the mean loss."""
        n, total = len(batches), torch.zeros((), dtype=torch.float64)
        for at, batch in enumerate(batches):
            step = (number - 1) * n + at
            self._set_rate(self.plan.rate(step / (self.plan.epochs * n), step))
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            value = loss(batch)
            value.backward()  # type: ignore[no-untyped-call]
            if self.plan.clip:
                nn.utils.clip_grad_norm_(self.parameters, self.plan.clip)
            for optimizer in self.optimizers:
                optimizer.step()
            total += value.detach().cpu()
        return float(total) / max(n, 1)

    def _set_rate(self, rate: float) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def finite(self) -> bool:
        """Return whether all parameters are finite numbers."""
        return all(bool(torch.isfinite(p).all()) for p in self.parameters)

    def arrays(self) -> dict[str, Array]:
        """Return a copy of the network and of the optimizers' memory."""
        found = {f"network.{key}": value for key, value in self.network.state_dict().items()}
        for n, optimizer in enumerate(self.optimizers):
            for row, memory in optimizer.state_dict()["state"].items():
                found |= {f"optimizer.{n}.{row}.{key}": value for key, value in memory.items() if value is not None}
        return {key: _array(value) for key, value in found.items()}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Go on from such arrays."""
        network = {k.removeprefix("network."): torch.from_numpy(v.copy()) for k, v in arrays.items() if k.startswith("network.")}
        self.network.load_state_dict(network)
        for n, optimizer in enumerate(self.optimizers):
            memory: dict[int, dict[str, Any]] = {}
            for key, value in arrays.items():
                if key.startswith(f"optimizer.{n}."):
                    _, _, row, word = key.split(".", 3)
                    memory.setdefault(int(row), {})[word] = int(value) if value.dtype == np.int64 else torch.from_numpy(value.copy())
            optimizer.load_state_dict({**optimizer.state_dict(), "state": memory})


def _array(value: Any) -> Array:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy().copy()
    return np.asarray(value)

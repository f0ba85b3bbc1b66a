"""The first layer over pairs of a user and several items, with its gradient: compiled on the cpu, whole arrays elsewhere."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from recvec.kernels import pair_layers
from recvec.types import Executor


@dataclass(frozen=True, eq=False)
class Slots:
    """The items of B users.

    Parameters
    ----------
    rows : Tensor of int64, shape (B, width)
        Item rows.
    n_items : int
        Rows of the table that they point into.
    executor : Executor
        Runs the blocks on the cpu.
    """

    rows: Tensor
    n_items: int
    executor: Executor

    @cached_property
    def grouped(self) -> pair_layers.Slots:
        """The slots by item."""
        return pair_layers.Slots.of(self.rows.numpy(), self.n_items)

    @cached_property
    def counts(self) -> Tensor:
        """How many slots each item has, float32, shape (n_items,)."""
        if self.rows.device.type != "cpu":
            return torch.bincount(self.rows.ravel(), minlength=self.n_items).float()
        starts = torch.from_numpy(self.grouped.starts)
        return (starts[1:] - starts[:-1]).float()

    def narrowed(self) -> tuple[Tensor, "Slots"]:
        """Return the items that occur, ascending, shape (n,), and the slots as places in them."""
        found, places = torch.unique(self.rows, return_inverse=True)
        return found, Slots(places, len(found), self.executor)


def dots(users: Tensor, items: Tensor, slots: Slots) -> Tensor:
    """Return the dot product of users (B, d) and items (n_items, d) in each slot, shape (B, width)."""
    if users.device.type == "cpu":
        return _Dots.apply(users, items, slots)  # type: ignore[no-any-return, no-untyped-call]
    return (users[:, None] * items[slots.rows]).sum(dim=2)


def joined(users: Tensor, items: Tensor, slots: Slots) -> Tensor:
    """Return ``max(0, users + items)`` in each slot, shape (B, width, d)."""
    if users.device.type == "cpu":
        return _Joined.apply(users, items, slots)  # type: ignore[no-any-return, no-untyped-call]
    return torch.relu(users[:, None] + items[slots.rows])


class _Dots(Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, slots: Slots) -> Tensor:
        ctx.save_for_backward(users, items)
        ctx.slots = slots
        return torch.from_numpy(pair_layers.dots(_rows(users), _rows(items), slots.grouped, slots.executor))

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        users, items = ctx.saved_tensors
        slots = ctx.slots
        found = pair_layers.dots_gradient(_rows(slopes), _rows(users), _rows(items), slots.grouped, slots.executor)
        return torch.from_numpy(found[0]), torch.from_numpy(found[1]), None


class _Joined(Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, slots: Slots) -> Tensor:
        out = torch.from_numpy(pair_layers.joined(_rows(users), _rows(items), slots.grouped, slots.executor))
        ctx.save_for_backward(out)
        ctx.slots = slots
        return out

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        (out,), slots = ctx.saved_tensors, ctx.slots
        found = pair_layers.joined_gradient(_rows(slopes), out.numpy(), slots.n_items, slots.grouped, slots.executor)
        return torch.from_numpy(found[0]), torch.from_numpy(found[1]), None


def _rows(values: Tensor) -> Any:
    return values.detach().contiguous().numpy()

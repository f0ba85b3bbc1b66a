"""The loss of a batch of `gmf`, `mlp` or `neumf` and its gradient, written out for the cpu.

What automatic differentiation would do, a block of users at a time: between the first layer and the loss a block stays in the cache,
and partial sums are added up in order, so that the bits are the same for any number of threads. Products of the dense layers take
bfloat16 numbers and add them up in float32. `models.ncf_network` has the same network for automatic differentiation, on other
devices; tests/models/test_ncf.py compares both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from recvec.kernels import pair_layers
from recvec.kernels.blocks import even_blocks
from recvec.kernels.pair_layers import Slots, rounded, widened
from recvec.nn.half import product
from recvec.types import F32, F64, I64, U16, Array, Executor

USERS, ITEMS = 1024, 1024  # of a block


class GMF(NamedTuple):
    """Weights of the products, or their gradients: vectors of both sides (n, d), the weights (d,), the bias ()."""

    users: F32
    items: F32
    mix: F32
    bias: F32


class MLP(NamedTuple):
    """Weights of the layers, or their gradients: vectors of both sides (n, m), layers as (out, in) and (out,), users first."""

    users: F32
    items: F32
    layers: Sequence[tuple[F32, F32]]  # the last one gives the logit


@dataclass(frozen=True, eq=False)
class Step:
    """One batch.

    Parameters
    ----------
    gmf, mlp : weights
        Either may be missing.
    users : I64, shape (B,)
    rows : I64, shape (B, width)
        The positive item, then the negatives.
    reg : float
        Of the mean square of the vectors; those of `gmf` as they are after `Network.vectors`.
    apart : bool
        The loss is the mean of the losses of both parts, not the loss of their sum.
    executor : Executor
    workspace : Workspace
        Of the fit.
    """

    gmf: GMF | None
    mlp: MLP | None
    users: I64
    rows: I64
    reg: float
    apart: bool
    executor: Executor
    workspace: "Workspace"

    @np.errstate(all="ignore")  # numbers that are no longer finite are found after the epoch, see `nn.loop`
    def gradient(self) -> tuple[float, GMF | None, MLP | None]:
        """Return the loss and the gradients of the weights."""
        n_items = len((self.gmf or self.mlp).items)  # type: ignore[union-attr]
        found, rows = (None, self.rows) if self.rows.size >= n_items else np.unique(self.rows, return_inverse=True)
        slots = Slots.of(rows.reshape(self.rows.shape), n_items if found is None else len(found))
        gmf_items = None if self.gmf is None else _some(self.gmf.items, found)
        mlp_items = None if self.mlp is None else _some(self.mlp.items, found)
        theirs = None if self.mlp is None or mlp_items is None else self._items_half(self.mlp, mlp_items)
        if self.mlp is not None:
            self._slopes(slice(0, 0))  # before threads ask for it
        block = partial(self._block, slots.rows, gmf_items, theirs)
        parts = self.executor.map(block, even_blocks(len(self.users), USERS))
        loss = sum(part.loss for part in parts) / self.rows.size
        gmf, mlp = None, None
        if self.gmf is not None and gmf_items is not None:
            square, gmf = self._gmf(self.gmf, gmf_items, found, slots, [part.gmf for part in parts if part.gmf])
            loss += square
        if self.mlp is not None and mlp_items is not None:
            square, mlp = self._mlp(self.mlp, mlp_items, found, slots, [part.mlp for part in parts if part.mlp])
            loss += square
        return loss, gmf, mlp

    @property
    def _share(self) -> float:
        """What the loss of a part counts where parts are trained apart."""
        return 0.5 if self.apart and self.gmf is not None and self.mlp is not None else 1.0

    @property
    def _scale(self) -> float:
        return self.reg * self._share

    def _slopes(self, at: slice) -> U16:
        """Return where the gradient of the results of the first layer of a block of users lies, (slots, h)."""
        assert self.mlp is not None  # noqa: S101  who asks has one
        width, h = self.rows.shape[1], len(self.mlp.layers[0][0])
        return self.workspace.take("slopes", (self.rows.size, h), np.uint16)[at.start * width : at.stop * width]

    def _items_half(self, mlp: MLP, items: F32) -> U16:
        """Return the items' half of the first layer, (n, h)."""
        half, h = rounded(mlp.layers[0][0][:, mlp.users.shape[1] :].T), len(mlp.layers[0][0])
        out = self.workspace.take("theirs", (len(items), h), np.uint16)
        self.executor.map(lambda at: product(rounded(items[at]), half, out[at]), even_blocks(len(items), ITEMS))
        return out

    @np.errstate(all="ignore")  # threads do not know of the one above
    def _block(self, rows: I64, gmf_items: F32 | None, theirs: U16 | None, at: slice) -> "_Block":
        """Return loss and gradients of a block of users."""
        mine, own, n = self.users[at], rows[at], self.rows.size
        products = None if self.gmf is None or gmf_items is None else _Products(self.gmf, gmf_items, mine, own)
        tower = None if self.mlp is None or theirs is None else _Tower(self.mlp, theirs, mine, own, self._slopes(at))
        there = [part for part in (products, tower) if part is not None]
        if self.apart and len(there) > 1:
            losses, slopes = zip(*(pair_layers.logistic(part.logits, 2 * n) for part in there), strict=True)
            loss = sum(losses) / 2
        else:
            loss, slope = pair_layers.logistic(np.sum([part.logits for part in there], axis=0, dtype=np.float32), n)
            slopes = (slope,) * len(there)
        decay = self._scale / len(self.users)
        of_gmf = None if products is None else products.gradient(slopes[0], decay)
        return _Block(loss, of_gmf, None if tower is None else tower.gradient(slopes[-1], decay))

    def _gmf(self, gmf: GMF, items: F32, found: I64 | None, slots: Slots, parts: "list[_OfProducts]") -> tuple[float, GMF]:
        slopes, weighted, of_users = (np.concatenate([getattr(p, name) for p in parts]) for name in ("slopes", "weighted", "users"))
        of_items = pair_layers.dots_for_items(slopes, weighted, slots, self.executor)
        size = np.abs(gmf.mix)
        squares = self._penalty(items, of_items, slots, size) + sum(part.squares for part in parts)
        mix = np.sum([part.mix for part in parts], axis=0, dtype=np.float32) + np.sign(gmf.mix) * squares.astype(np.float32)
        users = pair_layers.summed(of_users, self.users, len(gmf.users))
        return float(squares @ size), GMF(users, _all(of_items, found, len(gmf.items)), mix, np.array(slopes.sum(dtype=np.float32)))

    def _mlp(self, mlp: MLP, items: F32, found: I64 | None, slots: Slots, parts: "list[_OfTower]") -> tuple[float, MLP]:
        first, m = mlp.layers[0][0], mlp.users.shape[1]
        theirs = pair_layers.joined_for_items(self._slopes(slice(0, len(self.rows))), slots, self.executor)  # (n, h)
        half, of_items = rounded(first[:, m:]), np.empty_like(items)

        def back(at: slice) -> F32:
            slopes = rounded(theirs[at])
            widened(product(slopes, half), of_items[at])
            return widened(product(slopes.T, rounded(items[at])))

        of_half = np.sum(self.executor.map(back, even_blocks(len(items), ITEMS)), axis=0, dtype=np.float32)
        of_users = np.concatenate([part.users for part in parts])
        squares = self._penalty(items, of_items, slots, np.ones(m, np.float32)) + sum(part.squares for part in parts)
        layers = [
            (np.sum(weights, axis=0), np.sum(biases, axis=0))
            for weights, biases in (zip(*layer, strict=True) for layer in zip(*(part.layers for part in parts), strict=True))
        ]
        layers[0] = (np.concatenate([layers[0][0], of_half], axis=1), layers[0][1])
        users = pair_layers.summed(of_users, self.users, len(mlp.users))
        return float(squares.sum()), MLP(users, _all(of_items, found, len(mlp.items)), layers)

    def _penalty(self, items: F32, of_items: F32, slots: Slots, columns: F32) -> F64:
        """Return the penalty of each column of the item vectors, its weight left out, and add the gradient of the whole."""
        return pair_layers.decayed(of_items, items, (slots.counts * (self._scale / slots.rows.size)).astype(np.float32), columns)


def _some(table: F32, found: I64 | None) -> F32:
    return table if found is None else table[found]


def _all(rows: F32, found: I64 | None, n: int) -> F32:
    if found is None:
        return rows
    out = np.zeros((n, rows.shape[1]), np.float32)
    out[found] = rows
    return out


def _decayed(slopes: F32, vectors: F32, weight: float, columns: F32) -> F64:
    return pair_layers.decayed(slopes, vectors, np.full(len(vectors), weight, np.float32), columns)


class Workspace:
    """Large arrays of a step, kept for the next: to ask the system for their pages anew would take a third of the time."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def take(self, name: str, shape: tuple[int, int], dtype: Any) -> Array:
        """Return an array with undefined numbers, which is the same each time."""
        if name not in self._kept or len(self._kept[name]) < shape[0]:
            self._kept[name] = np.empty(shape, dtype)
        return self._kept[name][: shape[0]]


class _OfProducts(NamedTuple):
    slopes: F32
    weighted: F32
    users: F32
    mix: F32
    squares: F64  # penalty of each column of the users


class _OfTower(NamedTuple):
    users: F32
    layers: list[tuple[F32, F32]]  # of the first one the users' half
    squares: F64


class _Block(NamedTuple):
    loss: float
    gmf: _OfProducts | None
    mlp: _OfTower | None


class _Products:
    """``mix . (p * q) + bias`` for a block of users."""

    def __init__(self, gmf: GMF, items: F32, users: I64, rows: I64) -> None:
        self.own, self.gmf, self.items, self.rows = gmf.users[users], gmf, items, rows
        self.weighted = self.own * gmf.mix
        self.logits = pair_layers.dots(self.weighted, items, rows) + gmf.bias

    def gradient(self, slopes: F32, decay: float) -> _OfProducts:
        found = pair_layers.dots_for_users(slopes, self.items, self.rows)
        mix, of_users = np.einsum("bd,bd->d", found, self.own), found * self.gmf.mix
        return _OfProducts(slopes, self.weighted, of_users, mix, _decayed(of_users, self.own, decay, np.abs(self.gmf.mix)))


class _Tower:
    """The dense layers for a block of users."""

    def __init__(self, mlp: MLP, theirs: U16, users: I64, rows: I64, of_hidden: U16) -> None:
        self.own, self.mlp, self.of_hidden = mlp.users[users], mlp, of_hidden
        first, bias = mlp.layers[0]
        self.first, self.rounded = rounded(first[:, : self.own.shape[1]]), rounded(self.own)
        half = widened(product(self.rounded, self.first.T)) + bias
        self.values = [pair_layers.joined(half, theirs, rows, np.empty_like(of_hidden))]  # (slots, h)
        for weight, bias in mlp.layers[1:-1]:
            self.values.append(pair_layers.bent(product(self.values[-1], rounded(weight).T), bias))
        weight, bias = mlp.layers[-1]
        self.logits = (pair_layers.finished(self.values[-1], weight[0]) + bias).reshape(rows.shape)

    def gradient(self, slopes: F32, decay: float) -> _OfTower:
        flat, of_weight = pair_layers.finished_gradient(slopes.ravel(), self.values[-1], self.mlp.layers[-1][0][0])
        layers = [(of_weight[None], slopes.sum(keepdims=True)[0])]
        for n in range(len(self.values) - 1, 0, -1):
            bias = pair_layers.passed(flat, self.values[n])
            layers.append((widened(product(flat.T, self.values[n - 1])), bias))
            flat = product(flat, rounded(self.mlp.layers[n][0]), self.of_hidden if n == 1 else None)
        if len(self.values) == 1:
            self.of_hidden[:] = flat
        of_half = pair_layers.joined_for_users(self.of_hidden, self.values[0], len(self.own))
        half = rounded(of_half)
        layers.append((widened(product(half.T, self.rounded)), of_half.sum(axis=0)))
        of_users = widened(product(half, self.first))
        return _OfTower(of_users, layers[::-1], _decayed(of_users, self.own, decay, np.ones(self.own.shape[1], np.float32)))

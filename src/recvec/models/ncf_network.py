"""The networks of `gmf`, `mlp` and `neumf`: training, and the scores of a trained one. Needs torch.

A batch has B users with 1 + n_negatives items each: its slots. The first dense layer is the sum of a user's half, computed once a
user, and an item's half, computed once an item; so a slot costs an addition there. On the cpu the gradient is written out
(`models.ncf_gradient`), elsewhere it is that of automatic differentiation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from recvec.contract import Training
from recvec.models.ncf import batch_of
from recvec.models.ncf_gradient import GMF, MLP, Step, Workspace
from recvec.nn import losses
from recvec.nn.batches import Batch, Pairs
from recvec.nn.device import computing
from recvec.nn.layers import linear, mlp
from recvec.nn.loop import Plan, train
from recvec.types import F32, Array, Executor

DEVIATION = 0.01  # of the first vectors (He et al. 2017)
ITEMS_AT_ONCE = 4096  # whose layers are held in memory


class Network(nn.Module):
    """Both parts, each with vectors of its own; a part of length 0 is left out.

    The likelihood of an interaction is ``sigmoid(mix . (p * q) + gmf_bias + out(layers(p' , q')))``: one dense layer over the
    results of both (He et al. 2017, equation 12), whose weights `mix` and `out` stand apart, so that the parts can be trained apart.
    """

    def __init__(self, method: Any, shape: tuple[int, int], rng: np.random.Generator) -> None:
        super().__init__()
        d, m, widths = method.gmf_dim, method.mlp_dim, method.widths
        self.n_items = shape[1]
        if d:
            self.gmf_users, self.gmf_items = (_drawn(n, d, rng) for n in shape)
            self.mix, self.gmf_bias = nn.Parameter(torch.ones(d)), nn.Parameter(torch.zeros(()))
        if m:
            self.mlp_users, self.mlp_items = (_drawn(n, m, rng) for n in shape)
            self.first = linear(2 * m, widths[0], rng)  # users first, then items
            self.rest, self.out = mlp(widths, rng), linear(widths[-1], 1, rng)
        self.workspace = Workspace()
        self.has_gmf, self.has_mlp = bool(d), bool(m)

    def loss(self, batch: Batch, reg: float, executor: Executor, *, apart: bool) -> Tensor:
        """Return the logistic loss with the penalty; `apart`: the mean of the losses of both parts."""
        rows = torch.cat([batch.items[:, None], batch.negatives], dim=1)
        if rows.device.type == "cpu":
            names, weights = zip(*self.named_parameters(), strict=True)
            return _Written.apply(names, (batch.users.numpy(), rows.numpy(), reg, apart, executor, self.workspace), *weights)  # type: ignore[no-untyped-call]
        return self.derived(batch.users, rows, reg, apart=apart)

    def derived(self, users: Tensor, rows: Tensor, reg: float, *, apart: bool) -> Tensor:
        """Return the same loss, of items in rows (B, width), for automatic differentiation."""
        parts = [part(users, rows) for part, there in ((self._gmf, self.has_gmf), (self._mlp, self.has_mlp)) if there]
        logits, squares = zip(*parts, strict=True)
        if not apart:
            return _logistic(sum(logits)) + reg * sum(squares)
        return sum(_logistic(values) for values in logits) / len(logits) + reg * sum(squares) / len(squares)

    def _gmf(self, users: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (B, width) of the products, and the mean square of the vectors."""
        p, q = self.gmf_users[users], self.gmf_items[rows]  # (B, d), (B, width, d)
        return ((p * self.mix)[:, None] * q).sum(dim=2) + self.gmf_bias, _squares(p, q, self.mix.abs())

    def _mlp(self, users: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (B, width) of the dense layers, and the mean square of the vectors."""
        p, q = self.mlp_users[users], self.mlp_items[rows]
        m = p.shape[1]
        mine = functional.linear(p, self.first.weight[:, :m], self.first.bias)  # (B, h)
        theirs = functional.linear(q, self.first.weight[:, m:])  # (B, width, h)
        return self.out(self.rest(torch.relu(mine[:, None] + theirs)))[:, :, 0], _squares(p, q, torch.ones(m, device=p.device))

    def join(self, alpha: float) -> None:
        """Weigh parts that were trained apart, `alpha` for the products (He et al. 2017, equation 13)."""
        with torch.no_grad():
            for weight in (self.mix, self.gmf_bias):
                weight.mul_(alpha)
            for weight in self.out.parameters():
                weight.mul_(1 - alpha)

    def vectors(self) -> tuple[F32, F32]:
        """Return user and item vectors, both parts side by side; the dot product of the first is ``mix . (p * q)``."""
        users, items = [], []
        with torch.no_grad():
            if self.has_gmf:
                root = self.mix.abs().sqrt()
                users, items = [self.gmf_users * root * self.mix.sign()], [self.gmf_items * root]
            if self.has_mlp:
                users, items = [*users, self.mlp_users], [*items, self.mlp_items]
            return torch.cat(users, dim=1).cpu().numpy(), torch.cat(items, dim=1).cpu().numpy()

    def layers(self) -> dict[str, Array]:
        """Return what scores beside the vectors."""
        found = {"bias": torch.zeros(())}
        if self.has_gmf:
            found["bias"] = self.gmf_bias.detach()
        if self.has_mlp:
            found["bias"] = found["bias"] + self.out.bias.detach()[0]
            dense = [self.first, *(layer for layer in self.rest if isinstance(layer, nn.Linear))]
            found |= {f"weight.{n}": layer.weight.detach() for n, layer in enumerate(dense)}
            found |= {f"bias.{n}": layer.bias.detach() for n, layer in enumerate(dense)}
            found["out"] = self.out.weight.detach()[0]
        return {name: np.atleast_1d(value.cpu().numpy()).copy() for name, value in found.items()}


def _drawn(n: int, d: int, rng: np.random.Generator) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(rng.standard_normal((n, d), dtype=np.float32) * np.float32(DEVIATION)))


def _logistic(logits: Any) -> Tensor:
    return losses.logistic(logits[:, 0], logits[:, 1:])


def _squares(p: Tensor, q: Tensor, columns: Tensor) -> Tensor:
    """Return the mean over slots of ``|p|^2 + |q|^2``, columns weighted."""
    return (p.square() @ columns).mean() + (q.square() @ columns).mean()


class _Written(Function):
    """The loss of a batch with the gradient of `models.ncf_gradient`."""

    @staticmethod
    def forward(ctx: Any, names: tuple[str, ...], batch: tuple[Any, ...], *weights: Tensor) -> Tensor:
        given = {name: weight.detach().numpy() for name, weight in zip(names, weights, strict=True)}
        gmf, mlp = _parts(given)
        loss, of_gmf, of_mlp = Step(gmf, mlp, *batch).gradient()
        found: dict[str, Array] = {}
        if of_gmf is not None:
            found |= {f"gmf_{key}" if key != "mix" else key: value for key, value in of_gmf._asdict().items()}
        if of_mlp is not None:
            found |= {"mlp_users": of_mlp.users, "mlp_items": of_mlp.items}
            pairs = (pair for name in _dense(names) for pair in ((f"{name}.weight", name), (f"{name}.bias", name)))
            values = (value for layer in of_mlp.layers for value in layer)
            found |= {key: value for (key, _), value in zip(pairs, values, strict=True)}
        ctx.gradients = [torch.from_numpy(found[name]) for name in names]
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
        gradients, ctx.gradients = ctx.gradients, []  # given away, so that they are not copied
        return None, None, *gradients  # of a loss that nothing is done to: the slope is 1


def _parts(given: Mapping[str, F32]) -> tuple[GMF | None, MLP | None]:
    """Return the weights as `models.ncf_gradient` takes them."""
    gmf = GMF(given["gmf_users"], given["gmf_items"], given["mix"], given["gmf_bias"]) if "mix" in given else None
    layers = [(given[f"{name}.weight"], given[f"{name}.bias"]) for name in _dense(given)]
    return gmf, MLP(given["mlp_users"], given["mlp_items"], layers) if layers else None


def _dense(names: Iterable[str]) -> list[str]:
    """Return the dense layers in their order: they are declared so."""
    return [name.removesuffix(".weight") for name in names if name.endswith(".weight")]


def epochs_done(training: Training) -> int:
    """Return how many epochs a checkpoint has; 0 at the beginning."""
    meta: Any = {"epoch": 0} if training.resume is None else training.resume.meta
    return int(meta["epoch"])


def plans(method: Any) -> tuple[Plan | None, Plan]:
    """Return how the parts are trained apart, if they are, and then together: by Adam, or by plain steps from trained parts."""
    adam = Plan(epochs=method.epochs, learning_rate=method.learning_rate, schedule="linear")
    if not method.n_apart:
        return None, adam
    further = Plan(epochs=method.epochs - method.n_apart, learning_rate=method.joint_rate, optimizer="sgd", schedule="linear")
    return replace(adam, epochs=method.n_apart), further


def trained(method: Any, matrix: sp.csr_array, training: Training) -> tuple[F32, F32, dict[str, Array], tuple[str, ...]]:
    """Train and return user vectors, item vectors, dense layers and notes."""
    rng, executor = training.rng, training.runtime.executor
    with computing(replace(training.runtime, threads=1)) as device:  # our own threads call torch with blocks of a batch
        network = Network(method, matrix.shape, rng).to(device)
        dealt = Pairs.of(matrix, batch_size=batch_of(method, matrix.nnz), n_negatives=method.n_negatives)

        def phase(plan: Plan, now: Training, after: int = 0, *, apart: bool = False) -> tuple[str, ...]:
            return train(
                network,
                lambda: dealt.epoch(rng, executor, device),
                lambda batch: network.loss(batch, method.reg, executor, apart=apart),
                plan, now, name=method.name, vectors=network.vectors, after=after,
            )  # fmt: skip

        notes: tuple[str, ...] = ()
        apart, together = plans(method)
        done = epochs_done(training)
        if apart is not None and done <= apart.epochs:
            notes = phase(apart, training, apart=True)
            network.join(method.alpha)
            training = replace(training, resume=None)  # the numbers have moved on
        if not notes:
            notes = phase(together, training, apart.epochs if apart else 0)
    return *network.vectors(), network.layers(), notes


@dataclass(frozen=True, eq=False)
class Scorer:
    """The logits of a trained network, in numpy: our threads share the users, and BLAS has one thread in each.

    Parameters
    ----------
    layers : mapping of str to array
        As `Network.layers` returns them.
    n_products : int
        The first columns of vectors, whose dot product is added.
    """

    layers: Mapping[str, Array]
    n_products: int

    def __call__(self, queries: F32, items: F32) -> F32:
        """Return scores, shape (B, n): the halves of the first layer once for each side, the rest once for each pair."""
        d, m = self.n_products, items.shape[1] - self.n_products
        first, bias = self.layers["weight.0"], self.layers["bias.0"]
        out = np.empty((len(queries), len(items)), np.float32)
        for start in range(0, len(items), ITEMS_AT_ONCE):
            some = items[start : start + ITEMS_AT_ONCE]
            theirs, hidden = some[:, d:] @ first[:, m:].T, np.empty((len(some), len(bias)), np.float32)
            products, mixed = np.ascontiguousarray(some[:, :d]), np.ascontiguousarray(first[:, :m])
            for b, query in enumerate(queries):  # one at a time: the same bits whatever else is asked
                np.add(theirs, mixed @ query[d:] + bias, out=hidden)
                out[b, start : start + ITEMS_AT_ONCE] = self._finished(np.maximum(hidden, 0, out=hidden)) + products @ query[:d]
        return out

    def pairs(self, queries: F32, items: F32) -> F32:
        """See `PairScorer.pairs`."""
        d, m = self.n_products, items.shape[1] - self.n_products
        first = self.layers["weight.0"]
        hidden = queries[:, d:] @ first[:, :m].T + items[:, d:] @ first[:, m:].T + self.layers["bias.0"]
        return self._finished(np.maximum(hidden, 0)) + np.einsum("nd,nd->n", queries[:, :d], items[:, :d])

    def arrays(self) -> Mapping[str, Array]:
        """See `PairScorer.arrays`."""
        return self.layers

    def _finished(self, hidden: F32) -> F32:
        """Return the logits (n,) of the first layer's results (n, h)."""
        for n in count(1):
            if f"weight.{n}" not in self.layers:
                break
            hidden = np.maximum(hidden @ self.layers[f"weight.{n}"].T + self.layers[f"bias.{n}"], 0)
        logits: F32 = hidden @ self.layers["out"] + self.layers["bias"]
        return logits

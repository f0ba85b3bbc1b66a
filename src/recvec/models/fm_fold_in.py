"""A factorization machine in front of strangers: their features make their vector, as everyone's do."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import FoldIn, Link, Parts, Runtime, State
from recvec.data.histories import Histories
from recvec.encoders.blocks import SideCoder
from recvec.errors import ArtifactError, InputError, ValueRangeError
from recvec.kernels.fm_vectors import CONTEXT, ITEM, USER, Machine, as_items, as_users, in_context, sums
from recvec.models.fm_history import HistorySolver
from recvec.models.fm_links import Draws
from recvec.models.fm_reasons import parts_of, parts_of_history, present, with_rest
from recvec.types import F32, Array, Json

_SIDES = ("user", "item", "context")


@dataclass(frozen=True, eq=False)
class FMFoldIn(FoldIn):
    """Everyone by their features.

    A person described by attributes has those, and the id of everyone else; one who is not has the mean attributes. A history
    speaks through its features where the machine has some for it; else it changes the id, see `fm_history`. Without a context
    nothing of it stands in the score.

    Parameters
    ----------
    name : str
        Method, for messages.
    machine : Machine
        The draws.
    coders : tuple of SideCoder
        Of users, items and contexts.
    attributes : tuple of csr_array
        Attributes of all users and all items.
    usual : csr_array, shape (1, n_attributes)
        Mean attributes of the users of the fit.
    solver : HistorySolver
        What a history says about an id, attributes known.
    anyone : HistorySolver
        What it says of someone whose attributes are not known: the id stands for these too, and is less held to the mean.
    link : Link, optional
        Of the model; its numbers are saved with the rest.
    """

    name: str
    machine: Machine
    coders: tuple[SideCoder, SideCoder, SideCoder]
    attributes: tuple[sp.csr_array, sp.csr_array]
    usual: sp.csr_array
    solver: HistorySolver
    anyone: HistorySolver
    link: Link | None = None

    @property
    def answers_attributes(self) -> bool:  # type: ignore[override]
        """Whether users have attributes that are used."""
        return self.coders[USER].attributes.n_features > 0

    @property
    def uses_context(self) -> bool:  # type: ignore[override]
        """Whether there are context columns that are used."""
        return self.coders[CONTEXT].n_features > 0

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return the vectors of people by their attributes, their histories, or both; see `FoldIn.queries`."""
        if histories is None and features is None:
            raise InputError("a query needs users, histories or features; give one of them")
        n = len(features) if histories is None else len(histories)  # type: ignore[arg-type]
        if features is not None and len(features) != n:
            raise ValueRangeError(f"there are {n} histories and {len(features)} rows of features; allowed: one each")
        coder, executor = self.coders[USER], Runtime().executor
        attributes = sp.csr_array(self.usual[np.zeros(n, np.int32)]) if features is None else coder.encode(features)
        met = None if histories is None else _padded(histories.matrix(), coder.n_met)
        found = as_users(self.machine, sums(self.machine, USER, coder.rows(attributes, met), executor))
        if histories is None or coder.n_met:
            return found
        return (self.anyone if features is None else self.solver).solve(found, histories, executor)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """Return the vectors of items that nobody has met, by their attributes."""
        coder = self.coders[ITEM]
        return as_items(self.machine, sums(self.machine, ITEM, coder.rows(coder.encode(features)), Runtime().executor))

    def in_context(self, queries: F32, context: pl.DataFrame) -> F32:
        """See `FoldIn.in_context`."""
        coder = self.coders[CONTEXT]
        rows = coder.rows(coder.encode(context))
        if len(context) == 1 and len(queries) != 1:
            rows = sp.csr_array(rows[np.zeros(len(queries), np.int32)])
        return in_context(self.machine, queries, sums(self.machine, CONTEXT, rows, Runtime().executor))

    def parts(self, history: Histories, vector: F32) -> Parts:
        """Return what the item adds for everyone, and what each item of the history adds."""
        nobody = self.queries(Histories.empty(1, history.n_items), None)[0]
        named = {"bias": float(self.machine.bias.mean()), "item, for anyone": float(nobody @ vector)}
        coder = self.coders[USER]
        if not coder.n_met:
            whole, added = self.anyone.parts(nobody, history, vector)
            return ({**named, "items not met": whole} if self.anyone.unobserved_weight else named), added
        row = coder.rows(self.usual, _padded(history.matrix(), coder.n_met))
        found = present(self.machine, self.coders, (row, None, None))
        change = float(self.queries(history, None)[0] @ vector) - named["item, for anyone"]
        rest, added = parts_of_history(self.machine, found, vector, change, len(history.items))
        return {**named, **rest}, added

    def reasons(self, user: int, history: Histories, query: F32, item: int, vector: F32, context: pl.DataFrame | None) -> Parts:
        """Return the bias, what the features of user, item and context add alone, and what their pairs add."""
        users, items, moods = self.coders
        met = _padded(history.matrix(), users.n_met)
        mine = users.rows(sp.csr_array(self.attributes[USER][[user]]), met, self._ids(USER)[[user]])
        other = items.rows(sp.csr_array(self.attributes[ITEM][[item]]), None, self._ids(ITEM)[[item]])
        mood = moods.rows(moods.encode(context)) if context is not None else None
        found = present(self.machine, self.coders, (mine, other, mood))
        if items.n_met:
            at = slice(mine.nnz, mine.nnz + other.nnz)
            found = with_rest(self.machine, found, vector, at, int(self.machine.groups[self.machine.starts[CONTEXT] - 1]))
        asked = query if context is None else self.in_context(query[None], context)[0]
        score = float(asked @ vector) + float(self.machine.bias.mean())
        return parts_of(self.machine, found, score, len(history.items))

    def attribute_vectors(self, column: str) -> tuple[list[str], F32] | None:
        """See `FoldIn.attribute_vectors`; an attribute of users goes before one of items of the same name."""
        for side, make in ((USER, as_users), (ITEM, as_items)):
            coder = self.coders[side]
            for start, found in zip(coder.attributes.starts, coder.attributes.columns, strict=False):
                if found.name == column:
                    n, first = found.n_features, coder.attributes_start + int(start)
                    one = sp.csr_array((np.ones(n, np.float32), np.arange(first, first + n), np.arange(n + 1)), shape=(n, coder.n_features))
                    return found.levels, make(self.machine, sums(self.machine, side, one, Runtime().executor))
        return None

    @cached_property
    def _known(self) -> tuple[Array, Array]:
        """Whether something was learned of the id of each user and item."""
        at = [self.machine.of(side) for side in (USER, ITEM)]
        users, items = (np.any(self.machine.linear[:, a] != 0, axis=0) | np.any(self.machine.factors[:, a] != 0, axis=(0, 2)) for a in at)
        return np.asarray(users), np.asarray(items)

    def _ids(self, side: int) -> Array:
        n = self.coders[side].n_ids
        return np.where(self._known[side][:n], np.arange(n), n).astype(np.int32)

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        machine = self.machine
        found: dict[str, Array] = {"bias": machine.bias, "linear": machine.linear, "factors": machine.factors}
        found |= {name: a for name, a in (("third", machine.third), ("fields", machine.fields)) if a is not None}
        for side, coder in zip(_SIDES, self.coders, strict=True):
            found |= {f"{side}.{name}": array for name, array in coder.attributes.arrays().items()}
        for side, rows in zip(_SIDES, self.attributes, strict=False):
            parts = {"indptr": rows.indptr, "indices": rows.indices, "data": rows.data}
            found |= {f"{side}.attributes.{name}": part for name, part in parts.items()}
        if isinstance(self.link, Draws):
            found |= {f"link.{name}": array for name, array in self.link.arrays().items()}
        found |= {"usual": self.usual.toarray()[0], "anyone.reg": self.anyone.reg}
        return found | {f"solver.{name}": array for name, array in self.solver.arrays().items()}

    def meta(self) -> Mapping[str, Json]:
        """See `FoldIn.meta`."""
        coders: dict[str, Json] = {side: coder.meta() for side, coder in zip(_SIDES, self.coders, strict=True)}
        return {"coders": coders, "solver": self.solver.meta(), "within": self.machine.within}

    @classmethod
    def restore(cls, name: str, state: State) -> "FMFoldIn":
        """Build the fold-in of a saved model again."""
        arrays = {key.removeprefix("fold_in."): array for key, array in state.arrays.items() if key.startswith("fold_in.")}
        meta: Any = state.meta["fold_in"]

        def below(prefix: str) -> dict[str, Array]:
            return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

        users, items, moods = (SideCoder.restore(meta["coders"][side], below(f"{side}.")) for side in _SIDES)
        machine = Machine(
            bias=arrays["bias"],
            linear=arrays["linear"],
            factors=arrays["factors"],
            starts=np.cumsum([0, users.n_features, items.n_features, moods.n_features]),
            groups=numbered((users, items, moods)),
            third=arrays.get("third"),
            fields=arrays.get("fields"),
            within=meta["within"],
        )
        _check(machine, arrays, state.arrays)
        rows = [
            sp.csr_array((p["data"], p["indices"], p["indptr"]), shape=(coder.n_ids, coder.attributes.n_features))
            for coder, p in ((users, below("user.attributes.")), (items, below("item.attributes.")))
        ]
        parts: dict[str, Any] = {**below("solver."), **meta["solver"]}
        solver = HistorySolver(machine, state.arrays["item_vectors"], **parts)
        usual, anyone = sp.csr_array(arrays["usual"][None]), replace(solver, reg=arrays["anyone.reg"])
        return cls(name, machine, (users, items, moods), (rows[USER], rows[ITEM]), usual, solver, anyone)


def _check(machine: Machine, arrays: Mapping[str, Array], vectors: Mapping[str, Array]) -> None:
    """Refuse arrays that do not fit each other, and regularizations that are not above 0."""
    s, n, d = machine.bias.size, int(machine.starts[-1]), machine.factors.shape[-1]
    wanted = {"bias": (s,), "linear": (s, n), "factors": (s, n, d), "solver.reg": (s, d + 1), "anyone.reg": (s, d + 1)}
    wrong = next((name for name, shape in wanted.items() if arrays[name].shape != shape), None)
    if not s or wrong:
        raise ArtifactError(f"the machine's array '{wrong or 'bias'}' does not fit the others; fit the model again")
    if not all((arrays[name] > 0).all() for name in ("solver.reg", "anyone.reg")):
        raise ArtifactError("the machine has a regularization that is not above 0; fit the model again")
    width = machine.width + 2 * s
    if any(vectors[f"{side}_vectors"].shape[1:] != (width,) for side in ("user", "item")):
        raise ArtifactError(f"the vectors do not have the {width} columns of the machine; fit the model again")


def numbered(coders: tuple[SideCoder, ...]) -> Array:
    """Return the group of each feature, numbered through the sides."""
    first = np.cumsum([0, *(coder.n_groups for coder in coders)])
    return np.concatenate([coder.groups + start for coder, start in zip(coders, first, strict=False)]).astype(np.int32)


def _padded(met: sp.csr_array, width: int) -> sp.csr_array | None:
    """Return the matrix for as many items as the machine knows, None where it does not look at them."""
    return sp.csr_array((met.data, met.indices, met.indptr), shape=(met.shape[0], width)) if width else None

"""How tables are read: what files call their columns, which of them are used, and which rows count."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from recvec.data.features import FeatureType
from recvec.data.vocabulary import shown
from recvec.errors import ColumnError, ValueRangeError

IDS = ("user_id", "item_id")
VALUES = ("weight", "rating", "label", "timestamp")
RESERVED = (*IDS, "negative_item_id", *VALUES)


@dataclass(frozen=True)
class Wanted:
    """What is needed of one table.

    Parameters
    ----------
    names : tuple of str, optional
        Columns by our names; None for all of them.
    ids : tuple of str
        Those of them that hold ids, which are integers or text.
    called : mapping of str to str
        Our name -> the file's, where the two differ. A table without the file's name may still use ours.
    """

    names: tuple[str, ...] | None = None
    ids: tuple[str, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)

    def picked(self, header: Sequence[str]) -> dict[str, str]:
        """Return the columns of a table that are needed: its name -> ours, in its order.

        Where a table has both the name that `called` gives and our own, the given one wins and the other is left out.
        """
        renamed = {theirs: ours for ours, theirs in self.called.items() if theirs in header}
        beaten = set(renamed.values()) - set(renamed)
        ours = {theirs: renamed.get(theirs, theirs) for theirs in header if theirs not in beaten}
        return {theirs: name for theirs, name in ours.items() if self.names is None or name in self.names}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The choices of `read`, kept with the dataset so that tables that come later are read alike.

    Parameters
    ----------
    columns, types, use, context, item_text_from, positive_from, min_per_user, min_per_item, list_separator, drop_undated
        As in `recvec.read`.

    Raises
    ------
    ColumnError, ValueRangeError
        For a choice that no table could meet.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    use: Sequence[str] | None = None
    context: Sequence[str] = ()
    item_text_from: str | None = None
    positive_from: float | None = None
    min_per_user: int | None = None
    min_per_item: int | None = None
    list_separator: str = "|"
    drop_undated: bool = False

    def __post_init__(self) -> None:
        """Check each choice by itself; what depends on the tables is checked when they are read."""
        _check_mapping("columns", self.columns, "our name and the name in the files", "{'user_id': 'uid'}")
        _check_mapping("types", self.types, "an attribute and its type", "{'age': 'category'}")
        for option, names in (("use", self.use or ()), ("context", self.context)):
            _check_names(option, names)
        _check_twice(self.columns)
        for name, kind in self.types.items():
            if kind not in get_args(FeatureType):
                raise ColumnError(f"types gives '{shown(name)}' the type '{shown(kind)}'; allowed: {', '.join(get_args(FeatureType))}")
        for option, names in (("context", self.context), ("item_text_from", (self.item_text_from or "",))):
            own = next((n for n in names if n in RESERVED), None)
            if own is not None:
                raise ColumnError(f"{option} names '{own}', which has a meaning of its own; allowed: other columns of the interactions")
        if self.item_text_from is not None and self.types.get(self.item_text_from, "text") != "text":
            raise ColumnError(f"types gives '{self.item_text_from}' another type than item_text_from, which makes it text; leave it out")
        self._check_numbers()

    def _check_numbers(self) -> None:
        least = self.positive_from
        if least is not None and not (isinstance(least, int | float) and not isinstance(least, bool) and math.isfinite(least)):
            raise ValueRangeError(f"positive_from is {least!r}; allowed: a finite number, the lowest rating that counts as positive")
        for option, number in (("min_per_user", self.min_per_user), ("min_per_item", self.min_per_item)):
            if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
                raise ValueRangeError(f"{option} is {number!r}; allowed: a whole number, 1 or more")
        if not isinstance(self.list_separator, str) or not self.list_separator:
            raise ColumnError("the separator of lists is empty; allowed: one character or more, such as '|'")

    def wanted(self, names: Sequence[str], ids: Sequence[str]) -> Wanted:
        """Return what is needed of a table with the named columns."""
        return Wanted(tuple(names), tuple(ids), {ours: theirs for ours, theirs in self.columns.items() if ours in names})

    def attributes(self, id_name: str) -> Wanted:
        """Return what is needed of an attribute table: its id and what `use` names, or everything."""
        names = None if self.use is None else (id_name, *self.use)
        called = {ours: theirs for ours, theirs in self.columns.items() if ours == id_name or ours not in RESERVED}
        return Wanted(names, (id_name,), called)


def _check_mapping(option: str, given: Any, of: str, example: str) -> None:
    if not isinstance(given, Mapping) or not all(isinstance(word, str) for pair in given.items() for word in pair):
        raise ColumnError(f"{option} is {shown(repr(given))}; allowed: a mapping of {of}, such as {example}")


def _check_names(option: str, given: Any) -> None:
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise ColumnError(f"{option} is {shown(repr(given))}; allowed: a list of names; write {[given]!r}")
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise ColumnError(f"{option} names '{shown(twice)}' more than once; name it once")


def _check_twice(columns: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for ours, theirs in columns.items():
        other = first.setdefault(theirs, ours)
        if other != ours:
            raise ColumnError(
                f"columns gives '{shown(theirs)}' for both '{other}' and '{shown(ours)}'; allowed: a column once; correct one"
            )

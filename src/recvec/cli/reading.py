"""What commands that read tables share: their options, how they become one object, and what was left out."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import recvec as rv
from recvec.cli import options
from recvec.data.readers import read_dataset
from recvec.data.reading import Reading
from recvec.types import Json


@dataclass(frozen=True)
class Tables:
    """What a command was told about its tables.

    Parameters
    ----------
    reading : Reading
        How they are read.
    users, items : list of Path
        Attribute tables.
    """

    reading: Reading
    users: list[Path]
    items: list[Path]

    def read(self, interactions: Path) -> rv.Dataset:
        """Read a table of interactions with the attributes of its users and items."""
        return read_dataset(interactions, self.reading, users=self.users, items=self.items)


def told(
    users: options.Users = None,
    items: options.Items = None,
    columns: options.Columns = None,
    types: options.Types = None,
    list_separator: options.ListSeparator = "|",
    use: options.Use = None,
    context: options.Context = None,
    item_text_from: options.ItemTextFrom = None,
    positive_from: options.PositiveFrom = None,
    min_per_user: options.MinPerUser = None,
    min_per_item: options.MinPerItem = None,
    drop_undated: options.DropUndated = False,
    config: options.Config = None,
) -> Tables:
    """Make one object of the options; `config` has done its work by then."""
    reading = Reading(
        columns=options.columns(columns),
        types=options.types(types),
        use=options.names(use, "--use"),
        context=options.names(context, "--context") or (),
        item_text_from=item_text_from,
        positive_from=positive_from,
        min_per_user=min_per_user,
        min_per_item=min_per_item,
        list_separator=list_separator,
        drop_undated=drop_undated,
    )
    return Tables(reading, users or [], items or [])


def reads_tables(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in the place of its parameter ``tables``, the options of `told`."""
    shared = inspect.signature(told).parameters
    signature = inspect.signature(command)
    places: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        places += shared.values() if parameter.name == "tables" else [parameter]

    @wraps(command)
    def with_tables(**given: Any) -> None:
        command(tables=told(**{name: given.pop(name) for name in shared}), **given)

    by_name = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in places]  # those that are required may stand anywhere
    with_tables.__signature__ = signature.replace(parameters=by_name)  # type: ignore[attr-defined]
    with_tables.__annotations__ = {p.name: p.annotation for p in by_name}
    return with_tables


def left_out(data: rv.Dataset) -> dict[str, Json]:
    """Return what reading left out, by reason, for a result as JSON."""
    return dict(data.left_out)


def left_out_lines(data: rv.Dataset) -> list[str]:
    """Return a line for each reason why something was left out."""
    return [f"left out: {n:,} {reason}" for reason, n in data.left_out.items()]

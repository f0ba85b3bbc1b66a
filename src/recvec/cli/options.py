"""Options that several commands share, and how text becomes values."""

from pathlib import Path
from typing import Annotated

import typer

from recvec.cli import config
from recvec.errors import ColumnError, HyperparameterError, InputError, ValueRangeError

LONGEST = 1_000_000_000  # the longest list; far beyond any catalogue, within what array shapes can hold

Interactions = Annotated[Path, typer.Argument(help="Table of interactions: .csv, .tsv, .ndjson (also .gz) or .parquet.")]
ModelFolder = Annotated[Path, typer.Argument(help="Folder that 'recvec fit --out' made.")]
MethodName = Annotated[str, typer.Option("--method", help="Method by name; 'recvec methods' lists them.")]
Users = Annotated[list[Path] | None, typer.Option("--users", help="Attributes of users; repeatable.")]
Items = Annotated[list[Path] | None, typer.Option("--items", help="Attributes of items; repeatable.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--columns", metavar="OURS=THEIRS", help="What the files call a column, such as user_id=uid,item_id=iid; repeatable."),
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--types",
        metavar="NAME=TYPE",
        help="Type of an attribute or context column, such as age=category,plot=text: category, number, list, text or vector; repeatable.",
    ),
]
ListSeparator = Annotated[str, typer.Option("--list-separator", help="Separates the values of a list that is written as text.")]
Use = Annotated[list[str] | None, typer.Option("--use", help="The only attributes to use, such as gender,age; repeatable.")]
Context = Annotated[
    list[str] | None, typer.Option("--context", help="Columns of the interactions to use as context, such as weekday,city; repeatable.")
]
ItemTextFrom = Annotated[
    str | None, typer.Option("--item-text-from", help="Column of text of the interactions; the items' text is made of the training rows.")
]
PositiveFrom = Annotated[
    float | None, typer.Option("--positive-from", help="In rankings, rows with a lower rating are not positive; they stay in the data.")
]
MinPerUser = Annotated[
    int | None, typer.Option("--min-per-user", help="Leave out users with fewer distinct items, until all that are left have enough.")
]
MinPerItem = Annotated[
    int | None, typer.Option("--min-per-item", help="Leave out items with fewer distinct users, until all that are left have enough.")
]
DropUndated = Annotated[bool, typer.Option("--drop-undated/--keep-undated", help="Leave out rows without a timestamp.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        is_eager=True,
        callback=config.load,
        help="TOML file with options by their names and hyper-parameters in a table 'set'; the command line wins.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", callback=config.merge, help="Hyper-parameter as name=value; repeatable."),
]
Task = Annotated[str | None, typer.Option("--task", help="ranking, rating or click; ranking by default, where the method does that.")]
Attributes = Annotated[
    list[str] | None, typer.Option("--attribute", metavar="NAME=VALUE", help="Attribute of a new person, such as age=25; repeatable.")
]
Circumstances = Annotated[
    list[str] | None,
    typer.Option(
        "--context", metavar="NAME=VALUE", help="Context of the request, such as weekday=sunday, for models that use it; repeatable."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
ThreadCount = Annotated[int | None, typer.Option("--threads", help="Threads; all cores by default.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or mps, for methods that use torch.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result to this file as well.")]
ListLength = Annotated[int, typer.Option("--k", max=LONGEST, help="Length of the lists.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Write to a .csv, .tsv, .ndjson or .parquet file instead.")]


def pairs(
    given: list[str] | None, option: str = "--set", example: str = "embedding_dim=64", error: type[InputError] = HyperparameterError
) -> dict[str, str]:
    """Turn ``name=value`` words into a mapping.

    Raises
    ------
    InputError
        Of the type `error`, for a word without ``=``, or a name given twice.
    """
    found: dict[str, str] = {}
    for word in given or []:
        name, equals, value = word.partition("=")
        name = name.strip()
        if not (equals and name):
            raise error(f"{option} takes name=value, not '{word}'; such as {option} {example}")
        if name in found:
            raise error(f"{option} names '{name}' more than once; give it once")
        found[name] = value.strip()
    return found


def attributes(given: list[str] | None) -> dict[str, object]:
    """Turn ``name=value`` words into attributes of a person; a name given several times has a list of values.

    Raises
    ------
    InputError
        For a word without ``=``.
    """
    found: dict[str, object] = {}
    for word in given or []:
        for name, value in pairs([word], "--attribute", "age=25", InputError).items():
            before = found.get(name)
            found[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
    return found


def columns(given: list[str] | None) -> dict[str, str]:
    """Turn ``ours=theirs`` words, separated by commas, into a mapping."""
    return pairs(_separated(given), "--columns", "user_id=uid", ColumnError)


def types(given: list[str] | None) -> dict[str, str]:
    """Turn ``name=type`` words, separated by commas, into a mapping."""
    return pairs(_separated(given), "--types", "age=category", ColumnError)


def names(given: list[str] | None, option: str) -> list[str] | None:
    """Turn names, separated by commas, into a list; None where the option is not given.

    Raises
    ------
    ColumnError
        For an empty name.
    """
    found = _separated(given)
    if "" in found:
        raise ColumnError(f"{option} is '{','.join(given or [])}'; allowed: names separated by commas")
    return found or None


def _separated(given: list[str] | None) -> list[str]:
    return [part.strip() for word in given or [] for part in word.split(",")]


def lengths(text: str) -> list[int]:
    """Turn ``"10,20"`` into list lengths.

    Raises
    ------
    ValueRangeError
        For anything but whole numbers of 1 or more.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueRangeError(f"--k is '{text}'; allowed: whole numbers separated by commas, such as 10,20") from error
    if min(found) < 1 or max(found) > LONGEST:
        raise ValueRangeError(f"--k is '{text}'; allowed: whole numbers, 1 to {LONGEST:,}")
    return found

"""Options that several commands share, and how text becomes values."""

from pathlib import Path
from typing import Annotated

import typer

from recvec.errors import HyperparameterError, ValueRangeError

LONGEST = 1_000_000_000  # the longest list; far beyond any catalogue, within what array shapes can hold

Interactions = Annotated[Path, typer.Argument(help="Table of interactions: .csv, .tsv, .ndjson (also .gz) or .parquet.")]
ModelFolder = Annotated[Path, typer.Argument(help="Folder that 'recvec fit --out' made.")]
MethodName = Annotated[str, typer.Option("--method", help="Method by name; 'recvec methods' lists them.")]
Users = Annotated[list[Path] | None, typer.Option("--users", help="Attributes of users; repeatable.")]
Items = Annotated[list[Path] | None, typer.Option("--items", help="Attributes of items; repeatable.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Hyper-parameter as name=value; repeatable.")]
Task = Annotated[str, typer.Option("--task", help="ranking or rating.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
ThreadCount = Annotated[int | None, typer.Option("--threads", help="Threads; all cores by default.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or mps, for methods that use torch.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result to this file as well.")]
ListLength = Annotated[int, typer.Option("--k", max=LONGEST, help="Length of the lists.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Write to a .csv, .tsv, .ndjson or .parquet file instead.")]


def pairs(given: list[str] | None) -> dict[str, str]:
    """Turn ``name=value`` words into a mapping.

    Raises
    ------
    HyperparameterError
        For a word without ``=``, or a name given twice.
    """
    settings: dict[str, str] = {}
    for word in given or []:
        name, found, value = word.partition("=")
        name = name.strip()
        if not (found and name):
            raise HyperparameterError(f"--set takes name=value, not '{word}'; such as --set embedding_dim=64")
        if name in settings:
            raise HyperparameterError(f"--set names '{name}' more than once; give it once")
        settings[name] = value.strip()
    return settings


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

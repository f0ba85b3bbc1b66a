"""``recvec explain``: what a score is made of, and the paths that lead from a person to an item, as text and as a picture."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import polars as pl
import typer

import recvec as rv
from recvec.cli import options, output
from recvec.cli.recommend import deliver, with_titles
from recvec.contract import checked_k
from recvec.errors import NotSupportedError

NAMED = 5  # parts with a name that are shown beside k: biases, means
SAID = 5  # paths that are told beside another table

Picture = Annotated[Path | None, typer.Option("--picture", help="Draw the graph to this .svg file: around a user or an item, or between.")]


def explain(
    folder: options.ModelFolder,
    item: Annotated[str | None, typer.Option("--item", help="Item whose score is explained.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Known user.")] = None,
    history: Annotated[list[str] | None, typer.Option("--history", help="Item that a new person liked; repeatable.")] = None,
    context: options.Circumstances = None,
    k: Annotated[
        int, typer.Option("--k", max=options.LONGEST, help="Items of the history, features and paths to show: the largest first.")
    ] = 10,
    paths: Annotated[bool, typer.Option("--paths", help="The table of paths instead of that of parts.")] = False,
    picture: Picture = None,
    out: options.OutFile = None,
    json_file: options.JsonFile = None,
) -> None:
    """Show what a score is made of, and the paths from the person over items and other users to the item, the strongest first."""
    _check(item, user, history, context, picture)
    k, mood = checked_k(k), options.pairs(context, "--context", "weekday=sunday", rv.InputError)
    output.check_frame_file(out)
    for file in (picture, json_file):
        output.check_file(file)
    who = rv.load(folder)
    drawn = None if picture is None else who.graph.picture(user, item, k, history=history or None)
    if item is not None and (user is not None or history):
        parts = _parts(who, user, history, item, mood)
        _tell(who, parts, _ways(who, user, history, item, k), k, user, item, as_table=paths or parts is None, out=out, json_file=json_file)
    if picture is not None and drawn is not None:
        output.write_text(drawn, picture)
        output.warn(f"the graph is drawn in {picture}")


def _check(item: str | None, user: str | None, history: list[str] | None, context: list[str] | None, picture: Path | None) -> None:
    if item is None and picture is None:
        raise typer.BadParameter("explain needs --item ID, or --picture FILE.svg for the graph around a user")
    if (user is not None and history) or (user is None and not history and picture is None):
        raise rv.InputError("explain takes either --user ID or --history ID; give exactly one kind")
    if history and context:
        raise rv.InputError("--context goes with --user here; leave one of --history and --context out")
    if picture is not None and picture.suffix != ".svg":
        raise rv.InputError(f"--picture is {picture}; allowed: a file that ends in .svg")


def _parts(who: rv.Recommender, user: str | None, history: list[str] | None, item: str, mood: dict[str, str]) -> pl.DataFrame | None:
    """Return what the score is made of; None, with a line beside, where this kind of model has no such parts."""
    if user is None:
        return who.explain_for(history=history, item=item)
    who.users.rows([user]), who.items.rows([item]), who.histories  # unknown ids and lost histories end the command
    try:
        return who.explain(user, item, context=mood or None)
    except NotSupportedError as error:
        if mood:
            raise
        output.warn(f"{error}; here are paths of the graph alone")
        return None


class _Ways(NamedTuple):
    """The strongest paths, how many there are, and the probability of all of them."""

    best: pl.DataFrame
    n: int
    weight: float


def _ways(who: rv.Recommender, user: str | None, history: list[str] | None, item: str, k: int) -> _Ways | None:
    """Return the paths; None, with a line beside, where the model was saved without histories."""
    if who.forgotten:
        output.warn("this model was saved without histories, so no paths of the graph are known")
        return None
    found = who.graph.all_paths(user, item, history)
    return _Ways(who.graph.frame(found.best(k)), len(found.weights), float(found.weights.sum()))


def _tell(
    who: rv.Recommender,
    parts: pl.DataFrame | None,
    ways: _Ways | None,
    k: int,
    user: str | None,
    item: str,
    *,
    as_table: bool,
    out: Path | None,
    json_file: Path | None,
) -> None:
    whose = "this person" if user is None else f"user {user}"
    if parts is not None and (parts["item_id"].cast(pl.String) == item).any():
        output.warn(f"{whose} has met item {item} already: it is never in their list, and here it speaks for itself as well")
    title = who.titles(pl.Series([item]))
    called = item if title is None or title[0] is None else f"{item} ({title[0]})"
    output.write_json(_content(parts, ways, user, item), json_file)
    nothing = pl.DataFrame(schema={"item_id": pl.String, "user_id": pl.String, "weight": pl.Float64})
    best, n, _ = _Ways(nothing, 0, 0.0) if ways is None else ways
    if parts is not None and not as_table:
        deliver(with_titles(who, _summed_up(parts, k)), out, f"Score of item {called} for {whose}")
        _say_paths(best, n, whose, item)
    if as_table or (output.on_terminal() and len(best)):
        deliver(with_titles(who, best), out if as_table else None, f"The strongest of {n:,} paths from {whose} to item {called}")


def _say_paths(best: pl.DataFrame, n: int, whose: str, item: str) -> None:
    """Tell the strongest paths beside a table that is in a pipe or a file; a terminal gets a table of them."""
    if output.on_terminal():
        return
    for met, other, weight in best.head(SAID).iter_rows():
        output.warn(f"path {whose} - item {met} - user {other} - item {item}: {weight:.3g}")
    if n > SAID:
        output.warn(f"paths in all: {n:,}; --paths lists the strongest as a table")


def _content(parts: pl.DataFrame | None, ways: _Ways | None, user: str | None, item: str) -> dict[str, Any]:
    """Return all parts and the `k` strongest paths."""
    return {
        "user": user,
        "item": item,
        "score": None if parts is None else float(parts["contribution"].sum()),
        "parts": None if parts is None else parts.to_dicts(),
        "paths": None if ways is None else ways.best.to_dicts(),
        "n_paths": None if ways is None else ways.n,
        "paths_weight": None if ways is None else ways.weight,
    }


def _summed_up(parts: pl.DataFrame, k: int) -> pl.DataFrame:
    """Return the first `k` named parts and items, a row for the sum of the others where there are any, and one for the score."""
    items = parts["item_id"].is_not_null()
    largest = (
        parts.select(pl.int_range(pl.len()).over(items)).to_series() < pl.select(pl.when(items).then(k).otherwise(k + NAMED)).to_series()
    )
    shown, others = parts.filter(largest), parts.filter(~largest)
    sums = [("score", parts["contribution"].sum())]
    if len(others):
        sums.insert(0, (f"{len(others):,} others", others["contribution"].sum()))
    below = pl.DataFrame(sums, schema={"part": pl.String, "contribution": pl.Float32}, orient="row")
    return pl.concat([shown, below], how="diagonal")

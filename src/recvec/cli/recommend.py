"""``recvec recommend`` and ``recvec similar``: lists from a saved model."""

from typing import Annotated

import polars as pl
import typer

import recvec as rv
from recvec.cli import options, output


def recommend(
    folder: options.ModelFolder,
    user: Annotated[list[str] | None, typer.Option("--user", help="Known user; repeatable.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All users of the model.")] = False,
    history: Annotated[list[str] | None, typer.Option("--history", help="Item that a new person liked; repeatable.")] = None,
    with_known: Annotated[bool, typer.Option("--with-known", help="Do not leave out what users have met.")] = False,
    k: options.ListLength = 10,
    threads: options.ThreadCount = None,
    out: options.OutFile = None,
) -> None:
    """Recommend items to known users, or to a new person by the items that they liked."""
    if sum(map(bool, (user, everyone, history))) != 1:
        raise rv.InputError("recommend takes one of --user ID, --all or --history ID; give exactly one kind")
    output.check_frame_file(out)
    who = rv.load(folder)
    who.runtime = rv.Runtime(threads=threads)
    if history:
        lists = who.recommend_for(history=history, k=k)
    else:
        lists = who.recommend(who.users.ids if everyone else user or [], k, exclude_known=not with_known)
    _deliver(with_titles(who, lists), out, f"{who.model.method.name}: recommended items")


def similar(
    folder: options.ModelFolder,
    item: Annotated[str | None, typer.Option("--item", help="Item whose neighbours are wanted.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="User whose neighbours are wanted.")] = None,
    k: options.ListLength = 10,
    metric: Annotated[str, typer.Option("--metric", help="cosine, dot or euclidean.")] = "cosine",
    threads: options.ThreadCount = None,
    out: options.OutFile = None,
) -> None:
    """Show the nearest items of an item, or the nearest users of a user."""
    if (item is None) == (user is None):
        raise rv.InputError("similar takes either --item ID or --user ID; give exactly one")
    if metric not in ("cosine", "dot", "euclidean"):
        raise rv.InputError(f"--metric is '{metric}'; allowed: cosine, dot, euclidean")
    output.check_frame_file(out)
    who = rv.load(folder)
    who.runtime = rv.Runtime(threads=threads)
    if item is not None:
        lists = with_titles(who, who.similar_items(item, k, metric=metric))  # type: ignore[arg-type]
    else:
        lists = who.similar_users(str(user), k, metric=metric)  # type: ignore[arg-type]
    _deliver(lists, out, f"{who.model.method.name}: nearest to {item if item is not None else user} by {metric}")


def with_titles(who: rv.Recommender, lists: pl.DataFrame) -> pl.DataFrame:
    """Put the titles of items, where there are some, beside their ids."""
    titles = who.titles(lists["item_id"])
    return lists if titles is None else lists.insert_column(lists.get_column_index("item_id") + 1, titles)


def _deliver(lists: pl.DataFrame, out: "options.OutFile", title: str) -> None:
    if out is None:
        output.show(lists, title)
    else:
        output.write_frame(lists, out)
        output.say(f"{len(lists):,} rows written to {out}")

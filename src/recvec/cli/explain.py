"""``recvec explain``: what a score is made of."""

from typing import Annotated

import polars as pl
import typer

import recvec as rv
from recvec.cli import options, output
from recvec.cli.recommend import deliver, with_titles
from recvec.contract import checked_k


def explain(
    folder: options.ModelFolder,
    item: Annotated[str, typer.Option("--item", help="Item whose score is explained.")],
    user: Annotated[str | None, typer.Option("--user", help="Known user.")] = None,
    history: Annotated[list[str] | None, typer.Option("--history", help="Item that a new person liked; repeatable.")] = None,
    k: Annotated[int, typer.Option("--k", max=options.LONGEST, help="Items of the history to show, the largest parts first.")] = 10,
    out: options.OutFile = None,
) -> None:
    """Show what a score is made of: what the items of the history add to it, the largest first, and the sum."""
    if (user is None) == (not history):
        raise rv.InputError("explain takes either --user ID or --history ID; give exactly one kind")
    k = checked_k(k)
    output.check_frame_file(out)
    who = rv.load(folder)
    parts = who.explain(user, item) if user is not None else who.explain_for(history=history, item=item)
    whose = "this person" if user is None else f"user {user}"
    if (parts["item_id"].cast(pl.String) == item).any():
        output.warn(f"{whose} has met item {item} already: it is never in their list, and here it speaks for itself as well")
    title = who.titles(pl.Series([item]))
    called = item if title is None or title[0] is None else f"{item} ({title[0]})"
    deliver(with_titles(who, _summed_up(parts, k)), out, f"Score of item {called} for {whose}")


def _summed_up(parts: pl.DataFrame, k: int) -> pl.DataFrame:
    """Return the named parts, the first `k` items, a row for the sum of the others where there are any, and one for the score."""
    items = parts["item_id"].is_not_null()
    shown, others = parts.filter(~items | (items.cum_sum() <= k)), parts.filter(items & (items.cum_sum() > k))
    sums = [("score", parts["contribution"].sum())]
    if len(others):
        sums.insert(0, (f"{len(others):,} others", others["contribution"].sum()))
    below = pl.DataFrame(sums, schema={"part": pl.String, "contribution": pl.Float32}, orient="row")
    return pl.concat([shown, below], how="diagonal")

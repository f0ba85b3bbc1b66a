"""``recvec explain``: what a score is made of."""

from typing import Annotated

import polars as pl
import typer

import recvec as rv
from recvec.cli import options, output
from recvec.cli.recommend import deliver, with_titles
from recvec.contract import checked_k

NAMED = 5  # parts with a name that are shown beside k: biases, means


def explain(
    folder: options.ModelFolder,
    item: Annotated[str, typer.Option("--item", help="Item whose score is explained.")],
    user: Annotated[str | None, typer.Option("--user", help="Known user.")] = None,
    history: Annotated[list[str] | None, typer.Option("--history", help="Item that a new person liked; repeatable.")] = None,
    context: options.Circumstances = None,
    k: Annotated[
        int, typer.Option("--k", max=options.LONGEST, help="Items of the history, and features, to show: the largest first.")
    ] = 10,
    out: options.OutFile = None,
) -> None:
    """Show what a score is made of: what features or items of the history add to it, the largest first, and the sum."""
    if (user is None) == (not history):
        raise rv.InputError("explain takes either --user ID or --history ID; give exactly one kind")
    if history and context:
        raise rv.InputError("--context goes with --user here; leave one of --history and --context out")
    k, mood = checked_k(k), options.pairs(context, "--context", "weekday=sunday", rv.InputError)
    output.check_frame_file(out)
    who = rv.load(folder)
    parts = who.explain(user, item, context=mood or None) if user is not None else who.explain_for(history=history, item=item)
    whose = "this person" if user is None else f"user {user}"
    if (parts["item_id"].cast(pl.String) == item).any():
        output.warn(f"{whose} has met item {item} already: it is never in their list, and here it speaks for itself as well")
    title = who.titles(pl.Series([item]))
    called = item if title is None or title[0] is None else f"{item} ({title[0]})"
    deliver(with_titles(who, _summed_up(parts, k)), out, f"Score of item {called} for {whose}")


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

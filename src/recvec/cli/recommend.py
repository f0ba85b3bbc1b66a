"""``recvec recommend`` and ``recvec similar``: lists from a saved model, of items or of users."""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

import recvec as rv
from recvec.cli import limits, options, output, walks
from recvec.errors import InputError
from recvec.kernels.diversity import check_diversity

Denied = Annotated[Path | None, typer.Option("--deny", help="Table with item_id: never these; with user_id as well, not for that user.")]


def recommend(
    folder: options.ModelFolder,
    user: Annotated[list[str] | None, typer.Option("--user", help="Known user; repeatable.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All users of the model.")] = False,
    history: Annotated[list[str] | None, typer.Option("--history", help="Item that a new person liked; repeatable.")] = None,
    attribute: options.Attributes = None,
    context: options.Circumstances = None,
    with_known: Annotated[bool, typer.Option("--with-known", help="Do not leave out what users have met.")] = False,
    item: Annotated[str | None, typer.Option("--item", help="Item whose audience is wanted; with --audience.")] = None,
    audience: Annotated[bool, typer.Option("--audience", help="The best users for --item, without those who have met it.")] = False,
    k: Annotated[int | None, typer.Option("--k", max=options.LONGEST, help="Length of the lists; 10, with --audience 100.")] = None,
    candidates: Annotated[Path | None, typer.Option("--candidates", help="Table with item_id: the only items allowed.")] = None,
    deny: Denied = None,
    diversity: Annotated[float, typer.Option("--diversity", help="0: by score alone, up to 1: lists whose items differ.")] = 0.0,
    retrieval: walks.Retrieval = "exact",
    walk: walks.Walk = None,
    threads: options.ThreadCount = None,
    out: options.OutFile = None,
) -> None:
    """Recommend items to known users or to a new person by what they liked and what they are, or find the best users for an item."""
    _check_one_kind(user, everyone, history or attribute, audience or item is not None)
    mood, described = options.pairs(context, "--context", "weekday=sunday", InputError), options.attributes(attribute)
    way = walks.given(retrieval, walk) or "exact"
    output.check_frame_file(out)
    check_diversity(diversity)
    if audience or item is not None:
        _check_audience(item, audience, limited=bool(candidates or deny or diversity or context or way != "exact"))
        _deliver_audience(_loaded(folder, threads), str(item), 100 if k is None else k, out)
        return
    who = _loaded(folder, threads)
    found, unknown = limits.known(who, limits.read(candidates, deny, known_users=not (history or attribute)))
    wanted: dict[str, Any] = {"k": 10 if k is None else k, "diversity": diversity, "context": mood or None, "retrieval": way, **found}
    if history or attribute:
        lists = who.recommend_for(history=history, attributes=described, **wanted)
    else:
        lists = who.recommend(user or who.users.ids, exclude_known=not with_known, **wanted)
    for line in (*unknown, *["nothing is left to recommend: every item has been met or is not allowed"] * lists.is_empty()):
        output.warn(line)
    deliver(with_titles(who, lists), out, f"{who.model.method.name}: recommended items")


def _check_one_kind(*given: object) -> None:
    if sum(map(bool, given)) != 1:
        raise rv.InputError(
            "recommend takes one of --user ID, --all, --history ID (--attribute NAME=VALUE) or --item ID --audience; give exactly one kind"
        )


def _check_audience(item: str | None, audience: bool, *, limited: bool) -> None:
    if item is None:
        raise rv.InputError("--audience needs --item ID, the item whose users are wanted")
    if not audience:
        raise rv.InputError("--item goes with --audience, which lists users for it; for items like it use 'recvec similar --item'")
    if limited:
        raise rv.InputError(
            "--audience lists users; --candidates, --deny and --diversity are for lists of items, and so are --context and --retrieval; "
            "leave them out"
        )


def _deliver_audience(who: rv.Recommender, item: str, k: int, out: Path | None) -> None:
    users = who.audience(item, k)
    if len(users) > 1 and users["score"].n_unique() == 1:
        output.warn(f"all users have the same score for item {item}: {who.model.method.name} cannot tell them apart")
    if not len(users):
        output.warn(f"no user is left: all who have a history have met item {item}")
    deliver(users, out, f"{who.model.method.name}: users for item {item}")


def _loaded(folder: Path, threads: int | None) -> rv.Recommender:
    runtime = rv.Runtime(threads=threads)
    who = rv.load(folder)
    who.runtime = runtime
    return who


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
    who = _loaded(folder, threads)
    if item is not None:
        lists = with_titles(who, who.similar_items(item, k, metric=metric))  # type: ignore[arg-type]
    else:
        lists = who.similar_users(str(user), k, metric=metric)  # type: ignore[arg-type]
    deliver(lists, out, f"{who.model.method.name}: nearest to {item if item is not None else user} by {metric}")


def with_titles(who: rv.Recommender, lists: pl.DataFrame) -> pl.DataFrame:
    """Put the titles of items, where there are some, beside their ids."""
    titles = who.titles(lists["item_id"])
    return lists if titles is None else lists.insert_column(lists.get_column_index("item_id") + 1, titles)


def deliver(lists: pl.DataFrame, out: "options.OutFile", title: str) -> None:
    """Show a table, or write it to a file and say so."""
    if out is None:
        output.show(lists, title)
    else:
        output.write_frame(lists, out)
        output.say(f"{len(lists):,} rows written to {out}")

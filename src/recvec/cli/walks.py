"""``--retrieval walk``: what the words mean, and the measurement of walks."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

import recvec as rv
from recvec.cli import config, options
from recvec.contract import Model
from recvec.data.histories import Histories
from recvec.retrieval.graph import InteractionGraph, walk_of
from recvec.retrieval.graph_walk import GraphWalk, WalkScorer
from recvec.types import Json

Retrieval = Annotated[
    str, typer.Option("--retrieval", help="exact: the model's best; walk: what walks over the graph of who met what find.")
]
Walk = Annotated[
    list[str] | None,
    typer.Option("--walk", metavar="NAME=VALUE", callback=config.merge, help="Setting of the walk, such as kind=rp3beta; repeatable."),
]


def given(retrieval: str, settings: list[str] | None) -> GraphWalk | None:
    """Return the walk that is asked for, None where none is.

    Raises
    ------
    InputError
        For an unknown word, or settings without a walk.
    """
    if walk_of(retrieval) is not None:
        return GraphWalk.of(options.pairs(settings, "--walk", "restart=0.2"))
    if settings:
        raise rv.InputError("--walk is given without --retrieval walk; allowed: together; add --retrieval walk")
    return None


def refuse_unused(walk: GraphWalk | None, method: str | None, folder: Path, **fits: Any) -> None:
    """Refuse a measurement of walks that would not look at what is given.

    Raises
    ------
    InputError
        Where a fit would be lost, or the candidates that are re-ranked come from nowhere.
    """
    if walk is None:
        return
    unused = [name for name, value in fits.items() if value and not (name == "seeds" and value == 1)]
    if unused:
        raise rv.InputError(f"--{unused[0]} is for fits of a method, and walks are measured on one split; leave one of the two out")
    if method is not None and not walk.n_candidates:
        raise rv.InputError("a walk needs no method; leave --method out, or re-rank its best by --walk n_candidates=200")
    if method is None and walk.n_candidates and not folder.is_dir():
        raise rv.InputError("n_candidates re-ranks what a model finds; give --method, or the folder of a saved model")


def measured(
    walk: GraphWalk, split: rv.Split, lengths: list[int], diversity: float, runtime: rv.Runtime, model: Model | None = None
) -> tuple[rv.Evaluation, dict[str, Json]]:
    """Measure walks over the training part of a split; return the result and what is recorded of the walk.

    Raises
    ------
    InputError
        Where a model whose candidates are re-ranked does not know the ids of the test part.
    """
    sizes = split.train.n_users, split.train.n_items
    if walk.n_candidates and model is not None and (model.n_users, model.n_items) != sizes:
        raise rv.InputError(
            "the test part has users or items that the saved model does not know, so that it has no candidates for them; "
            "leave n_candidates out, or give a table and --method"
        )
    started = time.perf_counter()
    graph = InteractionGraph(split.train, split.train.histories())
    known: Histories = split.histories()
    scorer = WalkScorer(graph.walker(walk, model, runtime), known, runtime)
    prepared = time.perf_counter() - started
    result = rv.evaluate(scorer, split, k=lengths, diversity=diversity, runtime=runtime)
    return result, {"hyperparameters": dict(walk.recipe), "fit_seconds": prepared, "seed": walk.seed}

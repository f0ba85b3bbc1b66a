"""``recvec methods``: what there is, what it needs, what it gives, what it costs."""

from typing import Annotated

import polars as pl
import typer

from recvec.cli import output
from recvec.contract import DataShape
from recvec.contract.hyperparameters import allowed, parameters
from recvec.models import registry

_REFERENCE = DataShape(n_users=10_000, n_items=10_000, n_interactions=1_000_000)


def methods(name: Annotated[str | None, typer.Argument(help="A method, to see its hyper-parameters.")] = None) -> None:
    """List every method, or the hyper-parameters of one; cost is for a million interactions, 10,000 users and items."""
    if name is not None:
        found = registry.method_class(name)
        rows = [(p.name, str(p.default), allowed(p), p.metadata["doc"]) for p in parameters(found)]
        output.show(pl.DataFrame(rows, schema=["hyperparameter", "default", "allowed", "meaning"], orient="row"), name)
        return
    table = []
    for known in registry.names():
        found = registry.method_class(known)
        cost = found().estimate(_REFERENCE)
        what = (known, found.family, ", ".join(found.tasks), ", ".join(sorted(found.needs)), found.gives)
        table.append((*what, f"about {max(cost.seconds(), 0.1):.1f} s, {cost.memory / 1e6:,.0f} MB"))
    columns = ["method", "family", "tasks", "needs", "gives", "cost"]
    output.show(pl.DataFrame(table, schema=columns, orient="row"), "methods")

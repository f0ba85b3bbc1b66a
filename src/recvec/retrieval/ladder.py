"""Who answers for a person: the model where there is a history, else its rungs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from recvec.contract import Model
from recvec.contract.model import refuse_context
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.errors import InputError, NotSupportedError

Route = Literal["stored", "history", "attributes", "popular"]
ROUTES: tuple[Route, ...] = ("stored", "history", "attributes", "popular")


def as_frame(described: Mapping[str, object] | None) -> pl.DataFrame | None:
    """Return one row of attributes or of a context; lists stay lists. None where nothing is said."""
    return pl.DataFrame({name: [value] for name, value in described.items()}, strict=False) if described else None


@dataclass(frozen=True, eq=False, kw_only=True)
class Ladder:
    """Stored -> history -> attributes -> popular: the first rung that can answer does.

    Parameters
    ----------
    model : Model
        Answers for stored users and for histories.
    rungs : mapping of str to Model
        Answer for the others: ``"attributes"``, ``"popular"``; either may be missing.
    train : Dataset
        What all of them were fitted on.

    Raises
    ------
    InputError
        Where a model is not over the vocabulary of `train`.
    """

    model: Model
    rungs: Mapping[str, Model]
    train: Dataset

    def __post_init__(self) -> None:
        n_users, n_items = self.train.n_users, self.train.n_items
        for name, part in {"the model": self.model, **self.rungs}.items():
            if (part.n_users, part.n_items) != (n_users, n_items):
                raise InputError(
                    f"{name} knows {part.n_users} users and {part.n_items} items, the data have {n_users} and {n_items}; "
                    f"fit it on the same dataset"
                )

    def known(self, *, warm: bool) -> tuple[Route, Model]:
        """Return who answers for users of the vocabulary: the model for warm ones, those with a training history.

        For the others it is the model itself where it uses attributes of users, else the rung for attributes, where there
        is one and the table has attributes, else the popular one.
        """
        if warm:
            return "stored", self.model
        if self.model.answers_attributes:
            return "attributes", self.model
        if "attributes" in self.rungs and self.train.user_features is not None:
            return "attributes", self.rungs["attributes"]
        return "popular", self._popular

    def door(
        self, person: Histories, attributes: Mapping[str, object] | None, context: Mapping[str, object] | None = None
    ) -> tuple[Route, Model, Any]:
        """Return the first rung that can answer for someone who need not be known, and the query to ask it.

        A model that uses attributes of users takes them beside a history too, and needs no rung for them. Lower rungs know
        of no context.

        Raises
        ------
        NotSupportedError
            Where that rung is missing; attributes or a context that nothing can use are refused, not passed over.
        """
        told = as_frame(context)
        if not self.model.uses_context:
            refuse_context(self.model.method, told)
        if len(person.items):
            mine = as_frame(attributes) if self.model.answers_attributes else None
            return "history", self.model, self.model.queries(histories=person, features=mine, context=told)
        if not attributes:
            return "popular", self._popular, self._popular.queries(histories=person)
        if self.model.answers_attributes:
            return "attributes", self.model, self.model.queries(features=as_frame(attributes), context=told)
        if "attributes" not in self.rungs:
            raise NotSupportedError(
                "this model has no rung for attributes; leave attributes out for the popular list, "
                "or give Recommender rungs={'attributes': ...} with a method that learns from them"
            )
        model = self.rungs["attributes"]
        return "attributes", model, model.queries(features=as_frame(attributes))

    @property
    def _popular(self) -> Model:
        if "popular" not in self.rungs:
            raise NotSupportedError("this model has no rung for people without history; fit it again without --rungs none")
        return self.rungs["popular"]

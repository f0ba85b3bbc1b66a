"""One hyper-parameter, one place: a dataclass field that carries its meaning, bounds and search range."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any

import numpy as np

from recvec.errors import HyperparameterError, nearest

Search = tuple[float, float] | tuple[float, float, str] | tuple[Any, ...]


def param(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    search: Search | None = None,
) -> Any:
    """Declare a hyper-parameter.

    Parameters
    ----------
    default : int, float, bool or str
        Its type is the type of the hyper-parameter.
    doc : str
        Meaning in a few words, with its unit.
    low, high : float, optional
        Bounds, both included.
    choices : tuple of str, optional
        Allowed words.
    search : tuple, optional
        What a tuner tries: ``(low, high)``, ``(low, high, "log")``, or the choices.
    """
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices, "search": search})


def parameters(method: Any) -> list["Field[Any]"]:
    """Return the declared hyper-parameters of a method or method class, in order."""
    return [f for f in fields(method) if "doc" in f.metadata]


def allowed(parameter: "Field[Any]") -> str:
    """Say what values a hyper-parameter takes, for messages and reference pages."""
    meta, kind = parameter.metadata, type(parameter.default).__name__
    if meta["choices"]:
        return ", ".join(meta["choices"])
    if kind == "bool":
        return "true, false"
    word = {"int": "a whole number", "float": "a number", "str": "text"}[kind]
    match meta["low"], meta["high"]:
        case None, None:
            return word
        case low, None:
            return f"{word}, {low:g} or more"
        case None, high:
            return f"{word}, {high:g} or less"
        case low, high:
            return f"{word}, {low:g} to {high:g}"


def check(method: Any) -> None:
    """Refuse a method whose hyper-parameters are of the wrong type or out of range.

    Raises
    ------
    HyperparameterError
        Names method, hyper-parameter, value and what is allowed.
    """
    for parameter in parameters(method):
        value = getattr(method, parameter.name)
        converted = _convert(parameter, value)
        if converted is MISSING:
            raise HyperparameterError(
                f"{method.name}: {parameter.name} is {value!r}; allowed: {allowed(parameter)} (default {parameter.default})"
            )
        object.__setattr__(method, parameter.name, converted)


def _convert(parameter: "Field[Any]", value: Any) -> Any:
    """Return the value in the type of the default, or MISSING where it is not allowed."""
    default: Any = parameter.default
    kind, meta = type(default), parameter.metadata
    if isinstance(value, np.generic):
        value = value.item()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        return MISSING
    if meta["choices"] and value not in meta["choices"]:
        return MISSING
    if kind in (int, float):
        low, high = meta["low"], meta["high"]
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            return MISSING
    return value


def parse(method: type[Any], settings: Mapping[str, str]) -> dict[str, Any]:
    """Turn ``name=value`` text of the command line into typed hyper-parameters.

    Raises
    ------
    HyperparameterError
        For a name that the method does not have, or text that is not of its type.
    """
    known = {p.name: p for p in parameters(method)}
    typed = {}
    for name, text in settings.items():
        if name not in known:
            raise HyperparameterError(
                f"{method.name} has no hyper-parameter '{name}' ({nearest(name, known)}); allowed: {', '.join(known) or 'none'}"
            )
        typed[name] = _from_text(known[name], text)
    return typed


def _from_text(parameter: "Field[Any]", text: str) -> Any:
    default: Any = parameter.default
    kind = type(default)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind is str:
        return text
    try:
        return kind(text)
    except ValueError:
        return text  # `check` refuses it with the full message

"""What can go wrong, as one tree.

::

    RecvecError
    |-- InputError              what a person gave is not usable (exit code 1 on the command line)
    |   |-- ReadError           a file or table cannot be read
    |   |-- ColumnError         a column is missing, misnamed or of the wrong type
    |   |-- ValueRangeError     a value is outside what is allowed
    |   |-- UnknownUserError    an id that the vocabulary does not hold
    |   |-- UnknownItemError
    |   |-- UnknownMethodError  a method name that the registry does not hold
    |   `-- HyperparameterError an unknown, mistyped or out-of-range hyper-parameter
    |-- NotSupportedError       this method or model cannot do that; the message says what can
    |-- MissingExtraError       an optional package that is not installed; the message says how to install it
    |-- ResourceError           memory, time or disk that does not suffice
    |-- DivergedError           training left the finite numbers
    `-- ArtifactError           a saved model is missing, damaged, or from a newer version

Every message is one line: what, value, allowed, remedy.
"""

import difflib
from collections.abc import Iterable


class RecvecError(Exception):
    """Root of all errors that recvec raises on purpose."""


class InputError(RecvecError, ValueError):
    """What a person gave is not usable."""


class ReadError(InputError):
    """A file or table cannot be read."""


class ColumnError(InputError):
    """A column is missing, misnamed or of the wrong type."""


class ValueRangeError(InputError):
    """A value is outside what is allowed."""


class UnknownUserError(InputError):
    """A user id that the vocabulary does not hold."""


class UnknownItemError(InputError):
    """An item id that the vocabulary does not hold."""


class UnknownMethodError(InputError):
    """A method name that the registry does not hold."""


class HyperparameterError(InputError):
    """An unknown, mistyped or out-of-range hyper-parameter."""


class NotSupportedError(RecvecError):
    """A method or model cannot do what was asked; the message says what can."""


class MissingExtraError(RecvecError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class ResourceError(RecvecError):
    """Memory, time or disk that does not suffice."""


class DivergedError(RecvecError):
    """Training left the finite numbers."""


class ArtifactError(RecvecError):
    """A saved model is missing, damaged, or from a newer version."""


def nearest(name: str, allowed: Iterable[str], n: int = 3) -> str:
    """Return a clause such as ``"nearest: 'user_id', 'item_id'"`` for an error message.

    Parameters
    ----------
    name : str
        What was given.
    allowed : iterable of str
        What would have been understood.
    n : int
        How many names to show at most.

    Returns
    -------
    str
        The `n` nearest names in quotes, or the first `n` where none is near.
    """
    names = list(allowed)
    plain = {a.lower(): a for a in reversed(names)}  # case is what people get wrong first
    close = [plain[c] for c in difflib.get_close_matches(name.lower(), plain, n=n, cutoff=0.5)]
    if close:
        return "nearest: " + ", ".join(f"'{c}'" for c in close)
    shown = ", ".join(f"'{c}'" for c in names[:n])
    return f"such as {shown}" if shown else "there is none"

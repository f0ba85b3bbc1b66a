"""Optional packages: asked for where they are needed, and named where they are missing."""

import importlib

from recvec.errors import MissingExtraError

_PACKAGES = {
    "torch": ("torch", "PyTorch"),
    "text": ("gensim", "gensim"),
    "tune": ("optuna", "optuna"),
    "report": ("plotly", "plotly"),
    "sklearn": ("sklearn", "scikit-learn"),
}


def require(extra: str, who: str) -> None:
    """Make sure that the package of an extra is there.

    Parameters
    ----------
    extra : str
        As in ``pip install 'recvec[torch]'``.
    who : str
        What needs it, for the message.

    Raises
    ------
    MissingExtraError
        Names the command that installs it.
    """
    module, title = _PACKAGES[extra]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{who} needs {title}, which is not installed; install it with: pip install 'recvec[{extra}]'") from error

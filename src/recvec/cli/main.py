"""The door of the command line. It loads the rest inside, so that Ctrl-C is one line from the first moment on."""

import importlib
import signal
import sys
import unicodedata
from typing import Any

_STOPPED = 128 + signal.SIGINT


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 bad input (one line on stderr), 2 wrong usage, 130 stopped by Ctrl-C."""
    try:
        code, line = _application().run(_STOPPED)
    except KeyboardInterrupt:
        code, line = _STOPPED, "stopped; nothing is left half-written"
    if line and sys.stderr is not None:  # closed by the shell (2>&-)
        print(f"recvec: {plain(line.replace(chr(10), ' '))}", file=sys.stderr)
    if code:
        raise SystemExit(code)


def plain(text: str) -> str:
    """Return text that stays on its line and cannot steer a terminal: control characters are escaped."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Cf" else c.encode("unicode_escape").decode() for c in text)


def _application() -> Any:
    return importlib.import_module("recvec.cli.app")


def __getattr__(name: str) -> Any:
    """Give ``app``, the typer application, to whoever asks for it (PEP 562)."""
    if name == "app":
        return _application().app
    raise AttributeError(f"module 'recvec.cli.main' has no attribute '{name}'")

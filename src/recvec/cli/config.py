"""``--config``: options of a command from a TOML file. They become defaults, so that the command line wins."""

import inspect
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import typer

from recvec.data.vocabulary import shown
from recvec.errors import InputError, ReadError, nearest


def load(context: typer.Context, path: Path | None) -> Path | None:
    """Let the command take its defaults from a file; this runs before any other option is looked at.

    Raises
    ------
    ReadError
        Where the file cannot be read or is not TOML; names the line.
    InputError
        For a key that is no option of this command, or a value that the option does not take.
    """
    if path is None:
        return None
    options = {o.name: o for o in context.command.params if o.param_type_name == "option"}
    by_word = {word.removeprefix("--"): name for name, o in options.items() for word in o.opts if word.startswith("--")}
    found: dict[str, Any] = {}
    for key, value in _content(path).items():
        word = key.replace("_", "-")
        where = f"{path}: '{shown(key)}'"
        if word == "config":
            raise InputError(f"{where} stands in a configuration; allowed: options of '{context.command_path}'; put all into one file")
        if word not in by_word:
            said = f"is no option of '{context.command_path}' ({nearest(word, by_word)})"
            raise InputError(f"{where} {said}; correct or remove it")
        if by_word[word] in found:
            raise InputError(f"{where} is there twice, once with '-' and once with '_'; remove one")
        found[by_word[word]] = _words(options[by_word[word]], value, where)
    paths = _path_options(context)
    beside = {n: _beside(path, value) if n in paths else value for n, value in found.items()}
    context.default_map = {**(context.default_map or {}), **beside}
    for name, value in beside.items():
        try:
            options[name].process_value(context, value)
        except typer.BadParameter as error:
            said = error.message.rstrip(".")
            raise InputError(f"{path}: {options[name].opts[0]} is '{shown(value)}'; {said[:1].lower()}{said[1:]}; correct it") from error
    return path


def merge(context: typer.Context, option: typer.CallbackParam, words: list[str] | None) -> list[str]:
    """Add the pairs of the configuration whose names the command line does not give."""
    configured: list[str] = (context.default_map or {}).get(option.name, [])
    given = {_name(word) for word in words or []}
    return [*(word for word in configured if _name(word) not in given), *(words or [])]


def _name(pair: str) -> str:
    return pair.partition("=")[0].strip()


def _content(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: byte {error.object[error.start]:#04x} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        said = str(error).splitlines()[0]
        raise ReadError(f'{path} is not TOML: {shown(said)}; allowed: lines such as method = "als"; correct it') from error


def _words(option: Any, value: Any, where: str) -> bool | str | list[str]:
    """Return a value as the command line would write it: a word, a list of words where the option repeats, or a flag."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise InputError(f"{where} is {shown(repr(value))}; allowed: true or false; correct it")
        return value
    takes_pairs = "=" in (option.metavar or "")
    if isinstance(value, dict) and takes_pairs:
        return [f"{name}=" + _word(v, where.removesuffix("'") + f".{shown(name)}'", flags=True) for name, v in value.items()]
    if isinstance(value, list) and option.multiple:
        return [_word(v, where) for v in value]
    if isinstance(value, dict | list):
        kinds = ["a table" if takes_pairs else "", "a list of words" if option.multiple else "", "one value"]
        kind = "a table" if isinstance(value, dict) else "a list"
        raise InputError(f"{where} is {kind}; allowed: {' or '.join(k for k in kinds if k)}; correct it")
    word = _word(value, where)
    return [word] if option.multiple else word


def _word(value: Any, where: str, *, flags: bool = False) -> str:
    if isinstance(value, bool) and flags:
        return str(value).lower()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        allowed = "text, a number, true or false" if flags else "text or a number"
        raise InputError(f"{where} is {shown(str(value).lower() if isinstance(value, bool) else value)}; allowed: {allowed}; correct it")
    return str(value)


def _path_options(context: typer.Context) -> set[str]:
    """Return the names of options whose values are paths."""
    command: Any = context.command.callback
    return {name for name, p in inspect.signature(command).parameters.items() if _holds_path(p.annotation)}


def _holds_path(annotation: Any) -> bool:
    return annotation is Path or any(_holds_path(part) for part in get_args(annotation))


def _beside(config: Path, value: bool | str | list[str]) -> bool | str | list[str]:
    """Return paths relative to the folder of the configuration."""
    if isinstance(value, list):
        return [str(config.parent / word) for word in value]
    return value if isinstance(value, bool) else str(config.parent / value)

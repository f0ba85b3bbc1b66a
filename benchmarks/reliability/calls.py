"""What a person may type, as tables: commands and the calls that make sense, options and the values that make sense.

The commands and options themselves are read from the application. A command that has no call here is called by its
required arguments and options, and an option that has no kind here gets values of its type; so nothing is left out, but
a line here makes the calls sensible more often. To extend:

- a new command: a line in `CALLS` with words in braces for kinds of values;
- a new option: a line in `KINDS_OF_OPTIONS`, and if it writes, its name in `OUTPUTS`;
- a new kind of value: a line in `VALUES`, and if it names a file, that file in `workspace.py`.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

import numpy as np
from typer.main import get_command

from recvec.cli.app import app
from recvec.models import registry

T = TypeVar("T")

CALLS: tuple[tuple[float, str], ...] = (
    (4, "fit {table} --method {method} --out {new}"),
    (3, "fit {table} --method {learner} --set {setting} --out {new} --json {json}"),
    (3, "fit {table} --method {learner} --users {users} --items {items} --out {new}"),
    (2, "fit {rated} --method svd --task rating --set embedding_dim=3 --out {new}"),
    (2, "fit {text} --method {method} --items {items} --item-text-from review --context weekday,city --out {new}"),
    (2, "fit renamed.csv --columns user_id=uid,item_id=iid --method {method} --out {new}"),
    (2, "fit {table} --config fit.toml --out {new}"),
    (2, "fit {table} --method als --set epochs=2 --set embedding_dim=4 --checkpoint {checkpoint} --out {new}"),
    (1, "fit ratings.csv --method als --set epochs=3 --set embedding_dim=4 --checkpoint half --resume --out {new}"),
    (4, "evaluate {table} --method {method} --k {lengths}"),
    (3, "evaluate {table} --method {learner} --protocol {protocol} --json {json}"),
    (3, "evaluate {table} --method {learner} --test {test} --negatives {negatives} --save {new}"),
    (2, "evaluate {rated} --method svd --task rating --protocol random"),
    (2, "evaluate {table} --method {method} --protocol {folded} --folds {folds}"),
    (2, "evaluate {table} --config evaluate.toml --users {users}"),
    (3, "evaluate {model} --test {test} --negatives {negatives}"),
    (5, "recommend {model} --user {user} --k {k}"),
    (2, "recommend {model} --all --out {lists}"),
    (3, "recommend {model} --history {item} --history {item} --k {k}"),
    (3, "recommend {model} --item {item} --audience"),
    (3, "recommend {model} --all --candidates {candidates} --deny {deny} --diversity {share}"),
    (3, "similar {model} --item {item} --k {k} --metric {metric}"),
    (2, "similar {model} --user {user} --out {lists}"),
    (3, "explain {model} --user {user} --item {item}"),
    (2, "explain {model} --history {item} --item {item} --out {lists}"),
    (4, "update {model} {grown} --out {new}"),
    (4, "export {model} --to {format} --out {vectors}"),
    (1, "export {model} --to word2vec --what {side} --out {vectors}"),
    (1, "export {model} --to model --no-histories --out {new}"),
    (0.7, "datasets"),
    (3, "datasets ml-latest-small --from ml-latest-small.zip --out {new}"),
    (1, "methods {method}"),
    (0.5, "methods"),
    (0.5, "{command} --help"),
    (0.3, "--version"),
    (0.3, ""),
    (0.2, "demo --json {json}"),
)
KEPT = {"datasets": ("--from", "ml-latest-small.zip")}
"""Words that are put back at the end: without them the command would go to the network."""

VALUES: dict[str, tuple[str, ...]] = {
    "command": (),  # filled by what there is, as are methods and models
    "method": (),
    "learner": ("svd", "als"),
    "task": ("ranking", "ranking", "rating"),
    "table": (
        "ratings.csv", "ratings.tsv", "ratings.ndjson", "ratings.parquet", "ratings.csv.gz", "ratings.ndjson.gz", "clicks.csv",
        "weights.tsv", "bare.csv", "odd.csv", "odd.ndjson",
    ),
    "rated": ("ratings.csv", "ratings.parquet", "ratings.ndjson"),
    "text": ("texts.csv", "texts.ndjson"),
    "users": ("users.csv", "users.parquet", "users.tsv.gz"),
    "items": ("items.csv", "items.ndjson", "items.parquet"),
    "test": ("test.csv", "test.parquet", "test.ndjson"),
    "negatives": ("negatives.csv", "negatives.parquet"),
    "candidates": ("candidates.csv", "candidates.ndjson"),
    "deny": ("deny.csv", "denied.tsv"),
    "grown": ("more.csv", "more.parquet", "ratings.csv"),
    "config": ("fit.toml", "evaluate.toml"),
    "zip": ("ml-latest-small.zip",),
    "model": (),
    "user": ("u1", "u2", "u7", "u40"),
    "item": ("i1", "i2", "i5", "i30"),
    "k": ("1", "3", "10", "100"),
    "lengths": ("10", "1,5", "5,10,20", "20,5"),
    "metric": ("cosine", "dot", "euclidean"),
    "protocol": ("leave-last-out", "random", "time", "strong", "new-users", "new-items"),
    "folded": ("random", "strong", "new-users", "new-items"),
    "folds": ("2", "3"),
    "share": ("0", "0.2", "0.5", "1"),
    "setting": ("embedding_dim=4", "embedding_dim=1", "reg=0.1", "epochs=2"),
    "columns": ("rating=rating", "timestamp=when"),
    "types": ("age_group=category", "plot=text", "genres=list"),
    "names": ("gender", "gender,occupation", "genres"),
    "context": ("weekday", "weekday,city"),
    "separator": ("|", ",", ";"),
    "column": ("review", "city"),
    "address": ("http://127.0.0.1:9", "https://127.0.0.1:9/x"),
    "format": ("parquet", "word2vec", "numpy"),
    "side": ("users", "items", "both"),
    "rungs": ("auto", "none"),
    "device": ("cpu",),
    "threads": ("1", "2"),
    "small": ("0", "1", "2", "3"),
    "few": ("1", "2"),
    "number": ("0", "0.5", "1", "3.5"),
    "word": ("a", "u1", "popularity"),
    "path": ("ratings.csv", "model-als", "items.csv"),
    "new": ("made", "made/deep/model"),
    "checkpoint": ("kept", "empty"),
    "json": ("result.json", "made.json"),
    "lists": ("lists.csv", "lists.tsv", "lists.ndjson", "lists.parquet"),
    "vectors": ("vectors.parquet", "vectors.txt", "vectors.npz", "vectors"),
}  # fmt: skip

KINDS_OF_OPTIONS: dict[str, str] = {
    "--method": "method", "--task": "task", "--users": "users", "--items": "items", "--set": "setting", "--seed": "small",
    "--threads": "threads", "--device": "device", "--json": "json", "--k": "k", "evaluate --k": "lengths", "--out": "new",
    "recommend --out": "lists", "similar --out": "lists", "explain --out": "lists", "export --out": "vectors", "--save": "new",
    "--test": "test", "--negatives": "negatives", "--protocol": "protocol", "--folds": "folds", "--seeds": "few", "--test-share": "share",
    "--user": "user", "--item": "item", "--history": "item", "--metric": "metric", "--candidates": "candidates", "--deny": "deny",
    "--diversity": "share", "--columns": "columns", "--types": "types", "--use": "names", "--context": "context",
    "--item-text-from": "column", "--list-separator": "separator", "--positive-from": "number", "--min-per-user": "few",
    "--min-per-item": "few", "--config": "config", "fit --config": "fit.toml", "--checkpoint": "checkpoint", "--checkpoint-every": "few",
    "--rungs": "rungs", "--to": "format", "--what": "side", "--from": "zip", "--base-url": "address",
}  # fmt: skip
OUTPUTS = ("--out", "--json", "--save")
SPARE = ("--checkpoint",)  # places of things that come and go
READ_AS = {"parquet": ".parquet", "numpy": ".npz", "word2vec": ".w2v"}  # what --to says of --out, whatever the name is
SELDOM = ("--placebo", "--seeds", "--user", "--all", "--history", "--item", "--audience")  # slow, or one of a kind of call
ENDLESS = ("--seeds", "--checkpoint-every")  # a large number here is long work that was asked for, and no fault


class Output(NamedTuple):
    """A place that is asked to be written, in which format, and whether it may as well stay empty."""

    place: Path
    ending: str
    spare: bool = False


@dataclass
class Word:
    """One word of a command line, and what it is: ``command``, ``option``, or a kind of value."""

    text: str
    kind: str


@dataclass(eq=False)
class Draft:
    """A command line in a folder of its own, on its way through mutations."""

    rng: np.random.Generator
    place: Path
    command: str
    words: list[Word]
    mutations: list[str] = field(default_factory=list)

    @property
    def argv(self) -> list[str]:
        """The words after ``recvec``; those that keep it off the network are put back."""
        kept = KEPT.get(self.command, ())
        words = [w.text for w in self.words]
        return [*words, *kept] if kept and len(words) > 1 and "--from" not in words else words

    def path(self, word: Word) -> Path | None:
        """Return what a value names in the folder, if it is there; not what is outside."""
        if word.kind in ("command", "option") or not word.text or len(word.text) > 200 or word.text.startswith("/"):
            return None
        path = self.place / word.text
        return path if "\0" not in word.text and (path.is_symlink() or path.exists()) else None


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Choose one of a sequence."""
    return choices[int(rng.integers(len(choices)))]


@dataclass(frozen=True)
class Option:
    """An argument or option of a command, as the application declares it."""

    word: str
    kind: str
    required: bool
    positional: bool
    flag: bool


class Application:
    """Commands and options as the installed application has them, and the calls of `CALLS` that they allow."""

    def __init__(self) -> None:
        self.root: Any = get_command(app)
        self.commands: dict[str, Any] = self.root.commands
        self.options = {name: _options(name, command) for name, command in self.commands.items()}
        VALUES["command"], VALUES["method"] = tuple(self.commands), tuple(registry.names())
        VALUES["model"] = tuple(f"model-{kind}" for kind in (*registry.names(), "bare", "rating", "forgetful"))
        self.calls = [(weight, call.split()) for weight, call in CALLS if self._has(call.split())]
        called = {call[0] for _, call in self.calls if call}
        self.calls += [(2, _usual_call(name, options)) for name, options in self.options.items() if name not in called]
        weights = np.array([weight for weight, _ in self.calls])
        self._chances = weights / weights.sum()

    def draft(self, rng: np.random.Generator, place: Path) -> Draft:
        """Return a call that makes sense, with up to three more options."""
        call = self.calls[int(rng.choice(len(self.calls), p=self._chances))][1]
        words, command = [], ""
        for at, word in enumerate(call):
            kind = self._kind(call, at)
            words.append(Word(pick(rng, VALUES[kind]) if word.startswith("{") else word, kind))
            command = command or words[0].text
        draft = Draft(rng, place, command if command in self.commands else "(none)", words)
        for _ in range(int(rng.choice([0, 0, 1, 1, 2, 3]))):
            self.add_option(draft)
        return draft

    def add_option(self, draft: Draft) -> None:
        """Add an option of the command with a value that makes sense."""
        mine = [o for o in self.options.get(draft.command, []) if not o.positional]
        if not mine:
            return
        option = pick(draft.rng, mine)
        if option.word in SELDOM and draft.rng.random() < 0.9:
            return
        draft.words.append(Word(option.word, "option"))
        if not option.flag:
            draft.words.append(Word(pick(draft.rng, VALUES[option.kind]), option.kind))

    def outputs(self, argv: list[str]) -> list[Output]:
        """Return what a command line asks to be written."""
        argv = argv[1:] if argv[:1] == ["--"] else argv
        if not argv or argv[0] not in self.commands or "--help" in argv:
            return []
        command = self.commands[argv[0]]
        params = command.make_context(argv[0], list(argv[1:]), resilient_parsing=True).params
        asked = [(o, params.get(p.name)) for p in command.params for o in p.opts if o in (*OUTPUTS, *SPARE)]
        return [
            Output(Path(place), self._format(option, Path(place), params), option in SPARE) for option, place in asked if place is not None
        ]

    def _format(self, option: str, place: Path, params: dict[str, Any]) -> str:
        """Return the ending of the format in which an output is written."""
        return ".json" if option == "--json" else READ_AS.get(params.get("to"), place.suffix)

    def _has(self, call: list[str]) -> bool:
        if not call or call[0].startswith(("-", "{")):
            return True
        known = {o.word for o in self.options.get(call[0], [])} | {"--help"}
        return call[0] in self.commands and all(w in known for w in call if w.startswith("--"))

    def _kind(self, call: list[str], at: int) -> str:
        word, before = call[at], call[at - 1] if at else ""
        if word.startswith("{"):
            return word.strip("{}")
        if at == 0 or word.startswith("--"):
            return "option" if at else "command"
        options = {o.word: o.kind for o in self.options[call[0]]}
        return options.get(before, "path")


def _options(name: str, command: Any) -> list[Option]:
    types = {n: p.annotation for n, p in inspect.signature(command.callback).parameters.items()}
    found = []
    for parameter in command.params:
        positional, held = parameter.param_type_name == "argument", _types(types.get(parameter.name))
        for word in (*parameter.opts, *parameter.secondary_opts):
            kind = KINDS_OF_OPTIONS.get(f"{name} {word}") or KINDS_OF_OPTIONS.get(word) or _kind_of(held)
            if kind not in VALUES:
                VALUES[kind] = (kind,)
            found.append(Option(word, kind, parameter.required, positional, not positional and bool in held))
    return found


def _types(annotation: Any) -> set[Any]:
    inner = get_args(annotation)
    return {annotation} if not inner else set().union(*(_types(part) for part in inner if isinstance(part, type) or get_args(part)))


def _kind_of(held: set[Any]) -> str:
    return next((kind for kind, t in (("path", Path), ("small", int), ("number", float)) if t in held), "word")


def _usual_call(name: str, options: list[Option]) -> list[str]:
    call = [name]
    for option in options:
        if option.required:
            call += [f"{{{option.kind}}}"] if option.positional else [option.word, f"{{{option.kind}}}"]
    return call

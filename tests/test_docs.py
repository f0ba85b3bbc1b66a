"""Documents that lie fail: examples and commands are run, links followed, and names compared with the code.

Each rule is a function from text to complaints, so that a planted lie can be shown to it.
"""

import contextlib
import importlib
import inspect
import io
import itertools
import json
import pkgutil
import re
import runpy
import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer

import recvec as rv
from recvec.artifact.export import FORMATS
from recvec.cli.main import app, main
from recvec.cli.reading import told
from recvec.data.protocols import PROTOCOLS
from recvec.data.synthetic import sample_tables
from recvec.kernels.metrics import RANKING
from recvec.models import registry
from recvec.retrieval.recommender import ROUTES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "recvec"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs/decisions").glob("0*.md"))
TOLERANCE = 0.02  # of fractions in shown output: two BLAS libraries may rank a few users differently
OUR_FLOORS = ("src", "tests", "docs", "benchmarks", ".ci", *(p.name for p in PACKAGE.iterdir()))

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))


# ---------------------------------------------------------------- reading a document


@dataclass(frozen=True)
class Block:
    """A fenced block, and the ``text`` block directly under it: what it prints."""

    language: str
    content: str
    line: int
    shown: str | None = None


def blocks(text: str) -> list[Block]:
    fences = list(re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    found = []
    for fence, below in itertools.zip_longest(fences, fences[1:]):
        attached = below is not None and below[1] == "text" and not text[fence.end() : below.start()].strip()
        found.append(Block(fence[1], fence[2], text.count("\n", 0, fence.start(2)), below[2] if attached else None))
    return found


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(text))


def section(text: str, heading: str) -> str:
    """Return what stands between a heading and the next one of its level or above."""
    level = heading.split(" ", 1)[0]
    found = re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading '{heading}'"
    return found[1]


def first_column(table: str, header: str) -> list[str]:
    """Return the code words of the first column of the table whose header begins with a word."""
    rows = re.search(rf"^\| {header} \|.*\n\|[-|]+\|\n((?:\|.*\n?)+)", table, re.MULTILINE)
    assert rows, f"there is no table of '{header}'"
    return re.findall(r"^\| `([^`]+)`", rows[1], re.MULTILINE)


def with_language(*languages: str) -> Any:
    having = [p for p in DOCUMENTS if any(b.language in languages for b in blocks(p.read_text()))]
    return pytest.mark.parametrize("path", having, ids=lambda p: str(p.relative_to(ROOT)))


def same_output(shown: str, printed: str) -> bool:
    """Compare words exactly and fractions within the tolerance; the frames of tables are no words."""
    left, right = (re.sub(r"[^\x00-\x7f]", " ", text).split() for text in (shown, printed))
    return len(left) == len(right) and all(map(_same_word, left, right))


def _same_word(a: str, b: str) -> bool:
    fraction = r"-?\d+\.\d+"
    if re.sub(fraction, "#", a) != re.sub(fraction, "#", b):
        return False
    pairs = zip(re.findall(fraction, a), re.findall(fraction, b), strict=True)
    return all(abs(float(x) - float(y)) <= TOLERANCE for x, y in pairs)


# ---------------------------------------------------------------- examples


@with_language("python")
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": f"example_of_{path.stem}"}
    for block in blocks(path.read_text()):
        if block.language != "python":
            continue
        printed = io.StringIO()
        place = "\n" * block.line + block.content  # so that a traceback names the line of the document
        with contextlib.redirect_stdout(printed):
            exec(compile(place, str(path), "exec"), names)  # noqa: S102  the documents are ours
        if block.shown is not None:
            assert same_output(block.shown, printed.getvalue()), f"{path.name}:{block.line} prints\n{printed.getvalue()}"


def test_the_three_pages_with_examples_have_some() -> None:
    for name, n in (("README.md", 1), ("CONTRIBUTING.md", 2), ("docs/tour.md", 10)):
        assert sum(b.language == "python" for b in blocks((ROOT / name).read_text())) >= n


def test_the_first_example_is_short() -> None:
    first = next(b for b in blocks((ROOT / "README.md").read_text()) if b.language == "python")
    assert first.content.count("\n") <= 12


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("u1 0.381\n", "u1  0.382", True),
        ("u1 0.381", "u1 0.481", False),
        ("u1 0.381", "u2 0.381", False),
        ("│ a ┆ 3 │", "│ a    ┆ 3 │", True),
        ("1,000 users", "1,001 users", False),
        ("[0.352,", "[0.353,", True),
        ("a b", "a", False),
    ],
)
def test_shown_output_is_compared(shown: str, printed: str, *, expected: bool) -> None:
    assert same_output(shown, printed) == expected


# ---------------------------------------------------------------- commands


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documents name: a small sample, one cut of it, negatives, what came later, what is denied."""
    monkeypatch.chdir(tmp_path)
    for table, name in zip(sample_tables(n_users=60, n_items=80, mean_history=12), ("ratings", "users", "items"), strict=True):
        table.write_csv(f"{name}.csv")
    ratings = pl.read_csv("ratings.csv")
    test = ratings.group_by("user_id", maintain_order=True).last()
    test.write_csv("test.csv")
    ratings.join(test, on=["user_id", "item_id"], how="anti").write_csv("train.csv")
    negatives = pl.DataFrame({"negative_item_id": [f"i{i}" for i in range(1, 31)]})
    test.select("user_id").join(negatives, how="cross").write_csv("negatives.csv")
    later = pl.DataFrame({"user_id": ["u1", "newcomer"], "item_id": ["i5", "i7"], "rating": [4.0, 5.0], "timestamp": [1700000000] * 2})
    later.write_csv("later.csv")
    pl.DataFrame({"item_id": ["i1", "i2"]}).write_csv("denied.csv")
    return tmp_path


def run_command(line: str) -> tuple[int, str]:
    """Run one command line in this process; return the exit code and what it printed."""
    before, printed = sys.argv, io.StringIO()
    sys.argv = shlex.split(line)
    try:
        with contextlib.redirect_stdout(printed):
            main()
        code: Any = 0
    except SystemExit as leave:
        code = leave.code
    finally:
        sys.argv = before
    return int(code or 0), printed.getvalue()


@with_language("sh")
def test_commands_run(path: Path, tables: Path) -> None:
    for block in blocks(path.read_text()):
        if block.language == "toml":
            (tables / "settings.toml").write_text(block.content)  # the name that the documents give it
        if block.language != "sh":
            continue
        printed = ""
        for line in block.content.splitlines():
            if line.startswith("make "):
                continue  # `unknown_words` compares them with the Makefile
            assert line.startswith("recvec "), f"{path.name}: {line}"
            code, printed = run_command(line)
            assert code == 0, f"{path.name}: {line} ended with {code}"
        if block.shown is not None:
            assert same_output(block.shown, printed), f"{path.name}:{block.line} prints\n{printed}"


def test_a_wrong_command_ends_as_the_tour_says(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("recvec fit nothing.csv --method als --out model")[0] == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert run_command("recvec fit ratings.csv")[0] == 2


def command_complaints(text: str) -> list[str]:
    """Return what is wrong with the verbs and options of `recvec` and `make` in code spans and shell blocks."""
    lines = [line for b in blocks(text) if b.language == "sh" for line in b.content.splitlines()]
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    found = []
    for line in [*lines, *code_spans(text)]:
        program, _, rest = line.partition(" ")
        words = rest.split()
        if program == "make" and words[0] not in targets:
            found.append(f"{line}: the Makefile has no '{words[0]}'")
        if program == "recvec" and words[0] not in verbs:
            found.append(f"{line}: there is no command '{words[0]}'")
        elif program == "recvec":
            options = {o for p in verbs[words[0]].params for o in _words(p)} | {"--help"}
            found += [f"{line}: {words[0]} has no {w}" for w in words if w.startswith("--") and w not in options]
        elif program.startswith("--") and program not in {"--help", *(o for v in verbs.values() for p in v.params for o in _words(p))}:
            found.append(f"{line}: no command has it")
    return found


def _words(parameter: Any) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


@every_document
def test_commands_exist(path: Path) -> None:
    assert command_complaints(path.read_text()) == []


@pytest.mark.parametrize("lie", ["`make coffee`", "`recvec dance`", "`recvec fit --dance`", "`--dance`", "```sh\nrecvec dance\n```\n"])
def test_a_planted_command_is_named(lie: str) -> None:
    assert len(command_complaints(lie)) == 1


# ---------------------------------------------------------------- links, files, names


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


def link_complaints(text: str, folder: Path) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)]+)\)", prose(text)):
        file, _, anchor = target.partition("#")
        place = (folder / file).resolve()
        if target.startswith("https://"):
            continue
        if not place.exists() or ROOT not in place.parents:
            found.append(f"{target} does not exist")
        elif anchor and anchor not in anchors(place):
            found.append(f"{target}: no such heading")
    return found


@every_document
def test_links_lead_somewhere(path: Path) -> None:
    assert link_complaints(path.read_text(), path.parent) == []


@pytest.mark.parametrize("lie", ["[a](nothing.md)", "[a](README.md#nothing)", "[a](/etc/hosts)"])
def test_a_planted_link_is_named(lie: str) -> None:
    assert len(link_complaints(lie, ROOT)) == 1


def file_complaints(text: str) -> list[str]:
    """Return the code spans that look like a file of this project and are none."""
    found = []
    for span in code_spans(text):
        ours = re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", span) and span.split("/")[0] in OUR_FLOORS
        named = re.fullmatch(r"[\w./-]+\.(py|md|toml)|constraints\.txt|Makefile", span)
        if (ours or named) and not any((root / span).exists() for root in (ROOT, PACKAGE)):
            found.append(f"{span} does not exist")
    return found


@every_document
def test_files_exist(path: Path) -> None:
    assert file_complaints(path.read_text()) == []


@pytest.mark.parametrize("lie", ["`src/recvec/nothing`", "`kernels/nothing.py`", "`nothing.md`", "`docs/nothing/`"])
def test_a_planted_file_is_named(lie: str) -> None:
    assert len(file_complaints(lie)) == 1


def classes() -> dict[str, Any]:
    """Return every class of the package by its name."""
    modules = (importlib.import_module(m.name) for m in pkgutil.walk_packages(rv.__path__, "recvec."))
    return {name: thing for module in modules for name, thing in vars(module).items() if inspect.isclass(thing)}


def name_complaints(text: str, known: dict[str, Any]) -> list[str]:
    """Return public names, dotted paths and classes that do not exist."""
    found = [f"rv.{name}" for name in re.findall(r"\brv\.(\w+)", text) if name not in {*rv.__all__, "__version__"}]
    found += [dotted for dotted in re.findall(r"\brecvec(?:\.[A-Za-z_]\w*)+", text) if not _resolves(dotted)]
    own = set(re.findall(r"^class (\w+)", text, re.MULTILINE))
    for span in code_spans(text):
        match = re.fullmatch(r"([A-Z]\w*[a-z]\w*)(?:\.(\w+))?(?:\(.*\))?", span)
        if match is None or match[1] in own or (match[1] == "Makefile"):
            continue
        thing, attribute = known.get(match[1]), match[2]
        if thing is None or (attribute and not hasattr(thing, attribute) and attribute not in getattr(thing, "__annotations__", {})):
            found.append(span)
    return found


def _resolves(dotted: str) -> bool:
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            if not hasattr(thing, name):
                return False
            thing = getattr(thing, name)
        return True
    return False


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    return classes()


@every_document
def test_names_exist(path: Path, known: dict[str, Any]) -> None:
    assert name_complaints(path.read_text(), known) == []


@pytest.mark.parametrize("lie", ["rv.dance()", "from recvec.kernels.dance import x", "`Dancer`", "`Model.dance`", "`Dancer(k=3)`"])
def test_a_planted_name_is_named(lie: str, known: dict[str, Any]) -> None:
    assert len(name_complaints(lie, known)) == 1


# ---------------------------------------------------------------- lists that the code knows better


README = (ROOT / "README.md").read_text()
TODAY = section(README, "## What works today")


def test_the_methods_are_those_of_the_registry() -> None:
    assert first_column(TODAY, "method") == registry.names()
    rows = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| ([\w, ]+) \|", TODAY, re.MULTILINE)
    assert [(n, c, t.split(", ")) for n, c, t in rows] == [
        (n, registry.method_class(n).__name__, list(registry.method_class(n).tasks)) for n in registry.names()
    ]


def test_protocols_and_routes_are_those_of_the_code() -> None:
    named = next(line for line in TODAY.splitlines() if line.startswith("Protocols: ")).partition(", a test table")[0]
    assert code_spans(named) == [*PROTOCOLS, "given"]
    assert first_column((ROOT / "docs/evaluation.md").read_text(), "protocol") == [*PROTOCOLS, "given"]
    assert first_column(TODAY, "route") == list(ROUTES)


def commands() -> list[str]:
    return [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]


def test_the_commands_are_those_of_the_code() -> None:
    listed = next(line for line in TODAY.splitlines() if line.startswith("Commands: "))
    assert code_spans(listed) == commands()


def test_what_is_planned_is_not_there_yet() -> None:
    planned = TODAY.split("Not there yet:")[1]
    there = {*registry.names(), *PROTOCOLS, *commands()}
    promised = [w for line in planned.splitlines() if line.startswith(("- Methods", "- Commands", "- Protocols")) for w in code_spans(line)]
    assert promised
    assert set(promised) & there == set()


def test_the_rooms_are_the_folders() -> None:
    listed = first_column(section((ROOT / "CONTRIBUTING.md").read_text(), "## Map of the house"), "room")
    there = [p for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    assert sorted(listed) == sorted(p.name for p in there if p.name != "__init__.py")


def test_the_glossary_has_every_metric() -> None:
    listed = first_column(section((ROOT / "docs/glossary.md").read_text(), "## Metrics"), "name")
    beyond = ["auc", *(f"{name}@k" for name in ("novelty", "popularity_lift", "coverage", "gini"))]
    assert listed == [*(f"{name}@k" for name in RANKING), *beyond, "logloss", "rmse", "mae"]


def test_the_evaluation_page_has_every_count() -> None:
    split = rv.split(rv.sample(n_users=30, n_items=40, mean_history=8))
    counts = rv.evaluate(rv.Popularity().fit(split.train), split).counts
    assert first_column((ROOT / "docs/evaluation.md").read_text(), "count") == list(counts)


def test_the_artifact_page_has_every_file_and_field(tmp_path: Path) -> None:
    text = (ROOT / "docs/artifact.md").read_text()
    data = rv.sample(n_users=30, n_items=40, mean_history=8)
    who = rv.Recommender(rv.Popularity().fit(data), data)
    rv.save(who, tmp_path / "model")
    rv.save(who, tmp_path / "given away", histories=False)
    spans = set(code_spans(text))
    with_them, without = ({p.name for p in (tmp_path / name).iterdir() if p.is_file()} for name in ("model", "given away"))
    assert with_them <= spans
    assert with_them - without == {"histories.safetensors"}
    assert set(pl.read_json(tmp_path / "model" / "manifest.json").columns) <= spans


def test_the_artifact_page_has_every_export() -> None:
    text = section((ROOT / "docs/artifact.md").read_text(), "## Exports")
    assert first_column(text, "format") == list(FORMATS)


def test_the_reading_page_has_every_option() -> None:
    listed = first_column(section((ROOT / "docs/reading.md").read_text(), "## Options"), "option")
    shared = list(inspect.signature(told).parameters)
    assert [word.removeprefix("--").replace("-", "_") for word in listed] == shared
    assert set(shared) - {"config"} == set(inspect.signature(rv.read).parameters) - {"interactions"}


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [d for name, group in project["project"]["optional-dependencies"].items() if name != "all" for d in group]
    groups = [project["project"]["dependencies"], extras, project["dependency-groups"]["dev"], project["build-system"]["requires"]]
    wanted = {re.match(r"[\w-]+", d)[0] for group in groups for d in group}  # type: ignore[index]
    lines = re.findall(r"^- (`.*?):", section((ROOT / "CHANGELOG.md").read_text(), "### Dependencies, and why"), re.MULTILINE)
    reasons = {name for line in lines for name in code_spans(line.partition("(")[0])}  # an extra stands in brackets
    assert reasons == wanted


def test_decisions_have_their_form() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text()
    assert [f"{p.stem[:4]}]({p.name})" for p in DECISIONS] == re.findall(r"\| \[(\d{4}\]\([^)]+\))", index)
    for path in DECISIONS:
        text = path.read_text()
        assert text.startswith(f"# {path.stem[:4]}: ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
        assert text.count("\n") < 40


def test_the_readme_stays_short() -> None:
    assert README.count("\n") < 150


def result(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / name).read_text())


def test_the_measured_figures_are_those_of_the_result_files() -> None:
    """The table in the README holds the figures of the committed results, rounded."""
    lists = result("speed/results/topk.json")["als"]
    epoch = result("speed/results/als.json")["synthetic"]["implicit"]["d64"]
    large = result("speed/results/scale.json")["fits"][-1]
    figures = [
        f"{lists['recvec']['median_s']:.2f} s | implicit {lists['implicit']['median_s']:.2f} s; faiss {lists['faiss_without_exclusion']['median_s']:.2f} s",
        f"{epoch['ours']['median_s']:.2f} s | implicit {epoch['implicit']['median_s']:.2f} s",
        f"d 64, {large['epochs']} epochs | {large['command_seconds']:.0f} s, peak {large['peak_memory_gb']:.1f} GB | {large['state']}",
    ]
    measured = section(README, "## Measured").replace(" 0.", " .")
    for figure in figures:
        assert f" {figure}".replace(" 0.", " .") in measured, figure


def test_the_accuracies_are_those_of_the_result_files() -> None:
    made = runpy.run_path(str(ROOT / "benchmarks/accuracy/table.py"))
    for page, table in made["PAGES"].items():
        assert made["with_table"](page.read_text(), table()) == page.read_text()


def test_no_document_is_left_out() -> None:
    linked = {(p.parent / t.partition("#")[0]).resolve() for p in DOCUMENTS for t in re.findall(r"\]\(([^)]+)\)", prose(p.read_text()))}
    assert set(DOCUMENTS) - linked == {ROOT / "README.md"}

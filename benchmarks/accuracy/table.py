"""The tables of accuracies, made of the result files: one in the README, and one with times and memory beside the benchmarks.

::

    python benchmarks/accuracy/table.py            print both
    python benchmarks/accuracy/table.py --write    put them between the marks in README.md and benchmarks/README.md

A test compares the files with what this one makes.
"""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEGIN, END = "<!-- accuracy: made by benchmarks/accuracy/table.py -->", "<!-- end of accuracy -->"

Results = list[tuple[dict[str, Any], list[dict[str, Any]]]]


def results() -> Results:
    """Return each data set's protocol and the results on it, the best first."""
    found = []
    for folder in sorted(p for p in (HERE / "results").iterdir() if p.is_dir()):
        protocol = tomllib.loads((HERE / folder.name / "protocol.toml").read_text())
        rows = [{**json.loads(path.read_text()), "settings": path.stem} for path in folder.glob("*.json")]
        rows.sort(key=lambda r: (-r["metrics"][protocol["show"][-1]], r["settings"]))
        found.append((protocol, rows[::-1] if protocol["show"][0] == "rmse" else rows))
    return found


def summary() -> str:
    """Return a row for each settings, a column for each data set, those left out whose protocol says ``summary = false``."""
    found = [(protocol, rows) for protocol, rows in results() if protocol.get("summary", True)]
    lines = [
        "| settings | " + " | ".join(f"{p['short']}: {', '.join(p['show'])}" for p, _ in found) + " |",
        "|---" * (len(found) + 1) + "|",
    ]
    for settings in sorted({row["settings"] for _, rows in found for row in rows}):
        cells = (" ".join(_figures(protocol, r) for r in rows if r["settings"] == settings) for protocol, rows in found)
        lines.append(f"| `{settings}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def details() -> str:
    """Return a row for each result file, with time and memory."""
    lines = ["| data | settings | figures | fit | memory |", "|---|---|---|---|---|"]
    for protocol, rows in results():
        names = ", ".join(protocol["show"])
        for row in rows:
            cost = f"{_seconds(row['fit_seconds'])} | {row['peak_memory_mb'] / 1000:.1f} GB"
            lines.append(f"| {protocol['title']} | `{row['settings']}` | {names} {_figures(protocol, row)} | {cost} |")
    return "\n".join(lines)


def _figures(protocol: dict[str, Any], result: dict[str, Any]) -> str:
    digits = 3 if protocol["show"][0] == "rmse" else 4
    return ", ".join(f"{result['metrics'][name]:.{digits}f}".removeprefix("0") for name in protocol["show"])


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def with_table(text: str, table: str) -> str:
    """Return the text of a page with the table as the result files have it."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}"


PAGES = {ROOT / "README.md": summary, ROOT / "benchmarks/README.md": details}


def main() -> None:
    """Print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the pages")
    write = parser.parse_args().write
    for page, made in PAGES.items():
        if write:
            page.write_text(with_table(page.read_text(), made()))
        else:
            print(made(), end="\n\n")


if __name__ == "__main__":
    main()

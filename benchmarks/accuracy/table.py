"""The README's table of accuracies, made of the result files.

::

    python benchmarks/accuracy/table.py            print it
    python benchmarks/accuracy/table.py --write    put it between the marks in the README

A test compares the README with what this file makes.
"""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
BEGIN, END = "<!-- accuracy: made by benchmarks/accuracy/table.py -->", "<!-- end of accuracy -->"


def table() -> str:
    """Return the table in Markdown: a row for each result file."""
    lines = ["| data | settings | figures | fit | memory |", "|---|---|---|---|---|"]
    for folder in sorted(p for p in (HERE / "results").iterdir() if p.is_dir()):
        protocol = tomllib.loads((HERE / folder.name / "protocol.toml").read_text())
        rows = [{**json.loads(path.read_text()), "settings": path.stem} for path in sorted(folder.glob("*.json"))]
        best_last = sorted(rows, key=lambda r: r["metrics"][protocol["show"][-1]], reverse=protocol["show"][0] == "rmse")
        lines += [_row(protocol, r) for r in best_last]
    return "\n".join(lines)


def _row(protocol: dict[str, Any], result: dict[str, Any]) -> str:
    digits = 3 if protocol["show"][0] == "rmse" else 4
    figures = ", ".join(f"{name} {result['metrics'][name]:.{digits}f}".replace(" 0.", " .") for name in protocol["show"])
    memory = f"{result['peak_memory_mb'] / 1000:.1f} GB"
    return f"| {protocol['title']} | `{result['settings']}` | {figures} | {_seconds(result['fit_seconds'])} | {memory} |"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def with_table(text: str) -> str:
    """Return the README's text with the table as the result files have it."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the README")
    if parser.parse_args().write:
        README.write_text(with_table(README.read_text()))
    else:
        print(table())


if __name__ == "__main__":
    main()

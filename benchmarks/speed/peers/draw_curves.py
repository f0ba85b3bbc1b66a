"""Draw loss against wall time; runs in the peers' environment (matplotlib): ``draw_curves.py RESULT.json PICTURE.svg``."""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

COLUMNS = 3


def main(source: Path, target: Path) -> None:
    """Draw one panel for each objective and width: the loss over the least one of the panel, less 1."""
    panels = json.loads(source.read_text())["panels"]
    mpl.rcParams["svg.hashsalt"] = "recvec"  # the same picture for the same numbers
    rows = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 3.2 * rows), layout="constrained", squeeze=False)
    for ax, panel in zip(axes.flat, panels, strict=False):
        least = min(min(curve["loss"]) for curve in panel["curves"].values())
        for name, curve in panel["curves"].items():
            style = "-" if name.startswith("recvec") else "--"
            ax.plot(curve["seconds"], [value / least - 1 for value in curve["loss"]], style, marker=".", label=name)
        ax.set(xscale="log", xlabel="seconds", ylabel="loss over the least, less 1", title=panel["title"])
        ax.set_yscale("symlog", linthresh=1e-3)
        ax.set_ylim(bottom=0)
        ax.legend(fontsize=7)
        ax.title.set_fontsize(9)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

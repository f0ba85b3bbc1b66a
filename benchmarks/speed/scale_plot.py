"""The table and the plot of ``scale.py``: time of an epoch and peak memory over the number of interactions.

::

    python -m venv PLOTS && PLOTS/bin/pip install -r benchmarks/speed/plot_requirements.txt
    PLOTS/bin/python benchmarks/speed/scale_plot.py
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Print the table and draw ``results/scale.svg``."""
    fits = json.loads((RESULTS / "scale.json").read_text())["fits"]
    fits = [f for f in fits if f["epoch_seconds"]]
    print("| rows | users | items | read s | epoch s | ns per row and epoch | peak GB |\n|---|---|---|---|---|---|---|")
    for f in fits:
        n = f["n_interactions"]
        sizes = f"{n:,} | {f['n_users']:,} | {f['n_items']:,}"
        print(f"| {sizes} | {f['read_seconds']} | {f['epoch_seconds']} | {f['epoch_seconds'] / n * 1e9:.0f} | {f['peak_memory_gb']} |")
    rows = [f["n_interactions"] / 1e6 for f in fits]
    plt.rcParams["svg.hashsalt"] = "recvec"
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for axis, name, label in zip(axes, ("epoch_seconds", "peak_memory_gb"), ("seconds an epoch", "peak memory, GB"), strict=True):
        values = [f[name] for f in fits]
        axis.loglog(rows, values, "o-")
        axis.loglog(rows, [values[-1] * r / rows[-1] for r in rows], ":", color="gray", label="proportional to rows")
        axis.set(xlabel="million rows", ylabel=label)
        axis.legend(frameon=False)
    figure.suptitle("recvec fit --method als, d 64, two threads")
    figure.tight_layout()
    figure.savefig(RESULTS / "scale.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()

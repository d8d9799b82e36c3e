"""Draws the figure of the page on DARK: ``python docs/build/dark.py`` writes ``docs/explanation/dark.svg``."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from hpi.kernels.heatmaps import decode_dark, decode_quarter, heatmap_peaks

TRUE, SIGMA = 5.4, 1.0
TARGET = Path(__file__).parents[1] / "explanation" / "dark.svg"


def main() -> None:
    """One row of a heatmap, and what each decoder makes of it."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "hpi", "font.size": 9})
    y, x = np.mgrid[:12, :12]
    heatmap = np.exp(-((x - TRUE) ** 2 + (y - 5) ** 2) / (2 * SIGMA**2)).astype(np.float32)[None, None]
    fine = np.linspace(1, 10, 181)
    figure, axes = plt.subplots(figsize=(5.2, 2.6), layout="constrained")
    sampled = np.exp(-((fine - TRUE) ** 2) / (2 * SIGMA**2))
    axes.plot(fine, sampled, color="0.6", linewidth=1, label="what the cells sample")
    axes.plot(x[0], heatmap[0, 0, 5], "o", color="0.2", markersize=4, label="cells")
    decoders = (("argmax", heatmap_peaks, "C3"), ("quarter", decode_quarter, "C1"), ("DARK", decode_dark, "C2"))
    for name, decode, color in decoders:
        place = float(decode(heatmap)[0][0, 0, 0])
        axes.axvline(place, color=color, linewidth=1.5, label=f"{name}: {place:.2f}")
    axes.set(xlim=(2, 10), xlabel=f"cell of the heatmap; the keypoint is at {TRUE}", ylabel="score")
    axes.legend(frameon=False, loc="upper right")
    figure.savefig(TARGET, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()

"""Plots of training curves, loops and latent codes, for reports."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rtgen.music.note import Loop
from rtgen.music.time import PPQN
from rtgen.whole import written

# Figures are only saved, so no window system is needed.
mpl.use("Agg")
_INK, _PAPER, _FAINT = "#d8dde6", "#14161b", "#2b303a"
_LINES = ("#6cb6ff", "#ffb454", "#7ce38b", "#ff7b9c", "#c8a2ff", "#56d4dd", "#e3d26f", "#b5b5b5")
# `Any`, since matplotlib checks the names of its settings at run time.
_STYLE: Any = {
    "figure.facecolor": _PAPER,
    "savefig.facecolor": _PAPER,
    "axes.facecolor": _PAPER,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9,
    "axes.titlecolor": _INK,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=_LINES),
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "font.size": 8,
    "legend.frameon": False,
}
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Steps and values of each curve, by name."""
_COLOURS = mpl.colormaps["viridis"]


def png(figure: Figure) -> bytes:
    """Renders a figure as PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return out.getvalue()


def embedded(picture: bytes) -> str:
    """Encodes a PNG as a data URI, so that the page needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def curves(panels: Mapping[str, Series]) -> bytes:
    """Plots curves over steps, one panel per group."""
    with mpl.rc_context(_STYLE):
        columns = min(len(panels), 3)
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(4.2 * columns, 2.6 * rows), layout="constrained")
        for place, (title, series) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(rows, columns, place)
            for name, (steps, values) in series.items():
                axes.plot(steps, values, label=name, linewidth=1.3, marker="." if len(steps) < 30 else None)
            axes.set_title(title)
            axes.set_xlabel("step")
            if len(series) > 1:
                axes.legend()
        return png(figure)


def rolls(grid: Sequence[Sequence[tuple[str, Loop]]]) -> bytes:
    """Plots loops as piano rolls with titles, in rows; all loops of a row have the same pitch axis."""
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
        columns = max(map(len, grid))
        figure = Figure(figsize=(13, 1.55 * len(grid) + 0.2), layout="constrained")
        for y, row in enumerate(grid):
            pitches = [n.pitch for _, loop in row for n in loop.notes] or [60]
            low, high = min(pitches) - 2, max(max(pitches) + 2, min(pitches) + 10)
            for x, (title, loop) in enumerate(row):
                axes = figure.add_subplot(len(grid), columns, y * columns + x + 1)
                _roll(axes, loop, low, high)
                axes.set_title(title)
        return png(figure)


def _roll(axes: Axes, loop: Loop, low: int, high: int) -> None:
    for beat in range(loop.length // PPQN + 1):
        heavy = beat * PPQN % loop.bar == 0
        axes.axvline(beat, color=_FAINT, linewidth=1.4 if heavy else 0.5, zorder=0)
    for note in loop.notes:
        colour = _COLOURS(0.3 + 0.7 * note.velocity / 127)
        axes.barh(note.pitch, note.duration / PPQN - 0.03, left=note.onset / PPQN, height=0.85, color=colour)
    axes.set_xlim(-0.1, loop.length / PPQN)
    axes.set_ylim(low, high)
    axes.set_xticks([])
    octaves = [p for p in range(low, high) if p % 12 == 0]
    axes.set_yticks(octaves, [f"C{p // 12 - 2}" for p in octaves])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def map_of(codes: NDArray[np.float32], colours: Mapping[str, Sequence[str] | Sequence[float]]) -> bytes:
    """Plots latent codes, shape (loops, latents), on their first two principal components (Pearson, 1901).

    Draws one panel per colouring.
    """
    centred = codes - codes.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ directions[:2].T
    share = (spread[:2] ** 2).sum() / max((spread**2).sum(), 1e-12)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(13, 4), layout="constrained")
        for place, (title, values) in enumerate(colours.items(), 1):
            axes = figure.add_subplot(1, len(colours), place)
            if isinstance(values[0], str):
                for name in sorted(set(map(str, values))):
                    own = flat[[v == name for v in values]]
                    axes.scatter(own[:, 0], own[:, 1] if flat.shape[1] > 1 else 0 * own[:, 0], s=5, label=name)
                axes.legend(markerscale=2, fontsize=6, ncols=2)
            else:
                dots = axes.scatter(flat[:, 0], flat[:, -1], s=5, c=values, cmap="viridis")
                figure.colorbar(dots, ax=axes)
            axes.set_title(f"{title} ({share:.0%} of the variance)")
        return png(figure)


def save(picture: bytes, path: Path) -> None:
    """Writes a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as partial:
        partial.write_bytes(picture)

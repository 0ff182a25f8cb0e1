"""Where functions fail: the inputs of rows that were kept and of rows that were not."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import pandas as pd

from causalkit.errors import CausalkitError
from causalkit.plots.style import BLUE, VERMILION, axes_to_draw_on, axis_label, strip_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_failures(traces: pd.DataFrame, x: str, y: str, *, ax: Axes | None = None) -> Axes:
    """Draw collected rows over two inputs, the failed ones marked by what they raised.

    Parameters
    ----------
    traces : pandas.DataFrame
        As `collect_traces` returns it: its ``attrs["failures"]`` holds the inputs of each failed call.
    x, y : str
        Inputs of the function that failed; nodes of the table.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    CausalkitError
        If `x` or `y` is no column of the table.

    Examples
    --------
    >>> table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    >>> plot_failures(table, "a", "b").get_xlabel()
    'a'
    """
    for name in (x, y):
        if name not in traces:
            known = ", ".join(map(repr, traces))
            raise CausalkitError(f"{name!r} is no column of the table; it has {known}", column=name)
    failures = [row for row in traces.attrs.get("failures", ()) if {x, y} <= set(row["inputs"])]
    ax = axes_to_draw_on(ax, width=6.0, height=4.5)
    ax.plot(traces[x], traces[y], linestyle="", marker=".", color=BLUE, alpha=0.4, label=f"kept ({len(traces)})")
    for name, marker in zip(dict.fromkeys(row["exception"] for row in failures), cycle("x+1234"), strict=False):
        inputs = [row["inputs"] for row in failures if row["exception"] == name]
        ax.plot(
            [row[x] for row in inputs], [row[y] for row in inputs],
            linestyle="", marker=marker, color=VERMILION, label=f"{name} ({len(inputs)})",
        )  # fmt: skip
    ax.set(xlabel=axis_label(x), ylabel=axis_label(y), title=f"Where {len(failures)} rows failed")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    strip_spines(ax)
    return ax

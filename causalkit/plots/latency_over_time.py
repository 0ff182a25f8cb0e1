"""How long runs took, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import dates

from causalkit.plots import style
from causalkit.wording import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (
    style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.BLACK, style.PURPLE, style.SKY, style.GREY,
)  # fmt: skip
_LOOKS = list(zip(_COLOURS, "os^DvPX*", ("-", "-.", ":", (0, (8, 2))) * 2, strict=True))
_MOST_CHARACTERS = 40


def plot_latency_over_time(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the median (thick) and the 95 % quantile (thin, dashed) of the latency in each bin of time.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `Traces.latency_over_time` returns it: ``time n median p95``; further columns are what it is grouped by.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Lines break where nothing ran. Of more than eight groups the eight with the most runs.

    Examples
    --------
    >>> times = pd.to_datetime(["2026-01-02T00:00Z", "2026-01-02T01:00Z"])
    >>> ax = plot_latency_over_time(pd.DataFrame({"time": times, "n": [9, 8], "median": [5.0, 6.0], "p95": [7.0, 9.0]}))
    >>> ax.get_title(), ax.get_ylabel()
    ('Latency over time, n = 17', 'latency (milliseconds)')
    """
    frame = frame.assign(time=pd.to_datetime(frame["time"], utc=True).dt.tz_localize(None))
    told = frame.attrs.get("every_s")
    width, groups = pd.Timedelta(seconds=told) if told else _bin_width(frame["time"]), _groups(frame)
    largest = sorted(range(len(groups)), key=lambda at: -groups[at][1]["n"].sum())[: len(_LOOKS)]
    ax = style.axes_to_draw_on(ax, width=9.0)
    for number, (colour, marker, line) in zip(sorted(largest), _LOOKS, strict=False):
        name, part = groups[number]
        part = _with_gaps(part, width)
        looks: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4.5}
        ax.plot(part.index, part["median"], linestyle=line, linewidth=1.8, label=f"{name}median", **looks)
        ax.plot(
            part.index, part["p95"], linestyle="--", linewidth=0.9, markerfacecolor="white", label=f"{name}p95", **looks
        )
    _scale_time(ax, frame["time"], width)
    fewer = f", {len(largest)} largest of {len(groups)} groups" if len(largest) < len(groups) else ""
    ax.set_ylabel("latency (milliseconds)")
    ax.set_ylim(bottom=0)
    ax.set_title(f"Latency over time, n = {frame['n'].sum()}{fewer}")
    if groups:
        legend = ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        for text in legend.get_texts():
            text.set_parse_math(False)
    style.strip_spines(ax)
    return ax


def _bin_width(times: pd.Series) -> pd.Timedelta:
    """Return the widest bins that all of these begin: bins in which nothing ran are not among them."""
    steps = times.drop_duplicates().sort_values().diff().dropna().to_numpy().astype("timedelta64[ns]")
    return pd.Timedelta(np.gcd.reduce(steps.astype(np.int64)), unit="ns") if len(steps) else pd.Timedelta("1h")


def _groups(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return what to write before the name of a line, and the rows."""
    names = [name for name in frame if name not in ("time", "n", "median", "p95")]
    if not names:
        return [("", frame)] if len(frame) else []
    parts = frame.groupby(names, dropna=False, observed=True)
    said = [", ".join(f"{name} = {value}" for name, value in zip(names, key, strict=True)) for key, _ in parts]
    return [(f"{one_line(text, _MOST_CHARACTERS)}: ", part) for text, (_, part) in zip(said, parts, strict=True)]


def _with_gaps(part: pd.DataFrame, width: pd.Timedelta) -> pd.DataFrame:
    """Return the bins by time, and an empty one wherever the line is to break."""
    part = part.set_index("time").sort_index()
    lines = part[["median", "p95"]].astype(float)
    lines[part["n"] == 0] = np.nan
    times = part.index
    return lines.reindex(times.union(times[:-1][np.diff(times) > width] + width))


def _scale_time(ax: Axes, times: pd.Series, width: pd.Timedelta) -> None:
    ax.set_xlabel("time (UTC), start of each bin")
    if times.empty:
        ax.set(xticks=[], yticks=[])
        ax.annotate("nothing ran", (0.5, 0.5), xycoords="axes fraction", ha="center")
        return
    locator = dates.AutoDateLocator(tz="UTC")  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz="UTC"))  # type: ignore[no-untyped-call]
    ax.set_xlim(times.min() - width / 2, times.max() + width / 2)

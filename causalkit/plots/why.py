"""Answers to the questions why about runs: in the words of steps and inputs, and with how much they leave open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from causalkit.plots.causes import plot_root_causes
from causalkit.plots.change import plot_change
from causalkit.plots.strengths import plot_strengths
from causalkit.plots.style import GREY
from causalkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.why.findings import WhatDrives, WhyBad, WhyChanged

# A share of the variance below it is not drawn.
_SMALL = 0.01


def plot_why_changed(found: WhyChanged, *, ax: Axes | None = None) -> Axes:
    """Draw how each changed step, and then each changed input, moved the target from before to after.

    Parameters
    ----------
    found : WhyChanged
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        As `plot_change` draws it; below it stands how many caveats the answer has.

    Examples
    --------
    >>> from causalkit.scm.changes import Change
    >>> from causalkit.why.findings import WhyChanged
    >>> change = Change("total_ms", "mean", 50.0, 50.2, 0.2, (-0.4, 0.9), pd.DataFrame(), 0.2, (300, 300), [])
    >>> plot_why_changed(WhyChanged(change, pd.DataFrame(), None, [])).get_title()
    'mean of total_ms: 50.00 before, 50.20 after, change +0.20 (-0.40 to +0.90)'
    """
    frame = found.frame
    if len(frame):
        frame = frame.assign(node=frame["step"], kind=frame["what"].where(frame["what"] != frame["step"], ""))
    return _with_caveats(plot_change(replace(found.change, frame=frame), ax=ax), found.caveats)


def plot_why_bad(found: WhyBad, *, ax: Axes | None = None) -> Axes:
    """Draw how far each unusual step and input moved the target, the first cause on top.

    Parameters
    ----------
    found : WhyBad
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        As `plot_root_causes` draws it; below it stands how many caveats the answer has.
    """
    frame = found.frame.assign(node=[_label(row) for row in found.frame.to_dict("records")])
    return _with_caveats(plot_root_causes(replace(found.causes, frame=frame), ax=ax), found.caveats)


def plot_what_drives(found: WhatDrives, *, ax: Axes | None = None) -> Axes:
    """Draw each input's and step's share of the target's variance; beside inputs stands what they do to its mean.

    Parameters
    ----------
    found : WhatDrives
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        What makes certainly less than a hundredth of the variance is not drawn; below stands how many these are, and
        how many caveats the answer has.
    """
    drawn = found.frame[found.frame[["share", "low", "high"]].abs().max(axis=1) >= _SMALL]
    rows = drawn.to_dict("records")
    names = [_label(row) if pd.isna(row["effect"]) else f"{row['contrast']}: {_effect(row)}" for row in rows]
    bars = pd.DataFrame({"name": names, "value": drawn["share"], "low": drawn["low"], "high": drawn["high"]})
    shown = _Shares(f"What drives {found.target}, and what inputs do to its mean", "share of its variance", bars)
    less = len(found.frame) - len(drawn)
    beside = f"{less} more with less than {100 * _SMALL:.0f} %: see .to_frame(); " if less else ""
    return _with_caveats(plot_strengths(shown, ax=ax), found.caveats, beside)


@dataclass(frozen=True)
class _Shares:
    title: str
    label: str
    frame: pd.DataFrame

    def bars(self) -> tuple[str, str, pd.DataFrame]:
        return self.title, self.label, self.frame


def _label(row: dict[Any, Any]) -> str:
    return row["step"] if row["what"] in (row["step"], "input mix") else f"{row['step']}: {row['what']}"


def _effect(row: dict[Any, Any]) -> str:
    return number(row["effect"], signed=True) + ("" if row["experimental"] else " (observational)")


def _with_caveats(ax: Axes, caveats: list[str], beside: str = "") -> Axes:
    told = f"{beside}{len(caveats)} caveat{'s' * (len(caveats) != 1)}: see .caveats"
    ax.annotate(told, (1, 0), (0, -34), "axes fraction", textcoords="offset points", ha="right", va="top", fontsize=8,
                color=GREY)  # fmt: skip
    return ax

"""What the three questions about runs find: each in a sentence, a table, a picture, and never without caveats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from causalkit.finding import Finding
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.causes import RootCauses
    from causalkit.scm.changes import Change
    from causalkit.scm.falsify import Falsification

INPUTS = "input mix"
OWN_TIME, FAILURES, PRESENCE, OUTSIDE = "own time", "failures", "presence", "time outside all steps"


@dataclass(frozen=True, repr=False)
class WhyChanged(Finding):
    """Why a target differs between runs before and after.

    Attributes
    ----------
    change : Change
        As `FittedSCM.explain_change` has it.
    frame : pandas.DataFrame
        ``node, step, what, contribution, low, high, share, before, after, p_value``: first steps that fail as they
        never did, then others that behave differently, then inputs that are distributed differently (`what` is ``input
        mix``), the largest contribution first. `share` is that of the difference, where there is one; `before` and
        `after` are means of the node.
    doubts : Falsification or None
        What the runs before say against the graph.
    caveats : list of str

    Examples
    --------
    >>> from causalkit.scm.changes import Change
    >>> change = Change("total_latency_ms", "mean", 40.0, 40.2, 0.2, (-0.3, 0.7), pd.DataFrame(), 0.2, (300, 300), [])
    >>> WhyChanged(change, pd.DataFrame(columns=["what", "step"]), None, []).verdict
    'no change'
    """

    change: Change
    frame: pd.DataFrame
    doubts: Falsification | None
    caveats: list[str]

    @property
    def verdict(self) -> str:
        """``changed steps``, ``input mix`` (of inputs alone) or ``no change``."""
        if self.frame.empty:
            return "no change"
        return INPUTS if (self.frame["what"] == INPUTS).all() else "changed steps"

    @property
    def steps(self) -> list[str]:
        """The steps that behave differently, the one that moved the target furthest first."""
        return list(dict.fromkeys(self.frame.loc[self.frame["what"] != INPUTS, "step"]))

    @property
    def sentence(self) -> str:
        """The finding in words."""
        rows = self.frame.to_dict("records")
        behaved = [row for row in rows if row["what"] != INPUTS]
        mixed = [row for row in rows if row["what"] == INPUTS]
        if not rows:
            return self._nothing()
        if not behaved:
            return f"No step behaves differently, but the input mix changed: {self._told(mixed)}."
        also = f" The input mix changed too: {_listed(mixed)}." if mixed else ""
        return f"{self._told(behaved)}.{also}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per changed step and input, steps first."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the way from before to after; see `causalkit.plots.why.plot_why_changed`."""
        from causalkit.plots.why import plot_why_changed

        return plot_why_changed(self, ax=ax)

    def _nothing(self) -> str:
        change, (before, after) = self.change, self.change.num_rows
        chance = change.interval[0] <= 0 <= change.interval[1]
        why = "chance explains" if chance else "is more than chance explains, but can be put down to no single cause"
        return (
            f"Nothing changed that {before} runs before and {after} after can tell: no step behaves differently, no "
            f"input is distributed differently. The mean of {change.target} moved by "
            f"{number(change.difference, signed=True)} (95 % interval {interval(change.interval, signed=True)}), which "
            f"{why}."
        )

    def _told(self, rows: list[dict[Any, Any]]) -> str:
        first, *others = rows
        share = "" if pd.isna(first["share"]) else f" ({100 * first['share']:.0f} %)"
        also = f"; also {_listed(others)}" if others else ""
        return (
            f"{_changed(first)}, which moved the mean of {self.change.target} by {_moved(first)}, of a difference of "
            f"{number(self.change.difference, signed=True)}{share}{also}"
        )


@dataclass(frozen=True, repr=False)
class WhyBad(Finding):
    """What made a target other in some runs than in the rest.

    Attributes
    ----------
    causes : RootCauses
        As `FittedSCM.root_causes` has it.
    frame : pandas.DataFrame
        ``node, step, what, contribution, low, high, usual, here, p_value``, the first cause on top; `usual` and `here`
        are means of the node in the other runs and in these.
    doubts : Falsification or None
        What the other runs say against the graph.
    caveats : list of str
    """

    causes: RootCauses
    frame: pd.DataFrame
    doubts: Falsification | None
    caveats: list[str]

    @property
    def steps(self) -> list[str]:
        """The steps and inputs that were unusual, the first cause on top."""
        return list(dict.fromkeys(self.frame["step"]))

    @property
    def sentence(self) -> str:
        """The finding in words."""
        causes = self.causes
        runs = "this run" if causes.num_rows == 1 else f"these {causes.num_rows} runs"
        if self.frame.empty:
            return f"Nothing is unusual in {runs}: no step and no input behaves otherwise than in the other runs."
        first, *others = self.frame.to_dict("records")
        also = f"; also {', '.join(_named(row) for row in others)}" if others else ""
        return (
            f"{_named(first)} is the first cause: {number(first['here'])} in {runs} instead of "
            f"{number(first['usual'])}, which moved the mean of {causes.target} by {_moved(first)}, of a difference of "
            f"{number(causes.difference, signed=True)}{also}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per cause, the first on top."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the ranking; see `causalkit.plots.why.plot_why_bad`."""
        from causalkit.plots.why import plot_why_bad

        return plot_why_bad(self, ax=ax)


@dataclass(frozen=True, repr=False)
class WhatDrives(Finding):
    """What a target depends on, and how much.

    Attributes
    ----------
    target : str
    frame : pandas.DataFrame
        ``node, step, what, share, low, high, contrast, effect, effect_low, effect_high, experimental, robustness``, the
        largest share of the target's variance first; effects are those of inputs: a switch of two values, or from the
        10th to the 90th percentile. `robustness` is the share that an unmeasured common cause would have to explain.
    doubts : Falsification or None
        What the runs say against the graph.
    caveats : list of str
    """

    target: str
    frame: pd.DataFrame
    doubts: Falsification | None
    caveats: list[str]

    @property
    def sentence(self) -> str:
        """The finding in words."""
        first, *others = self.frame.to_dict("records")
        second = f" Next {_shared(others[0])}." if others else ""
        inputs = [row for row in (first, *others) if not pd.isna(row["effect"])]
        strongest = max(inputs, key=lambda row: abs(row["effect"]), default=None)
        effect = f" {self._effect(strongest)}" if strongest else ""
        return f"{_shared(first)} of the variance of {self.target}.{second}{effect}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per input and step, the largest share first."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw shares and effects; see `causalkit.plots.why.plot_what_drives`."""
        from causalkit.plots.why import plot_what_drives

        return plot_what_drives(self, ax=ax)

    def _effect(self, row: dict[Any, Any]) -> str:
        kind = "set at random" if row["experimental"] else "observational"
        return (
            f"The largest effect: {row['contrast']} changes its mean by {number(row['effect'], signed=True)} (95 % "
            f"interval {interval((row['effect_low'], row['effect_high']), signed=True)}; {kind})."
        )


def _moved(row: dict[Any, Any]) -> str:
    reach = interval((row["low"], row["high"]), signed=True)
    return f"{number(row['contribution'], signed=True)} (95 % interval {reach})"


def _listed(rows: list[dict[Any, Any]]) -> str:
    return ", ".join(f"{_changed(row)} ({number(row['contribution'], signed=True)})" for row in rows)


def _changed(row: dict[Any, Any]) -> str:
    before, after, step = row["before"], row["after"], row["step"]
    if row["what"] == FAILURES:
        more = "more" if after < before else "less"
        return f"{step} fails {more} often ({_share(1 - before)} before, {_share(1 - after)} after)"
    if row["what"] == PRESENCE:
        more = "more" if after > before else "less"
        return f"{step} runs {more} often (in {_share(before)} of the runs before, {_share(after)} after)"
    if row["what"] == INPUTS:
        told = "" if pd.isna(before) else f" is {number(after)} instead of {number(before)} on average"
        return f"{step}{told}"
    if row["low"] <= 0 <= row["high"]:
        return (
            f"the {row['what']} of {step} behaves differently" if row["what"] != OUTSIDE else f"the {OUTSIDE} differs"
        )
    if row["what"] == OWN_TIME:
        return f"{step} became {'slower' if row['contribution'] > 0 else 'faster'} by itself"
    return f"{_named(row)} became {'more' if after > before else 'less'} by itself"


def _named(row: dict[Any, Any]) -> str:
    if row["what"] in (INPUTS, OUTSIDE):
        return str(row["step"])
    return f"{row['what']} of {row['step']}"


def _shared(row: dict[Any, Any]) -> str:
    return f"{_named(row)} makes {_share(row['share'])} (95 % interval {_share(row['low'])} to {_share(row['high'])})"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"

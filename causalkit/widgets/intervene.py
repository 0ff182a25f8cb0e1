"""Sliders and menus on nodes, the distribution of another, and the reading in words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import networkx as nx
from matplotlib.figure import Figure

from causalkit.errors import CausalkitError, GraphError
from causalkit.plots.interventions import plot_intervention
from causalkit.scm.caveats import caveats_of
from causalkit.scm.interventions import check_interventions
from causalkit.wording import interval, number

if TYPE_CHECKING:
    from causalkit.scm.interventions import Intervention
    from causalkit.scm.model import FittedSCM
    from causalkit.scm.questions import InterventionResult

_STEPS = 40
_DPI = 90
# Of more nodes only those upstream of the outcome are shown.
_MAX_ROWS = 20


class InterventionView(widgets.VBox):  # type: ignore[misc] # ipywidgets has no types
    """Set nodes with sliders and menus and see what happens to an outcome.

    A node is set while its box is ticked, and as recorded otherwise; moving its slider ticks the box.

    Parameters
    ----------
    scm : FittedSCM
    nodes : str or sequence of str, optional
        What can be set; default: every root and every knob. A single name is set from the start, to its recorded
        median.
    outcome : str, optional
        What is shown at first; default: the last node of the graph. Of a node with more than two labels it is the
        share of one of them, ``mode=fast``.

    Attributes
    ----------
    slider : ipywidgets.IntSlider, ipywidgets.FloatSlider or ipywidgets.Dropdown
        That of the first node.
    rows : dict of str to ipywidgets.HBox
        For each node a box to tick and its slider or menu.
    outcomes : ipywidgets.Dropdown
    reset : ipywidgets.Button
        Everything as recorded.
    reading : ipywidgets.HTML
        What happens in words, with its caveats; or why there is no answer.
    picture : ipywidgets.Image
        The outcome as it is and as it would be.

    Raises
    ------
    GraphError
        If a node is unknown, or cannot be set because it is derived.
    """

    def __init__(self, scm: FittedSCM, nodes: str | Sequence[str] | None = None, outcome: str | None = None) -> None:
        single = isinstance(nodes, str)
        names = _settable(scm) if nodes is None else [nodes] if isinstance(nodes, str) else list(nodes)
        if not names:
            raise GraphError("there is no node to set; name at least one, or leave `nodes` out")
        for name in names:
            check_interventions({name: scm.levels[name][0] if name in scm.levels else 0.0}, scm.graph, scm.levels)
        self._scm, self._all_shown, self._waiting = scm, nodes is not None or len(names) <= _MAX_ROWS, False
        self._node_of = _outcomes(scm)
        self.rows = {name: _row(scm, name, ticked=single) for name in names}
        self.slider = self.rows[names[0]].children[1]
        self.outcomes = _menu(self._node_of, outcome or scm.order[-1])
        self.reset = widgets.Button(description="All as recorded")
        self.reading, self.picture = widgets.HTML(), widgets.Image(format="png")
        self.picture.add_class("causalkit-picture")
        self.reading.add_class("causalkit-reading")
        self._box = widgets.VBox(layout={"max_height": "22em", "overflow": "auto"})
        self._listen()
        self._turn_to_outcome()
        super().__init__([self._box, widgets.HBox([self.outcomes, self.reset]), self.reading, self.picture])

    def __repr__(self) -> str:
        names = ", ".join(self.rows) if len(self.rows) <= 3 else f"{len(self.rows)} nodes"
        return f"<InterventionView of {names} on {self.outcomes.value}>"

    @property
    def interventions(self) -> dict[str, Intervention]:
        """What is set at present."""
        shown = {node: row.children for node, row in self.rows.items() if row in self._box.children}
        return {node: setting.value for node, (box, setting) in shown.items() if box.value}

    @property
    def text(self) -> str:
        """The reading at the present position of the sliders, without its caveats."""
        return self._text

    def _listen(self) -> None:
        for row in self.rows.values():
            box, setting = row.children
            box.observe(self._ask, names="value")
            setting.observe(lambda change, box=box: self._moved(change, box), names="value")
        self.outcomes.observe(self._turn_to_outcome, names="value")
        self.reset.on_click(self._reset)

    def _moved(self, change: Any, box: Any) -> None:
        if box.value:
            self._ask()
        # The browser rounds a value to the slider's steps: that is nobody's move.
        elif not isinstance(change.owner, widgets.FloatSlider) or abs(change.new - change.old) > change.owner.step / 2:
            box.value = True

    def _turn_to_outcome(self, _: Any = None) -> None:
        upstream = nx.ancestors(self._scm.graph, self._node_of[self.outcomes.value])
        self._box.children = [row for node, row in self.rows.items() if self._all_shown or node in upstream]
        self._ask()

    def _reset(self, _: Any) -> None:
        self._waiting = True
        for row in self.rows.values():
            row.children[0].value = False
        self._waiting = False
        self._ask()

    def _ask(self, _: Any = None) -> None:
        if self._waiting:
            return
        done, outcome = self.interventions, self.outcomes.value
        try:
            result = self._scm.intervene(done)
        except CausalkitError as error:
            self._text, notes, picture = str(error), [], b""
        else:
            self._text = result.sentence_about(outcome) if done else _as_it_is(result, outcome)
            notes = caveats_of(self._scm, done, self._node_of[outcome])
            picture = _drawn(result, outcome)
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        self.reading.value = f"<p role='status'>{escape(self._text)}</p>" + (f"<ul>{items}</ul>" if items else "")
        self.picture.value = picture
        # A picture of another answer than the one in words would be worse than none.
        self.picture.layout.visibility = "visible" if picture else "hidden"


def _settable(scm: FittedSCM) -> list[str]:
    free = [node for node in scm.order if not scm.graph.in_degree(node) or scm.role(node) == "knob"]
    return [node for node in free if node not in scm.derived and scm.role(node) != "missing"]


def _row(scm: FittedSCM, node: str, *, ticked: bool) -> Any:
    box = widgets.Checkbox(value=ticked, description=f"set {node}", indent=False, layout={"width": "18em"})
    return widgets.HBox([box, _setting(scm, node)], layout={"min_height": "2.4em"})


def _setting(scm: FittedSCM, node: str) -> Any:
    seen, looks = scm.table[node], {"layout": {"width": "24em"}}
    if node in scm.levels:
        labels = scm.levels[node]
        usual = labels[int(seen.mode().iloc[0])]
        return widgets.Dropdown(options=[(str(label), label) for label in labels], value=usual, **looks)
    low, high, middle = float(seen.min()), float(seen.max()), float(seen.median())
    if (seen % 1 == 0).all():
        return widgets.IntSlider(value=round(middle), min=round(low), max=round(high), **looks)
    step = (high - low) / _STEPS or 1.0
    middle = min(low + round((middle - low) / step) * step, high)
    return widgets.FloatSlider(value=middle, min=low, max=high, step=step, **looks)


def _outcomes(scm: FittedSCM) -> dict[str, str]:
    """Return what can be looked at, each with its node: nodes, and of more than two labels the share of each."""
    found: dict[str, str] = {}
    for node in scm.order:
        labels = scm.levels.get(node, ())
        found |= {f"{node}={label}": node for label in labels} if len(labels) > 2 else {node: node}
    return found


def _menu(node_of: dict[str, str], outcome: str) -> Any:
    chosen = next((name for name, node in node_of.items() if outcome in (name, node)), None)
    if chosen is None:
        raise GraphError(f"{outcome!r} is no node of the model; known are {', '.join(node_of)}", node=outcome)
    return widgets.Dropdown(options=list(node_of), value=chosen, description="outcome")


def _as_it_is(result: InterventionResult, outcome: str) -> str:
    of = result.of(outcome)
    return f"As it is the mean of {outcome} is {number(of['mean'])} ({interval((of['low'], of['high']))})."


def _drawn(result: InterventionResult, outcome: str) -> bytes:
    # A figure of its own, outside pyplot: nothing is left open, whatever the number of moves. Margins that are given
    # take half of the time of margins that are worked out.
    figure = Figure(figsize=(7, 3.6))
    plot_intervention(result, outcome, ax=figure.add_axes((0.09, 0.14, 0.89, 0.77)))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()

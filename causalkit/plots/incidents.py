"""Services by how well each one's change explains an incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causalkit.plots.style import GREY, SKY, VERMILION, axes_to_draw_on, strip_spines
from causalkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causalkit.scm.incidents import Incident

_MOST = 10


def plot_incident(result: Incident, *, ax: Axes | None = None) -> Axes:
    """Draw the scores of the first ten services, best on top, and how far each moved the target.

    Parameters
    ----------
    result : Incident
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The best one red, the others hatched; the words "nothing abnormal" where nobody is named.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalkit.scm.incidents import Incident
    >>> frame = pd.DataFrame({"node": ["store", "front"], "score": [9.0, 2.0], "contribution": [0.3, 0.3]})
    >>> plot_incident(Incident(("front", "latency", "Average"), 0.001, 5, frame, [])).get_title()
    'What explains the latency of front in 5 rows'
    """
    shown = result.frame.head(_MOST)
    service, metric, _ = result.target
    ax = axes_to_draw_on(ax, height=1.5 + 0.4 * max(len(shown), 1))
    for place, found in enumerate(shown.to_dict("records")):
        colour, hatch = (SKY, "//") if place else (VERMILION, "")
        ax.barh(place, found["score"], color=colour, hatch=hatch, alpha=0.7)
        ax.annotate(
            f"{metric} {number(found['contribution'], signed=True)}",
            (max(found["score"], 0), place), (4, 0), textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    if shown.empty:
        ax.annotate("nothing abnormal", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
    ax.set_yticks(range(len(shown)), list(shown["node"]))
    ax.invert_yaxis()
    ax.margins(x=0.2)
    ax.set_xlabel("score: oddness that this service's change alone would explain, nats")
    ax.set_title(f"What explains the {metric} of {service} in {result.num_rows} row{'s' * (result.num_rows > 1)}")
    strip_spines(ax)
    return ax

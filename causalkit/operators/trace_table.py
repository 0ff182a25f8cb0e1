"""From calls of operators to variables: one row per pipeline run, and what may have caused what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from causalkit.operators.calls import OperatorCall
from causalkit.operators.decisions import Equal, decisions_of
from causalkit.operators.vote_columns import table_of
from causalkit.operators.vote_graph import graph_of

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


def to_trace_table(
    calls: Mapping[str, OperatorCall],
    *,
    measure: str = "non_unanimous",
    equal: Equal | None = None,
    ground_truth: str | Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Return one row per run, one column per variable.

    =============================  ===================================================================================
    column                         what it holds
    =============================  ===================================================================================
    a knob, a covariate, an input  what was reported under that name anywhere in the run
    ``<member>_takes_part``        whether the member was called; what the knob of that name says, where there is one
    ``<member>_vote``              the code of its answer, -1 where it gave none
    ``<member>_right``             1 if its vote is the truth, -1 if not, 0 if there is none
    ``<ensemble>_votes``           how many members voted
    ``<ensemble>_right_votes``     how many of them are right
    ``<ensemble>_wrong_...``       how the others spread, as the measure takes it (`causalkit.operators.vote_measures`)
    ``<ensemble>_disagreement``    the measure; 0 where no one voted
    ``<judge>_verdict``            the code of its answer
    ``<judge>_correct``            what it reported as ``correct`` or ``accuracy``, or else whether that is the truth
    the truth                      its code, under its name, or as ``label``
    ``total_latency_ms``           the time of the outermost calls
    =============================  ===================================================================================

    Parameters
    ----------
    calls : mapping of str to OperatorCall
        All calls of the runs.
    measure : {"non_unanimous", "pairwise", "entropy", "distinct"}
    equal : callable, optional
        Whether two answers are equal; default value equality (`causalkit.operators.agreement.same`).
    ground_truth : str or mapping, optional
        What is right: the name of a metric or an argument, or run_id -> truth. Without it there are no columns of what
        is right and wrong.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``run_id``. Ensembles and judges are called by their stage, or their id where they have none; members
        of one name in two ensembles get that in front. Characters that no formula can hold become ``_``. An answer that
        is a whole number is its own code; ``attrs["vote_labels"]`` says what all codes stand for. What a run did not
        call is missing there.

    Raises
    ------
    GraphError
        If a run called an ensemble or a judge more than once, reported a name with two values, or two columns would
        have one name.
    CausalkitError
        If there are no calls, or no such measure.

    Examples
    --------
    >>> from causalkit.operators.calls import calls_of
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.tracing import trace
    >>> panel = trace(lambda x: {"doubler": 2 * x, "squarer": x * x}, operator_id="panel", operator_type="ensemble")
    >>> with collect_events() as events:
    ...     votes = [panel(x) for x in (2, 3)]
    >>> to_trace_table(calls_of(events)).iloc[:, :4].reset_index(drop=True)
      doubler_vote squarer_vote  panel_votes  panel_disagreement
    0            4            4          2.0                 0.0
    1            6            9          2.0                 1.0
    """
    return table_of(decisions_of(calls, equal, ground_truth), measure)


def causal_graph(
    calls: Mapping[str, OperatorCall],
    *,
    measure: str = "non_unanimous",
    equal: Equal | None = None,
    ground_truth: str | Mapping[str, Any] | None = None,
    cluster: str | None = None,
    required: Iterable[tuple[str, str]] = (),
    forbidden: Iterable[tuple[str, str]] = (),
) -> nx.DiGraph[str]:
    """Return what may have caused what, over the columns of `to_trace_table` that vary.

    Knobs and covariates come first. They bear on every input, and with the inputs on what each member does; a knob
    ``<member>_takes_part`` bears on that member alone. Where the truth is known, what a member does is to be right or
    wrong: an ensemble's disagreement is a formula of how many votes there are, how many are right, and how the wrong
    ones spread, and a judge is correct depending on those of the ensembles that it was linked to, and on whatever came
    first, because who voted for what says more than how many did. Otherwise both depend on the votes themselves.

    Members are given the same case, of which never everything is recorded, so they are right and wrong together. An
    edge of kind ``shared`` leads from each member to those after it, and from each input to those after it: no cause,
    but without it disagreement comes out too high. It stays as it is when knobs are set; to set what it leads from has
    no meaning. Votes have too many values for such edges: give the truth wherever it is known.

    Parameters
    ----------
    calls, measure, equal, ground_truth
        As in `to_trace_table`.
    cluster : str, optional
        What was reported to say which case it is: no variable, so no node.
    required, forbidden : iterable of (str, str)
        Edges to add and edges to leave out, on the word of the user.

    Returns
    -------
    networkx.DiGraph
        Each node has a ``role``: ``knob``, ``confounder`` (a covariate), ``derived`` (with its formula in ``derived``)
        or none. Each edge has ``why`` and ``kind``: ``direct`` (set by the knob), ``unrecorded`` (not ruled out),
        ``confounder``, ``dataflow`` (was given it), ``shared``, ``sum`` (accounting) or ``user``.

    Raises
    ------
    GraphError
        As `to_trace_table` does; and if an edge of the user names no variable or closes a cycle.

    Examples
    --------
    >>> from causalkit.operators.calls import calls_of
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.tracing import trace
    >>> panel = trace(lambda x: {"doubler": 2 * x, "squarer": x * x}, operator_id="panel", operator_type="ensemble")
    >>> with collect_events() as events:
    ...     votes = [panel(x) for x in (2, 3)]
    >>> causal_graph(calls_of(events)).nodes["panel_disagreement"]["derived"]
    'max(doubler_vote, squarer_vote) > min(doubler_vote, squarer_vote)'
    """
    found = decisions_of(calls, equal, ground_truth)
    return graph_of(found, table_of(found, measure), measure, cluster, required, forbidden)

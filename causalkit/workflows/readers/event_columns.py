"""Which column of an event log is which, by the names that XES and the usual tools give them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.tabular import TableRow

EXPECTED = "an event log (CSV, Parquet or a DataFrame with the columns case, activity and time)"
_CASES = ("case:concept:name", "case_id", "caseid", "case")
_ACTIVITIES = ("concept:name", "activity", "activity_name")
_BEGINS = ("start_timestamp", "start_time")
_ENDS = ("complete_timestamp", "end_timestamp", "end_time")
_TIMES = ("time:timestamp", "timestamp", "time")
_TRANSITIONS = ("lifecycle:transition", "lifecycle_transition", "lifecycle")
_INSTANCES = ("concept:instance", "activity_instance", "activity_instance_id")


class Columns(NamedTuple):
    """The names of the columns of an event log; where no event has two times, there is no `begin`."""

    case: str
    activity: str
    begin: str | None
    end: str
    transition: str | None
    instance: str | None


def columns_of(rows: Iterable[TableRow], given: dict[str, str | None], source: str) -> Columns:
    """Return which column of an event log is which.

    Parameters
    ----------
    rows : iterable of TableRow
        All of them.
    given : dict
        The names that the user gave for case, activity, time and end; for the first three, that of the parameter
        itself if none.
    source : str
        What the log is called in the error.

    Raises
    ------
    TraceFormatError
        If one is not there.

    Examples
    --------
    >>> row = TableRow({"Case ID": 1, "Activity": "ask", "Complete Timestamp": "2026-01-01"}, "", 0, 1, "row 1")
    >>> columns_of([row], {"case": "case", "activity": "activity", "time": "time", "end": None}, "a log")[:4]
    ('Case ID', 'Activity', None, 'Complete Timestamp')
    """
    seen = dict.fromkeys(name for row in rows for name in row.value)
    usual = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in reversed(seen)}

    def found(*names: str | None) -> str | None:
        return next((name if name in seen else usual[name] for name in names if name in seen or name in usual), None)

    case, activity, time = (
        found(given[what], *(names if given[what] == what else ()))
        for what, names in (("case", _CASES), ("activity", _ACTIVITIES), ("time", _TIMES))
    )
    begin = found(*_BEGINS)
    end = found(given["end"]) if given["end"] else found(*_ENDS)
    if given["end"] or (end and not begin):
        begin = time
    end = end or time or begin
    absent = [
        f"{what} (looked for {given[what]!r})"
        for what, name in (("case", case), ("activity", activity), ("time", end))
        if name is None
    ]
    if given["end"] and end != found(given["end"]):
        absent = [f"end (looked for {given['end']!r})"]
    if absent or not (case and activity and end):
        raise TraceFormatError(
            f"{source} has no column for the {' and the '.join(absent)}; its columns are "
            f"{', '.join(map(repr, [*seen][:12])) or 'none'}: name them with case=, activity=, time=, end=",
            path=source,
            expected=EXPECTED,
            columns=[*seen],
        )
    begin = begin if begin != end else None
    return Columns(case, activity, begin, end, found(*_TRANSITIONS), found(*_INSTANCES))

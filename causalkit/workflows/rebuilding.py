"""From the rows of the two tables back to `WorkflowTrace` objects."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from causalkit.errors import TraceFormatError
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.stores import Store, in_order, of_runs

if TYPE_CHECKING:
    import ibis.expr.types as ir

_RUN_FIELDS = {field.name for field in msgspec.structs.fields(WorkflowTrace)} - {"steps", "error"}
_STEP_FIELDS = {field.name for field in msgspec.structs.fields(StepTrace)} - {"error"}
_ERROR = {"type": "error_type", "message": "error", "stack": "error_stack", "cause": "error_cause"}
_LISTS = {"urls_used", "notes"}
_JSON_FIELDS = {"attributes", "quality_signals", "cost_stats", "urls_used", "notes", "extra"}


def rebuild(store: Store, runs: ir.Table) -> tuple[WorkflowTrace, ...]:
    """Return the runs of a table expression with their steps, in the order of the journal."""
    steps: defaultdict[str, list[StepTrace]] = defaultdict(list)
    for row in store.rows(in_order(of_runs(store.steps, runs), "start")):
        steps[row["request_id"]].append(StepTrace(**_fields(row, _STEP_FIELDS)))
    return tuple(
        WorkflowTrace(**_fields(row, _RUN_FIELDS), steps=tuple(steps[row["request_id"]]))
        for row in store.rows(in_order(runs, "timestamp"))
    )


def _fields(row: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    fields = {name: value for name, value in row.items() if name in names and value is not None}
    for name in _JSON_FIELDS & set(fields):
        fields[name] = _decoded(fields[name])
        if not isinstance(fields[name], list if name in _LISTS else dict):
            # Files that are not held in memory are not looked through for this.
            raise TraceFormatError(
                f"{name} of run {row['request_id']!r} is of another type; compact() leaves such records out",
                request_id=row["request_id"],
            )
    if error := {part: row[name] for part, name in _ERROR.items() if row.get(name) is not None}:
        fields["error"] = error
    return fields


def _decoded(value: Any) -> Any:
    # Some connections hand JSON over as text, others as what it means.
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        # NaN and infinities of other writers.
        return json.loads(value, parse_constant=lambda _: None)

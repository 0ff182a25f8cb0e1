"""Which kind of source was given, and the store behind it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from sys import maxsize
from typing import TYPE_CHECKING, Any

from causalkit.encoding import encode
from causalkit.errors import TraceFormatError
from causalkit.journal_reading import journal_files
from causalkit.workflows.compact import open_copy
from causalkit.workflows.journal_tables import open_journals
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.stores import Store, schema_of

if TYPE_CHECKING:
    import ibis.expr.types as ir


_NEEDED_OF_RUNS = ("request_id", "workflow_name", "success")
_NEEDED_OF_STEPS = ("request_id", "workflow_name", "step_id", "step_name", "start", "latency_ms", "success")


def open_store(source: Any, steps: ir.Table | None = None) -> Store:
    """Return the store of journals, of runs, or of two tables; see `causalkit.workflows.traces.load_traces`."""
    if steps is not None:
        return _of_tables(source, steps)
    given = [source] if isinstance(source, str | os.PathLike) else list(_iterable(source))
    runs = [run for run in given if isinstance(run, WorkflowTrace)]
    if runs and len(runs) == len(given):
        return _of_runs(runs)
    wrong = [one for one in given if not isinstance(one, str | os.PathLike)]
    if wrong or not given:
        what = f"got a {type(wrong[0]).__name__}" if wrong else "no journal was named, and no run given"
        raise TraceFormatError(f"{what}; give the path of a journal, several paths, or runs (WorkflowTrace)", path="")
    for path in given:
        if Path(path).is_dir():
            raise TraceFormatError(f"{path} is a folder; name the journals in it", path=str(path))
        if not journal_files(path):
            raise TraceFormatError(f"there is no journal {path}; check the path", path=str(path))
    names = ", ".join(map(str, given))
    copy = open_copy(Path(given[0])) if len(given) == 1 else None
    return copy or open_journals([Path(path) for path in given], names)


def _iterable(source: Any) -> Iterable[Any]:
    if isinstance(source, Iterable):
        return source
    raise TraceFormatError(
        f"a {type(source).__name__} holds no runs; give the path of a journal, several paths, runs, or two Ibis tables",
        path="",
    )


def _of_runs(runs: Iterable[WorkflowTrace]) -> Store:
    with tempfile.TemporaryDirectory(prefix="causalkit-") as folder:
        path = Path(folder) / "runs.jsonl"
        path.write_bytes(b"".join(encode(run.to_record(), max_text=maxsize, max_bytes=maxsize) + b"\n" for run in runs))
        return open_journals([path], "memory", hold=True)


def _of_tables(runs: Any, steps: ir.Table) -> Store:
    for table, needed in ((runs, _NEEDED_OF_RUNS), (steps, _NEEDED_OF_STEPS)):
        absent = [name for name in needed if name not in getattr(table, "columns", ())]
        if absent:
            raise TraceFormatError(
                f"a table of {'runs' if table is runs else 'steps'} needs a column {absent[0]!r}; give two Ibis tables "
                "with the columns of causalkit.workflows.stores.schema_of",
                path="",
                column=absent[0],
            )
    runs, steps = (_whole(table, name) for table, name in ((runs, "runs"), (steps, "steps")))
    return Store(runs, steps, source="two tables")


def _whole(table: ir.Table, name: str) -> ir.Table:
    """Return a table with all columns of the format: null where it lacks one, and truth where it has 0 and 1."""
    import ibis

    types = schema_of(name)
    told = {column: ibis.null(types[column]) for column in types if column not in (*table.columns, "position")}
    for column, kind in table.schema().items():
        if kind.is_integer() and types.get(column) == "boolean":
            told[column] = table[column].cast("boolean")
    return table.mutate(**told)

"""One Parquet file for runs and their steps: to keep, to hand on, to ask with any tool that reads Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalkit.errors import TraceFormatError
from causalkit.journal_reading import Damage
from causalkit.replacing import replaced
from causalkit.workflows.journal_tables import connect, store_of
from causalkit.workflows.stores import schema_of

if TYPE_CHECKING:
    import duckdb

    from causalkit.workflows.traces import Traces

_KEY = "causalkit"
# What tells the file from the copies that lie beside a journal.
_HOLDS = "runs and steps"
_TYPES = {"string": "VARCHAR", "json": "JSON", "boolean": "BOOLEAN", "float64": "DOUBLE"}
_TYPES |= {"int32": "INTEGER", "int64": "BIGINT", "timestamp('UTC')": "TIMESTAMPTZ"}


def write_parquet(traces: Traces, path: str | os.PathLike[str]) -> Path:
    """Write runs and their steps as one Parquet file.

    Parameters
    ----------
    traces : Traces
        All of it, or what a filter left.
    path : path-like
        The file; one that is there is replaced as a whole.

    Returns
    -------
    Path
        The file: one row per span, ``kind`` tells a run from a step. The columns are those of
        `causalkit.workflows.stores.schema_of`; what has parts (attributes, quality signals) is JSON as text.

    Examples
    --------
    >>> import tempfile
    >>> from causalkit.workflows.tracer import Tracer
    >>> from causalkit.workflows.traces import load_traces
    >>> tracer = Tracer()
    >>> with tracer.workflow("answer") as run, run.step("search"):
    ...     pass
    >>> path = write_parquet(load_traces(tracer.runs), Path(tempfile.mkdtemp()) / "answer.parquet")
    >>> read_parquet(path)
    <Traces: 1 runs of answer, 0 failed>
    """
    path = Path(path)
    connection = connect()
    for kind, table in (("runs", traces.runs()), ("steps", traces.steps())):
        connection.from_arrow(traces._store.arrow(table)).project(_columns(kind, table.columns)).create(kind)
    damage = [[part.path, part.start, part.end, part.reason] for part in traces.damage]
    rows = "SELECT 'run' AS kind, * FROM runs UNION ALL BY NAME SELECT 'step' AS kind, * FROM steps ORDER BY position"
    copy_to(connection, rows, path, {_HOLDS: 1, "damage": damage, "caveats": list(traces.caveats)})
    return path


def read_parquet(path: str | os.PathLike[str]) -> Traces:
    """Read the runs of a file that `write_parquet` wrote.

    Parameters
    ----------
    path : path-like
        The file; it is read anew at each question.

    Returns
    -------
    Traces
        Equal to those that were written, run by run, with their `damage` and `caveats`.

    Raises
    ------
    TraceFormatError
        If it is another file.
    """
    import duckdb

    from causalkit.workflows.traces import Traces

    if not Path(path).is_file():
        raise TraceFormatError(f"there is no file {path}; check the path", path=str(path))
    connection = connect()
    try:
        about = told_in(connection, Path(path))
        if _HOLDS not in about:
            raise TraceFormatError(
                f"{path} is Parquet, but not of Traces.to_parquet; read_traces recognises what other tools write",
                path=str(path),
                expected="a file of Traces.to_parquet",
            )
        spans = connection.read_parquet(escape(str(path)))
        for kind in ("runs", "steps"):
            spans.filter(f"kind = '{kind[:-1]}'").project(_columns(kind)).create_view(kind)
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise TraceFormatError(
            f"{path} cannot be read as Parquet ({reason}); name a file of Traces.to_parquet",
            path=str(path),
            expected="Parquet",
        ) from error
    damage = tuple(Damage(*part) for part in about["damage"])
    store = store_of(connection, damage=damage, caveats=tuple(about["caveats"]), source=str(path))
    return Traces(store, store.runs, store.caveats)


def copy_to(connection: duckdb.DuckDBPyConnection, rows: str, path: Path, about: Mapping[str, Any]) -> None:
    """Write the rows of a query as a Parquet file that says something about itself, whole or not at all."""
    with replaced(path) as draft:
        connection.execute(
            f"COPY ({rows}) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{_KEY}: $about}})",
            {"path": str(draft), "about": json.dumps(about)},
        )


def told_in(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, Any]:
    """Return what a Parquet file says about itself; nothing if it is not one of ours."""
    query = "SELECT decode(value) FROM parquet_kv_metadata($path) WHERE decode(key) = $key"
    rows = connection.execute(query, {"path": escape(str(path)), "key": _KEY}).fetchall()
    told: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
    return told


def _columns(table: str, present: Sequence[str] | None = None) -> str:
    types = schema_of(table)
    told = {name: name if present is None or name in present else "row_number() OVER ()" for name in types}
    return ", ".join(f"{told[name]}::{_TYPES[kind]} AS {name}" for name, kind in types.items())

"""A journal as two tables: DuckDB parses its lines, SQL joins them to runs and steps.

Small journals are read once. Of large ones the columns that most questions need are read once, and the files again
where a question wants more: so hundreds of thousands of runs fit into little memory.
"""

from __future__ import annotations

import tempfile
import warnings
import weakref
from codecs import BOM_UTF8
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from causalkit.journal_reading import Damage, journal_files
from causalkit.workflows import journal_sql as sql
from causalkit.workflows.journal_repair import sound_copy
from causalkit.workflows.stores import Store

if TYPE_CHECKING:
    import duckdb

# Up to this size everything is kept in memory, and each question takes a few milliseconds.
_SMALL_BYTES = 32_000_000
# DuckDB's buffers are as large as the longest line may be; where one is longer, the reading is repeated.
_LONGEST_LINE = 2_000_000
# How much larger a packed journal is once it is unpacked, about.
_PACKED = 10

_STEP_NARROW = {
    "step_name": "VARCHAR",
    "start": "TIMESTAMPTZ",
    "latency_ms": "DOUBLE",
    "success": "BOOLEAN",
    "vram_peak_mb": "DOUBLE",
    "error": "JSON",
}
_STEP = {
    **_STEP_NARROW,
    "step_id": "VARCHAR",
    "parent_id": "VARCHAR",
    "model_loads": "INTEGER",
    "attributes": "JSON",
    "notes": "JSON",
}
_LINE_NARROW = {
    "kind": "VARCHAR",
    "request_id": "VARCHAR",
    "workflow_name": "VARCHAR",
    "mode": "VARCHAR",
    "router_version": "VARCHAR",
    "timestamp": "TIMESTAMPTZ",
    "total_latency_ms": "DOUBLE",
    "crashed": "BOOLEAN",
    "step_id": "VARCHAR",
    **_STEP_NARROW,
}
_LINE = {
    **_LINE_NARROW,
    **_STEP,
    "question": "VARCHAR",
    "conversation_id": "VARCHAR",
    "turn_index": "INTEGER",
    "final_answer": "VARCHAR",
    "urls_used": "JSON",
    "quality_signals": "JSON",
    "cost_stats": "JSON",
}


class _Counts(NamedTuple):
    runs: int
    run_ids: int
    steps: int
    starts: int
    inside: bool

    @property
    def plain(self) -> bool:
        """Whether each line is one whole run with its steps inside: nothing has to be joined."""
        return not self.steps and not self.starts and self.runs == self.run_ids


def open_journals(
    journals: Sequence[Path],
    source: str,
    *,
    hold: bool | None = None,
    extras: bool = False,
    steps_decide: bool = True,
) -> Store:
    """Return the runs and steps of journals.

    Parameters
    ----------
    journals : sequence of Path
        JSONL, also gzipped, each with its segments; of two records of one run or one step the later line counts.
    source : str
        What they are called in messages.
    hold : bool, optional
        Whether to keep everything in memory; default: if the files are small.
    extras : bool, default False
        Whether to read keys of records that are not ours also where the files are read anew at each question.
    steps_decide : bool, default True
        Whether a run with a failed step has failed, whatever its own record says.

    Returns
    -------
    Store
        With `damage` for the bytes that hold no record.
    """
    files = [file for journal in journals for file in journal_files(journal)]
    if hold is None:
        hold = sum(file.stat().st_size * (_PACKED if file.suffix == ".gz" else 1) for file in files) <= _SMALL_BYTES
    connection = connect()
    damage: list[Damage] = []
    folder = None
    if not _is_sound(connection, files, hold, extras):
        # What DuckDB refuses as a whole is read line by line, and everything good in it written anew.
        folder = tempfile.TemporaryDirectory(prefix="causalkit-")
        copy, longest, damage = sound_copy(journals, Path(folder.name))
        _scan(connection, [copy], max(longest, _LONGEST_LINE), hold)
    counts = _Counts(*connection.execute(sql.COUNTS).fetchall()[0])
    _make_views(connection, counts, "lines" if hold else "all_lines", hold or extras, steps_decide)
    for table in ("runs", "steps"):
        connection.execute(f"CREATE {'TABLE' if hold else 'VIEW'} {table} AS FROM file_{table}")
    again = counts.runs - counts.run_ids
    caveats = (f"{again} runs have the request_id of another: of these the last is shown",) if again else ()
    store = store_of(connection, damage=tuple(damage), caveats=caveats, source=source, narrow=not hold)
    if folder:
        weakref.finalize(store, folder.cleanup)
    return store


def connect() -> duckdb.DuckDBPyConnection:
    """Return a DuckDB of its own, in memory, for which a time without a zone is UTC."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    return connection


def store_of(connection: duckdb.DuckDBPyConnection, *, narrow: bool = False, **known: Any) -> Store:
    """Return the tables ``runs`` and ``steps`` of a DuckDB connection as a store."""
    import ibis

    backend = ibis.duckdb.from_connection(connection)
    with warnings.catch_warnings():
        # Ibis asks DuckDB for the columns in a way that DuckDB gives up.
        warnings.simplefilter("ignore", DeprecationWarning)
        small = {table: backend.table(f"narrow_{table}") for table in ("runs", "steps")} if narrow else {}
        return Store(backend.table("runs"), backend.table("steps"), small, **known)


def _is_sound(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], hold: bool, extras: bool) -> bool:
    import duckdb

    if any(map(_has_mark, files)):
        return False
    checks = [sql.BAD]
    if hold or extras:
        checks += [sql.BAD_SHAPES.format(lines="lines" if hold else "all_lines"), sql.BAD_EXTRAS]
    try:
        _scan(connection, files, _LONGEST_LINE, hold)
        return not any(bad for check in checks for (bad,) in connection.execute(check).fetchall())
    except duckdb.Error:
        return False


def _has_mark(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(BOM_UTF8)) == BOM_UTF8


def _scan(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], longest: int, hold: bool) -> None:
    # One thread: lines are numbered in their order in any case, and each thread has buffers of its own.
    connection.execute("SET threads = 1")
    # DuckDB takes a name for a pattern.
    names = [escape(str(file)) for file in files]
    for view, line, step in (("few_lines", _LINE_NARROW, _STEP_NARROW), ("all_lines", _LINE, _STEP)):
        columns = {**line, "steps": f"STRUCT({', '.join(map(' '.join, step.items()))})[]"}
        rows = connection.read_json(
            names,  # type: ignore[arg-type]
            columns=columns,
            format="newline_delimited",
            maximum_object_size=longest,
        )
        rows.project(sql.NUMBERED).create_view(view)
    objects = connection.read_json(
        names,  # type: ignore[arg-type]
        columns={"json": "JSON"},
        format="newline_delimited",
        records="false",
        maximum_object_size=longest,
    )
    objects.project("row_number() OVER () AS position, json").create_view("objects")
    connection.execute(sql.EXTRAS.format(known=", ".join(f"'{name}'" for name in ("schema", "steps", *_LINE))))
    connection.execute(f"CREATE OR REPLACE TABLE lines AS FROM {'all' if hold else 'few'}_lines")
    connection.execute("RESET threads")


def _make_views(
    connection: duckdb.DuckDBPyConnection, counts: _Counts, lines: str, extras: bool, steps_decide: bool
) -> None:
    connection.execute(sql.PLAIN_HEADS if counts.plain else sql.HEADS)
    narrow = sql.STEP_COLUMNS.format(error=sql.error_columns())
    narrow_steps, file_steps = (
        _steps_in(counts, source, columns) for source, columns in (("lines", narrow), (lines, narrow + sql.STEP_OWN))
    )
    alone = connection.execute(sql.STEP_IDS).fetchall()[0][0] if counts.steps else 0
    if counts.runs > counts.run_ids or counts.steps > alone or (counts.steps and counts.inside):
        connection.execute(sql.KEPT.format(steps=file_steps))
        narrow_steps, file_steps = (
            f"FROM ({steps}) WHERE position IN (FROM kept)" for steps in (narrow_steps, file_steps)
        )
    connection.execute(f"CREATE VIEW narrow_steps AS {narrow_steps}")
    connection.execute(f"CREATE VIEW file_steps AS {file_steps}")
    connection.execute(sql.FAILED if steps_decide else sql.NONE_FAILED)
    extra = f"* FROM {lines} LEFT JOIN extras USING (position)" if extras else f"*, NULL::JSON AS extra FROM {lines}"
    error = sql.error_columns("kind <> 'step'")
    for name, own, source in (("narrow", "", "lines"), ("file", sql.RUNS_OWN, f"(SELECT {extra})")):
        connection.execute(f"CREATE VIEW {name}_runs AS {sql.RUNS.format(error=error, own=own, lines=source)}")


def _steps_in(counts: _Counts, lines: str, columns: str) -> str:
    named = "workflow_name, mode," if counts.plain else ""
    steps = sql.STEPS_INSIDE.format(named=named, columns=columns, lines=lines)
    if counts.steps:
        steps = f"({steps}) UNION ALL ({sql.STEPS_ALONE.format(columns=columns, lines=lines)})"
    return steps if counts.plain else sql.STEPS_OF_RUNS.format(steps=steps)

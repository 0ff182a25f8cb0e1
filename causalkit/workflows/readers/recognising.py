"""Which tool wrote a file: told by what is in it, never by its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from causalkit.errors import TraceFormatError
from causalkit.journal_files import journal_files
from causalkit.workflows.readers.keys import keys_of, keys_of_file
from causalkit.workflows.readers.sources import files_of

if TYPE_CHECKING:
    import pandas as pd

    from causalkit.workflows.readers.spans import Redact
    from causalkit.workflows.traces import Traces

_HERE = "causalkit.workflows.readers."
_JOURNAL = "causalkit.workflows.traces:load_traces"
_EVENTS = "operator events"


class _Kind(NamedTuple):
    """What a source can be: one of the sets of keys `any_of` tells it. Without a `reader` it cannot be read."""

    name: str
    any_of: tuple[set[str], ...]
    reader: str = ""


# The first that fits counts. A key in an object is "object.key", one in the objects of a list "list[].key", one in any
# of them "*.key"; "column" goes before the columns of tables without case and spaces, "magic" before what first bytes
# mean; other names follow "=".
_KINDS = (
    _Kind("Parquet of Traces.to_parquet", ({"magic causalkit"},), "causalkit.workflows.parquet:read_parquet"),
    _Kind(_EVENTS, ({"schema", "kind=event"},), _JOURNAL),
    _Kind("a journal of causalkit", ({"schema", "kind"},), _JOURNAL),
    _Kind(
        "OTLP/JSON",
        ({"resourceSpans"}, {"resource_spans"}, {"batches[].scopeSpans"}, {"batches[].instrumentationLibrarySpans"}),
        _HERE + "otlp:read_otlp",
    ),
    _Kind("holds OTLP logs, not traces", ({"resourceLogs"}, {"resource_logs"})),
    _Kind("holds OTLP metrics, not traces", ({"resourceMetrics"}, {"resource_metrics"})),
    _Kind("holds OTLP profiles, not traces", ({"resourceProfiles"}, {"resource_profiles"})),
    _Kind(
        "an evaluation log of Inspect AI",
        ({"magic zip"}, {"eval.task"}, {"eval", "status", "plan"}),
        _HERE + "inspect_ai:read_inspect",
    ),
    _Kind(
        "Jaeger's JSON",
        (
            {"data[].traceID"},
            {"data[].spans"},
            {"traceID", "spans"},
            {"traceID", "spanID"},
            # OTLP in the answer of its newer interface; its reader says what to do.
            {"result.resourceSpans"},
        ),
        _HERE + "jaeger:read_jaeger",
    ),
    _Kind(
        "spans of OpenTelemetry's console exporter, or of any-agent",
        ({"context.trace_id", "status"}, {"spans[].context.trace_id"}, {"context", "kind", "status"}),
        _HERE + "console:read_console",
    ),
    _Kind(
        "spans of OpenInference (Phoenix)",
        (
            {"context.trace_id"},
            {"data[].context.trace_id"},
            {"*.context.trace_id"},
            {"columns=context.trace_id"},
            {"context", "span_kind"},
        ),
        _HERE + "openinference:read_openinference",
    ),
    _Kind(
        "traces of MLflow",
        (
            {"info.trace_id"},
            {"info.request_id"},
            {"info", "data"},
            {"traces[].info"},
            {"traces[].trace_info"},
            {"trace_info"},
            {"trace_id", "spans"},
            {"request_id", "spans"},
            {"trace_id", "trace", "state"},
            {"request_id", "trace", "status"},
        ),
        _HERE + "mlflow:read_mlflow",
    ),
    _Kind(
        "an export of Langfuse",
        (
            {"trace", "observations"},
            {"trace.id", "trace.timestamp"},
            {"id", "timestamp", "observations"},
            {"id", "timestamp", "sessionId"},
            {"id", "timestamp", "session_id"},
            {"id", "timestamp", "environment"},
            {"id", "traceId"},
            {"id", "trace_id", "start_time"},
            {"id", "trace_id", "value"},
            {"data[].traceId"},
            {"data[].observations"},
            {"data[].sessionId"},
            {"traces[].observations"},
        ),
        _HERE + "langfuse:read_langfuse",
    ),
    _Kind(
        "an event log",
        tuple(
            {f"column {case}", f"column {activity}"}
            for case in ("case", "caseid", "case:concept:name")
            for activity in ("activity", "activityname", "concept:name")
        ),
        _HERE + "event_log:read_event_log",
    ),
    _Kind("is a picture", ({"magic picture"},)),
    _Kind("is XML (an event log of process mining goes in as CSV)", ({"magic XML"},)),
    _Kind("is a PDF", ({"magic PDF"},)),
    _Kind("is a database of SQLite", ({"magic SQLite"},)),
    _Kind("is packed as zstd, bzip2 or xz (unpack it first)", ({"magic packed"},)),
    _Kind("is a gzip file that is broken where it begins", ({"magic gzip"},)),
    _Kind("holds nothing but blank space", ({"magic blank"},)),
    _Kind("is binary (of OTLP only JSON is read)", ({"magic binary"},)),
)
_EXPECTED = "traces of a known tool: " + ", ".join(kind.name for kind in _KINDS if kind.reader and kind.name != _EVENTS)


def read_traces(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Mapping[str, Any] | pd.DataFrame,
    *,
    redact: Redact | None = None,
) -> Traces:
    """Read traces of any known tool, whichever it is.

    Parameters
    ----------
    source : path-like, iterable of path-like, dict or DataFrame
        A file, also gzipped; several of one kind; a folder with nothing else in it; or what was parsed already.
    redact : callable, optional
        Takes each record as a dict and returns what may be kept of it. Journals and Parquet of our own were masked
        when they were written: for them it is refused.

    Returns
    -------
    Traces
        What the reader of that tool gives; `causalkit.workflows.readers` lists them.

    Raises
    ------
    TraceFormatError
        If it is of no known kind, of several, or damaged as a whole: ``.path``, ``.expected``.

    Examples
    --------
    >>> read_traces({"eval": {"task": "sums"}, "samples": [{"id": 1, "epoch": 1, "input": "1+1"}]})
    <Traces: 1 runs of sums, 0 failed>
    """
    if _is_parsed(source):
        return _read(source, _kind_of(keys_of(source), "what was given", ""), redact)
    files = _files(source)
    kinds = [_kind_of(keys_of_file(file, _rank, _EXPECTED), str(file), str(file)) for file in files]
    kind = max(kinds, key=kinds.count)
    others = [f"{file} ({other.name})" for file, other in zip(files, kinds, strict=True) if other != kind]
    if others:
        raise TraceFormatError(
            f"{len(kinds) - len(others)} of {len(kinds)} files are {kind.name}, but not {', '.join(others[:5])}"
            f"{' and more' if len(others) > 5 else ''}; read files of one kind at a time",
            path=str(files[0]),
            expected=kind.name,
            others=others,
        )
    if kind.reader == _JOURNAL:
        # The further segments of a journal are read with its first one.
        segments = {segment for file in files for segment in journal_files(file) if segment != file}
        files = [file for file in files if file not in segments]
    return _read(files if len(files) > 1 else files[0], kind, redact)


def _is_parsed(source: Any) -> bool:
    rows = isinstance(source, list) and source and all(isinstance(one, Mapping) for one in source)
    return bool(rows) or isinstance(source, Mapping) or hasattr(source, "itertuples")


def _read(source: Any, kind: _Kind, redact: Redact | None) -> Traces:
    module, name = kind.reader.split(":")
    read: Callable[..., Traces] = getattr(import_module(module), name)
    if module.startswith(_HERE):
        return read(source, redact=redact)
    if redact is not None or _is_parsed(source):
        reason = "it was masked when it was written: leave redact= away" if redact else "name the file that it is in"
        raise TraceFormatError(f"this is {kind.name}; {reason}", path="", expected=_EXPECTED)
    try:
        return read(source)
    except TraceFormatError as error:
        if kind.name != _EVENTS:
            raise
        what = f"{source} holds operator events, and no run; read them with load_events"
        raise TraceFormatError(what, path=str(source), expected=_EXPECTED) from error


def _files(source: Any) -> list[Path]:
    given = [source] if isinstance(source, str | bytes | os.PathLike) or not isinstance(source, Iterable) else [*source]
    files: list[Any] = []
    for one in given:
        # Unlike Path.is_dir this takes every name.
        if not (isinstance(one, str | os.PathLike) and os.path.isdir(one)):  # noqa: PTH112
            files.append(one)
            continue
        inside = sorted(file for file in Path(one).rglob("*") if file.is_file() and file.name[:1] != ".")
        if not inside:
            raise TraceFormatError(f"{one} is a folder without files; expected {_EXPECTED}", path=str(one))
        files += inside
    return files_of(files, _EXPECTED)


def _rank(keys: set[str]) -> int:
    kind = _first(keys)
    return 0 if kind is None else 1 if not kind.reader or kind.name == _EVENTS else 2


def _first(keys: set[str]) -> _Kind | None:
    return next((kind for kind in _KINDS if any(some <= keys for some in kind.any_of)), None)


def _kind_of(keys: set[str], name: str, path: str) -> _Kind:
    kind = _first(keys)
    if kind is not None and kind.reader:
        return kind
    shown = ", ".join(
        sorted(key for key in keys if not set(key) & set(".[=") and key.partition(" ")[0] != "column")[:6]
    )
    unknown = f"is of no known kind (its keys or columns: {shown})" if shown else "holds neither JSON nor a table"
    raise TraceFormatError(
        f"{name} {kind.name if kind else unknown}; expected {_EXPECTED}", path=path, expected=_EXPECTED
    )

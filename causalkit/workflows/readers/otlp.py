"""Read OTLP/JSON: what OpenTelemetry's file exporters and collectors write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.otlp_spans import MALFORMED, read_span
from causalkit.workflows.readers.otlp_values import SHARED
from causalkit.workflows.readers.sources import decoded, files_of, json_pieces
from causalkit.workflows.readers.spans import Redact, Span, gathered

if TYPE_CHECKING:
    import os

    from causalkit.workflows.traces import Traces

EXPECTED = "OTLP/JSON traces (objects with resourceSpans, one a line or one a file)"
# A file of which so many lines in a row hold no spans is one of another kind.
_PATIENCE = 1000


def read_otlp(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Mapping[str, Any],
    *,
    redact: Redact | None = None,
) -> Traces:
    """Read the spans of OTLP/JSON files: root spans become runs, the others their steps.

    Parameters
    ----------
    source : path-like, iterable of path-like, or dict
        One object a line, as file exporters and collectors write them, or one a file; also gzipped. Or such an object,
        parsed.
    redact : callable, optional
        Takes each record as a dict and returns what may be kept of it; by default everything is.

    Returns
    -------
    Traces
        Attributes keep their names; what they mean is added in the present GenAI conventions. What else OTLP tells of
        a span stands in ``attributes["causalkit.otlp"]``, its times to the nanosecond in ``causalkit.start_ns`` (and
        ``causalkit.end_ns`` where the latency does not say it). Runs that `Traces.to_otlp` wrote come back as they
        were.

    Raises
    ------
    TraceFormatError
        If a file holds something else, or no span at all.

    Examples
    --------
    >>> span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "answer"}
    >>> span |= {"startTimeUnixNano": "1000000000", "endTimeUnixNano": "1250000000"}
    >>> read_otlp({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})[0]
    <WorkflowTrace answer ok: 0 steps, 250.0 ms>
    """
    damage: list[Damage] = []
    if isinstance(source, Mapping):
        reader = _Reader("the dict", damage)
        return gathered(
            reader.spans([(0, msgspec.json.encode(source))]), source="the dict", damage=damage, redact=redact
        )
    files = files_of(source, EXPECTED)
    spans = (span for file in files for span in _Reader(str(file), damage).spans(json_pieces(file, damage)))
    return gathered(spans, source=", ".join(map(str, files)), damage=damage, redact=redact)


class _Scope(msgspec.Struct):
    scope: msgspec.Raw = msgspec.Raw(b"{}")
    instrumentationLibrary: msgspec.Raw = msgspec.Raw(b"{}")  # noqa: N815  # as OTLP spells it
    spans: list[msgspec.Raw] | None = None
    schemaUrl: str | None = None  # noqa: N815


class _Resource(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"{}")
    scopeSpans: list[_Scope] | None = None  # noqa: N815
    # What it was called until 2022.
    instrumentationLibrarySpans: list[_Scope] | None = None  # noqa: N815
    schemaUrl: str | None = None  # noqa: N815


class _Document(msgspec.Struct):
    resourceSpans: list[_Resource] | None = None  # noqa: N815
    # What Grafana Tempo calls them.
    batches: list[_Resource] | None = None
    resourceLogs: msgspec.Raw = msgspec.Raw()  # noqa: N815
    resourceMetrics: msgspec.Raw = msgspec.Raw()  # noqa: N815


_read_document = msgspec.json.Decoder(_Document | list[_Document]).decode
_decode = msgspec.json.Decoder().decode
_MOST_SHARED = 1000
_UNDERSCORED = re.compile(r"_([a-z])")


class _Reader:
    """Yields the spans of one file."""

    def __init__(self, path: str, damage: list[Damage]) -> None:
        self._path = path
        self._damage = damage
        self._shared: dict[tuple[Any, ...], dict[str, Any]] = {}

    def spans(self, pieces: Iterable[tuple[int, bytes]]) -> Iterator[Span]:
        good, wrong, reason = False, 0, ""
        for start, piece in pieces:
            documents = _documents(piece, self._path)
            if isinstance(documents, str):
                wrong, reason = wrong + 1, reason or documents
                self._leave_out(start, start + len(piece), documents)
                if wrong > _PATIENCE and not good:
                    break
                continue
            good = True
            yield from self._of_piece(documents, start, piece)
        if reason and not good:
            raise TraceFormatError(
                f"{self._path} {reason}; expected {EXPECTED}",
                path=self._path,
                expected=EXPECTED,
                damage=(*self._damage,),
            )

    def _of_piece(self, documents: Iterable[_Document], start: int, piece: bytes) -> Iterator[Span]:
        seen = 0
        for resource in chain.from_iterable(one.resourceSpans or one.batches or () for one in documents):
            for scope in (*(resource.scopeSpans or ()), *(resource.instrumentationLibrarySpans or ())):
                try:
                    shared = self._shared_by(resource, scope)
                except MALFORMED as error:
                    self._leave_out(start, start + len(piece), f"no resource or scope ({_words(error)})")
                    continue
                for raw in scope.spans or ():
                    try:
                        yield read_span(_decode(raw), shared)
                    except MALFORMED as error:
                        # The spans stand in the piece in this order, so that it is searched through once.
                        text = bytes(raw)
                        at = piece.find(text, seen)
                        seen = at if at >= 0 else len(piece)
                        begin, end = (start + at, start + at + len(text)) if at >= 0 else (start, start + len(piece))
                        self._leave_out(begin, end, f"no span ({_words(error)})")

    def _shared_by(self, resource: _Resource, scope: _Scope) -> dict[str, Any]:
        library = scope.instrumentationLibrary if resource.instrumentationLibrarySpans else scope.scope
        key = bytes(resource.resource), resource.schemaUrl, bytes(library), scope.schemaUrl
        shared = self._shared.get(key)
        if shared is None:
            if len(self._shared) > _MOST_SHARED:
                self._shared.clear()
            told = zip(SHARED, (_decode(key[0]), key[1], _decode(key[2]), key[3]), strict=True)
            shared = self._shared[key] = {name: value for name, value in told if value}
        return shared

    def _leave_out(self, start: int, end: int, reason: str) -> None:
        last = self._damage[-1] if self._damage else None
        if last and (last.path, last.end, last.reason) == (self._path, start, reason):
            self._damage[-1] = Damage(self._path, last.start, end, reason)
        else:
            self._damage.append(Damage(self._path, start, end, reason))


def _documents(piece: bytes, path: str) -> list[_Document] | str:
    """Return what stands in a piece, or why it holds no spans."""
    try:
        try:
            found = _read_document(piece)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, RecursionError):
            # Python writes NaN, which JSON does not know.
            piece = msgspec.json.encode(decoded(piece, path, EXPECTED))
            found = _read_document(piece)
        if found.__class__ is _Document and found.resourceSpans is not None:
            return [found]
        documents = found if isinstance(found, list) else [found]
        if any(document.resourceSpans is not None or document.batches is not None for document in documents):
            return documents
        if b'"resource_spans"' in piece:
            return [_read_document(msgspec.json.encode(_in_camels(_decode(piece))))]
    except msgspec.ValidationError as error:
        return f"is not of this shape ({error})"
    except TraceFormatError as error:
        return f"is no JSON ({error.reason})"
    for kind, other in (("logs", "resourceLogs"), ("metrics", "resourceMetrics")):
        if any(bytes(getattr(document, other)) for document in documents):
            return f"holds OTLP {kind}, not traces"
    return "has no resourceSpans"


def _in_camels(value: Any) -> Any:
    """Return the JSON of protobuf messages whose names were written as in their definition."""
    if isinstance(value, list):
        return [_in_camels(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {_UNDERSCORED.sub(lambda match: match[1].upper(), name): _in_camels(one) for name, one in value.items()}


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    return str(error).partition("\n")[0] or type(error).__name__

"""No damage to an OTLP or console file breaks or hangs its reader."""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.workflows.readers.console import read_console
from causalkit.workflows.readers.otlp import read_otlp
from causalkit.workflows.readers.span_records import run_record, step_record
from causalkit.workflows.readers.spans import Span, _line
from causalkit.workflows.records import read_record
from causalkit.workflows.traces import Traces
from tests.workflows.test_otlp_writing import by_id

_ODD: list[Any] = [
    None, True, "", -1, 0.5, 10**40, float("nan"), [], {}, [[]], [None], {"": {}}, {"key": 1}, "\ud800", "é\0\u2028",
    "x" * 20_000, {"stringValue": 1}, {"intValue": "1e5"}, {"kvlistValue": {"values": 3}}, "SPAN_KIND_NONE", "run",
]  # fmt: skip


def _sources() -> list[tuple[Callable[..., Traces], str]]:
    value = {"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}]}}}]}}
    spans = [
        {"traceId": f"{number % 3 + 1:032x}", "spanId": f"{number + 1:016x}", "name": "s", "startTimeUnixNano": "5",
         "endTimeUnixNano": "9", "attributes": [{"key": "k", "value": value}], "status": {"code": 2, "message": "no"},
         "events": [{"name": "exception", "attributes": [{"key": "exception.type", "value": {"stringValue": "E"}}]}],
         "links": [{"traceId": "1" * 32, "spanId": "2" * 16}], "parentSpanId": f"{max(number - 2, 0):016x}"}
        for number in range(9)
    ]  # fmt: skip
    own = [{"key": "causalkit.record", "value": {"stringValue": "run"}},
           {"key": "causalkit.run.request_id", "value": {"stringValue": "r"}},
           {"key": "causalkit.run.success", "value": {"boolValue": True}}]  # fmt: skip
    spans.append({**spans[0], "traceId": "f" * 32, "attributes": own})
    documents = [{"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [one]}]}]} for one in spans]
    context = {"trace_id": "0x1", "span_id": "0x2", "trace_state": "[]"}
    printed = [
        {"name": "s", "context": {**context, "span_id": hex(number)}, "parent_id": "0x1" if number > 1 else None,
         "kind": "SpanKind.CLIENT", "start_time": "2026-11-20T23:02:08Z", "end_time": "2026-11-20T23:02:09Z",
         "status": {"status_code": "ERROR"}, "attributes": {"a": 1}, "resource": {"attributes": {"b": 2}},
         "events": [{"name": "exception", "timestamp": "2026-11-20T23:02:08Z", "attributes": {"exception.type": "E"}}],
         "links": [{"context": context}]}
        for number in range(1, 5)
    ]  # fmt: skip
    return [
        (read_otlp, "".join(json.dumps(one) + "\n" for one in documents)),
        (read_otlp, json.dumps({"resourceSpans": [one["resourceSpans"][0] for one in documents]}, indent=1)),
        (read_console, "".join(json.dumps(one, indent=2) + "\n" for one in printed)),
        (read_console, json.dumps({"spans": printed, "final_output": {"a": 1}})),
    ]


def _mutated(text: str, chance: random.Random) -> bytes:
    if chance.random() < 0.6:
        lines = text.splitlines() if text.count("\n{") > 2 and "\n " not in text else [text]
        lines = [json.dumps(_swapped(json.loads(line), chance)) if _is_json(line) else line for line in lines]
        text = "\n".join(lines)
    raw = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(chance.choice([0, 0, 1, 3])):
        place = chance.randrange(len(raw))
        kind = chance.randrange(4)
        if kind == 0:
            del raw[place : place + chance.randrange(1, 200)]
        elif kind == 1:
            raw[place] = chance.randrange(256)
        elif kind == 2:
            raw[place:place] = raw[place : place + 300]
        else:
            del raw[place:]
        raw = raw or bytearray(b"{")
    packed = gzip.compress(bytes(raw)) if chance.random() < 0.2 else bytes(raw)
    return packed[: chance.randrange(1, len(packed) + 1)] if chance.random() < 0.1 else packed


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _swapped(value: Any, chance: random.Random) -> Any:
    """Return a value in which something is replaced by what does not belong there."""
    if chance.random() < 0.02:
        return chance.choice(_ODD)
    if isinstance(value, list):
        return [_swapped(one, chance) for one in value]
    if isinstance(value, dict):
        return {name: _swapped(one, chance) for name, one in value.items() if chance.random() > 0.01}
    return value


def test_damaged_files_are_read_as_far_as_they_go_or_refused(
    tmp_path: Path, proof: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, path, read = _sources(), tmp_path / "spans", 0
    for number in range(2_000 if proof else 150):
        chance = random.Random(number)  # noqa: S311  # the same damage each time
        reader, text = chance.choice(sources)
        path.write_bytes(_mutated(text, chance))
        begin = time.process_time()
        with warnings.catch_warnings(), monkeypatch.context() as patched:
            warnings.simplefilter("ignore")
            whole = number % 15 == 0
            if not whole:
                patched.setattr(sys.modules[reader.__module__], "gathered", _records)
            try:
                traces = reader(path)
                read += 1
                if whole:
                    traces.to_otlp(tmp_path / "again")
                    assert by_id(read_otlp(tmp_path / "again")) == by_id(traces), number
            except CausalkitError:
                pass
        assert time.process_time() - begin < 10, number
    assert read > number / 3


def _records(spans: Iterable[Span], **_: Any) -> None:
    """Check every line that a journal would get; the journal itself costs more than everything else."""
    for span in spans:
        record = json.loads(_line(span.record or run_record(step_record(span)), None))
        assert span.record or read_record(record)[1] == []


@pytest.mark.parametrize(
    "piece",
    ['{"a":[\n', '{"resourceSpans":[', "{\n", "[", '{"a":"', '{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}\n'],
)
def test_twice_the_damage_takes_no_more_than_about_twice_the_time(tmp_path: Path, piece: str) -> None:
    path, times = tmp_path / "spans", []
    for count in (4_000, 16_000):
        path.write_text(piece * count)
        begin = time.process_time()
        for reader in (read_otlp, read_console):
            with pytest.raises(CausalkitError):
                reader(path)
        times.append(time.process_time() - begin)

    assert times[1] < 12 * times[0] + 1.0


def test_bad_spans_in_one_document_and_odd_attributes_take_linear_time() -> None:
    odd = [{"key": f"{number % 7}", "value": {"bytesValue": "AA=="}} for number in range(20_000)]
    spans = [{"traceId": "1" * 32, "spanId": "2" * 16, "name": "s", "attributes": odd}, *[{"name": "bad"}] * 20_000]
    begin = time.process_time()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traces = read_otlp({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})

    assert time.process_time() - begin < 3
    assert len(traces[0].attributes["causalkit.otlp"]["attributes"]) == 20_000

"""Evaluation logs as Inspect AI writes them."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa

from causalkit.workflows.readers.inspect_ai import read_inspect
from causalkit.workflows.records import WorkflowTrace

Json = dict[str, Any]
ZSTANDARD = 93


def at(second: int) -> str:
    return f"2026-11-21T10:00:{second:02}+00:00"


def event_at(event: str, second: int, **more: Any) -> Json:
    return {"event": event, "timestamp": at(second), **more}


def model_event(begin: int, end: int | None, **more: Any) -> Json:
    output = {"model": "gpt-1", "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}}
    told = {"model": "openai/gpt", "input": [{"role": "user", "content": "why?"}], "output": output, **more}
    return event_at("model", begin, **told, **({} if end is None else {"completed": at(end)}))


def sample_of(name: int | str) -> Json:
    return {"id": name, "epoch": 1, "input": "1+1", "target": "2", "messages": []}


def log_of(*samples: Json, **spec: Any) -> Json:
    told = {"task": "sums", "run_id": "r1", "task_id": "t1", "model": "openai/gpt", **spec}
    return {"version": 2, "status": "success", "eval": told, "samples": list(samples)}


def run_of(*events: Json, **more: Any) -> WorkflowTrace:
    return read_inspect(log_of({**sample_of(1), "events": list(events), **more}))[0]


def archive(path: Path, entries: dict[str, Any], method: int) -> Path:
    """Write a zip by hand: the zipfile of this Python may not know Zstandard."""
    body, directory = b"", b""
    for name, document in entries.items():
        text = (document if isinstance(document, str) else json.dumps(document)).encode()
        packed = _packed(text, method)
        sizes = struct.pack("<IIIHH", zlib.crc32(text), len(packed), len(text), len(name), 0)
        common = struct.pack("<HHHHH", 20, 0, method, 0, 0x21) + sizes
        directory += b"PK\1\2" + struct.pack("<H", 20) + common
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
        body += b"PK\3\4" + common + name.encode() + packed
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\5\6" + end)
    return path


def _packed(text: bytes, method: int) -> bytes:
    if method == ZSTANDARD:
        return bytes(pa.compress(text, codec="zstd", asbytes=True))
    return zlib.compress(text, wbits=-15) if method == zipfile.ZIP_DEFLATED else text

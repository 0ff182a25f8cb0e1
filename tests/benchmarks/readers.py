"""How fast are OTLP files read, and in how much memory?

    python tests/benchmarks/readers.py            # 40 MB
    python tests/benchmarks/readers.py 200        # 200 MB

Each file is read in a process of its own, after one span that loads the libraries: megabytes per CPU second of its
``read_otlp``, and its peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

_TEXT = "The search found four pages about it, and the second one says why the index was rebuilt on that day. "
_READ = """
import resource, sys, time
import causalkit.workflows.traces, duckdb, ibis, pyarrow
from causalkit.workflows.readers.otlp import read_otlp
span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "loads the libraries"}
read_otlp({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
traces = read_otlp(sys.argv[1])
cpu = time.process_time() - begin
count = traces.steps().count().execute() + len(traces)
print(cpu, before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, count)
"""


def main(megabytes: int) -> None:
    """Write files of three kinds and read each of them."""
    print(f"{'file':<22}{'MB':>6}{'spans':>9}{'MB/s CPU':>10}{'CPU s':>7}{'peak MB':>9}  (libraries alone)")
    with tempfile.TemporaryDirectory() as folder:
        for name, texts, one_document in (
            ("short attributes", 0, False),
            ("with inputs, outputs", 8, False),
            ("one document", 8, True),
        ):
            path = Path(folder) / "spans.jsonl"
            size, spans = write(path, megabytes * 1_000_000, texts, one_document)
            command = [sys.executable, "-c", _READ, str(path)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            cpu, before, peak, read = map(float, told)
            if read != spans:
                raise SystemExit(f"{read} spans were read of {spans}")
            speed = size / 1e6 / cpu
            print(f"{name:<22}{size / 1e6:>6.0f}{spans:>9}{speed:>10.1f}{cpu:>7.1f}{peak:>9.0f}  ({before:.0f})")


def write(path: Path, size: int, texts: int, one_document: bool) -> tuple[int, int]:
    """Write spans until a file has about this size; return its size and how many spans it holds."""
    written, spans = 0, 0
    with path.open("w") as file:
        file.write('{"resourceSpans":[' if one_document else "")
        for group in _groups(texts):
            line = json.dumps(group if one_document else {"resourceSpans": [group]}, separators=(",", ":"))
            written += file.write(("," if one_document and spans else "") + line + ("" if one_document else "\n"))
            spans += 1
            # A run has four spans.
            if written >= size and spans % 4 == 0:
                break
        file.write("]}" if one_document else "")
    return path.stat().st_size, spans


def _groups(texts: int) -> Iterator[dict[str, object]]:
    draw = Random(0)  # noqa: S311  # nothing secret
    resource = {"attributes": [_attribute("service.name", "answers"), _attribute("host.name", "node-1")]}
    start = 1_795_215_728_272_615_974
    while True:
        trace, ids = f"{draw.getrandbits(128):032x}", [f"{draw.getrandbits(64):016x}" for _ in range(4)]
        start += 10**9
        for number, name in ((1, "retrieve"), (2, "chat llama3"), (3, "rank"), (0, "invoke_workflow rag")):
            span = {
                "traceId": trace,
                "spanId": ids[number],
                **({"parentSpanId": ids[0]} if number else {}),
                **{"flags": 256, "name": name, "kind": 1, "startTimeUnixNano": str(start + number * 10**7)},
                "endTimeUnixNano": str(start + number * 10**7 + draw.randrange(10**7, 10**8)),
                "attributes": [
                    _attribute("gen_ai.operation.name", name.split()[0]),
                    _attribute("gen_ai.request.model", "llama3"),
                    {"key": "gen_ai.usage.input_tokens", "value": {"intValue": str(draw.randrange(1000))}},
                    {"key": "gen_ai.usage.output_tokens", "value": {"intValue": str(draw.randrange(1000))}},
                    _attribute("openinference.span.kind", "LLM"),
                    *([_attribute("input.value", _TEXT * texts), _attribute("output.value", _TEXT)] if texts else []),
                ],
                "status": {},
            }
            yield {"resource": resource, "scopeSpans": [{"scope": {"name": "demo", "version": "1.0"}, "spans": [span]}]}


def _attribute(name: str, text: str) -> dict[str, object]:
    return {"key": name, "value": {"stringValue": text}}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)

"""Record one small pipeline with the tools that others trace with: `python -m tests.workflows.readers.write_samples`.

Every tool records the same requests, by its vendor's own code, in words of its own; what it wrote is packed as it is,
but for paths and names of this machine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from causalkit.errors import CausalkitError
from causalkit.examples.record import prepared
from causalkit.examples.releases import asked_questions
from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import KNOBS, POOL_DOCUMENTS, SLOW_CHECK_STEPS, STEPS
from tests.workflows.readers.sample_words import Facts, in_genai, in_mlflow, in_openinference, in_openllmetry

NUM_QUESTIONS = 150
# Of these: questions that the corpus cannot answer.
NUM_REFUSED = 3
RELEASES = {"1": STEPS, "2": SLOW_CHECK_STEPS}
SOFTWARE = (
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-json-file",
    "mlflow-skinny",
    "openinference-instrumentation",
)
_KEPT = 160
_SHOWN = 3
_KINDS = {
    "parse_question": "parser",
    "web_search": "retriever",
    "rerank": "reranker",
    "compose_answer": "llm",
    "check_answer": "evaluator",
}

Span = Any
Tell = Callable[[Span, Facts], None]
Start = Callable[[str, str], AbstractContextManager[Span]]


class Request(NamedTuple):
    """What one run is asked, of which release, and how the knobs stand."""

    question: str
    release: str
    knobs: dict[str, Any]


class Recorder(NamedTuple):
    """How a tool begins a span of a name and kind, is told facts about it, and what it does after a run."""

    start: Start
    tell: Tell
    flush: Callable[[], Any]


def write_samples(folder: str | os.PathLike[str], *, num_questions: int = NUM_QUESTIONS, random_seed: int = 0) -> None:
    """Write a file for each tool; `random_seed` decides all but times, loads, and OpenInference's ids."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    requests = drawn(num_questions, random_seed)
    index, about = prepared(sorted({request.question for request in requests}), random_seed)
    for name, record in _TOOLS.items():
        random.seed(f"{random_seed} {name}")
        with tempfile.TemporaryDirectory() as raw:
            written = Path(raw) / name
            record(written, requests, index)
            text = _without_places(written.read_text(encoding="utf-8"), raw)
        (target / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    about["packages"] |= {package: version(package) for package in SOFTWARE}
    about["runs"] = {"total": len(requests), **dict.fromkeys(RELEASES, num_questions)}
    (target / "recording.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def drawn(num_questions: int, random_seed: int) -> list[Request]:
    """Draw questions, ask each of both releases, and draw the knobs of every run and the order of all."""
    chance = random.Random(random_seed)  # noqa: S311  # the same requests each time
    refused = chance.sample(asked_questions(expected_failure=True), min(NUM_REFUSED, num_questions))
    questions = refused + chance.sample(asked_questions(), num_questions - len(refused))
    requests = [
        Request(question, release, {name: chance.choice(values) for name, values in KNOBS.items()})
        for question in questions
        for release in RELEASES
    ]
    chance.shuffle(requests)
    return requests


def _ask(recorder: Recorder, request: Request, index: SearchIndex) -> None:
    state: dict[str, Any] = {"question": request.question, **request.knobs}
    load_1m = round(os.getloadavg()[0], 2)
    begun = Facts("chain", input=request.question, release=request.release, knobs=request.knobs, load_1m=load_1m)
    with recorder.start("search_qa", "chain") as root:
        recorder.tell(root, begun)
        for step in RELEASES[request.release]:
            name = step.__name__
            with recorder.start(name, _KINDS[name]) as span:
                recorder.tell(span, Facts(_KINDS[name], name, input=_given(name, state)))
                state |= step(state, index) or {}
                recorder.tell(span, _made(name, state, index))
        recorder.tell(root, Facts("chain", output=state["final_answer"][:_KEPT]))


def _given(name: str, state: Mapping[str, Any]) -> str:
    """Return what a step works on, as a short text."""
    if name == "check_answer":
        return str(state["final_answer"][:_KEPT])
    known = {"web_search": "terms", "rerank": "found", "compose_answer": "reranked"}.get(name)
    return " ".join(state[known]) if known else str(state["question"])


def _made(name: str, state: dict[str, Any], index: SearchIndex) -> Facts:
    """Return what a step made; documents are named in the state for the step after it."""
    kind = _KINDS[name]
    if name == "parse_question":
        return Facts(kind, name, output=" ".join(state["terms"]))
    if name == "check_answer":
        return Facts(kind, name, output=f"{state['checked']:.2f}")
    if name == "compose_answer":
        read = [index.sentences[entry.number] for entry in state["ranked"][:POOL_DOCUMENTS]]
        words = sum(len(sentence.words) for sentences in read for sentence in sentences)
        answer = state["final_answer"]
        return Facts(kind, name, output=answer[:_KEPT], tokens=(words, len(answer.split())))
    key, entries = ("found", state["hits"]) if name == "web_search" else ("reranked", state["ranked"])
    best = [(index.documents[entry.number].name, round(entry.score, 4)) for entry in entries[:_SHOWN]]
    state[key] = [document for document, _ in best]
    return Facts(kind, name, output=" ".join(state[key]), documents=best)


def _record_otlp(path: Path, requests: Sequence[Request], index: SearchIndex) -> None:
    from opentelemetry.exporter.otlp.json.file import FileSpanExporter
    from opentelemetry.sdk.trace import TracerProvider

    _record_spans(TracerProvider, FileSpanExporter(path), in_genai, requests, index)


def _record_openinference(path: Path, requests: Sequence[Request], index: SearchIndex) -> None:
    from openinference.instrumentation import TracerProvider
    from opentelemetry.exporter.otlp.json.file import FileSpanExporter

    _record_spans(TracerProvider, FileSpanExporter(path), in_openinference, requests, index)


def _record_console(path: Path, requests: Sequence[Request], index: SearchIndex) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    with path.open("w", encoding="utf-8") as out:
        _record_spans(TracerProvider, ConsoleSpanExporter(out=out), in_openllmetry, requests, index)


def _record_spans(
    provider_of: Callable[..., Any],
    exporter: Any,
    words: Callable[[Facts], dict[str, Any]],
    requests: Sequence[Request],
    index: SearchIndex,
) -> None:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # Nothing is written while a run is under way.
    processor = BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000)
    recorders = {}
    for release in RELEASES:
        service = {"service.name": "search_qa", "service.version": release, "service.instance.id": "sample"}
        provider = provider_of(resource=Resource.create(service), shutdown_on_exit=False)
        provider.add_span_processor(processor)
        recorders[release] = Recorder(
            _started_by(provider.get_tracer("search_qa")),
            lambda span, facts: span.set_attributes(words(facts)),
            processor.force_flush,
        )
    _ask_all(recorders, requests, index)
    processor.shutdown()


def _started_by(tracer: Any) -> Start:
    return lambda name, _: tracer.start_as_current_span(name)


def _record_mlflow(path: Path, requests: Sequence[Request], index: SearchIndex) -> None:
    with _mlflow_at(path.parent / "store") as mlflow:
        start: Start = lambda name, kind: mlflow.start_span(name, span_type=kind.upper())  # noqa: E731
        recorder = Recorder(start, in_mlflow, lambda: None)
        with recorder.start("warm up", "chain") as span:
            recorder.tell(span, Facts("chain", input="", tokens=(0, 0)))
        _ask_all(dict.fromkeys(RELEASES, recorder), requests, index)
        traces = mlflow.search_traces(return_type="list", include_spans=True, max_results=len(requests) + 1)
    _, *by_time = sorted(traces, key=lambda trace: trace.data.spans[0].start_time_ns)
    path.write_text("".join(_without_names(trace.to_json()) + "\n" for trace in by_time), encoding="utf-8")


@contextmanager
def _mlflow_at(store: Path) -> Iterator[Any]:
    """Give MLflow with a store of its own, and leave nothing of it behind."""
    told = dict.fromkeys(("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"), "true")
    told |= {"MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false", "MLFLOW_TRACKING_URI": store.as_uri()}
    # Ids that the seed decides.
    told["MLFLOW_TRACE_USE_ISOLATED_RANDOM_ID_GENERATOR"] = "false"
    with patch.dict(os.environ, told):
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        mlflow.set_tracking_uri(store.as_uri())
        mlflow.set_experiment("search_qa")
        try:
            yield mlflow
        finally:
            mlflow.tracing.reset()


def _ask_all(recorders: Mapping[str, Recorder], requests: Sequence[Request], index: SearchIndex) -> None:
    for request in requests:
        recorder = recorders[request.release]
        with suppress(CausalkitError):  # the trace holds the step that failed
            _ask(recorder, request, index)
        recorder.flush()


def _without_names(trace: str) -> str:
    """Take away what MLflow says of who ran what, and where, on its own accord."""
    told = json.loads(trace)
    for group in ("tags", "trace_metadata"):
        told["info"][group] = {
            name: value
            for name, value in told["info"][group].items()
            if name not in ("mlflow.user", "mlflow.artifactLocation") and not name.startswith("mlflow.source.")
        }
    return json.dumps(told)


def _without_places(text: str, raw: str) -> str:
    """Make paths, which stand in what failed steps left behind, relative to where Python looks for modules."""
    places = {raw, str(Path.cwd()), sys.prefix, sys.base_prefix, *sys.path} - {"", "/"}
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(f"{place}/", "")
    return text


_TOOLS: dict[str, Callable[[Path, Sequence[Request], SearchIndex], None]] = {
    "otlp.jsonl": _record_otlp,
    "openinference.jsonl": _record_openinference,
    "mlflow.jsonl": _record_mlflow,
    "console.log": _record_console,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output-dir", default="data/samples")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_samples(given.output_dir, random_seed=given.seed)

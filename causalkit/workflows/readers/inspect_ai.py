"""Evaluation logs of Inspect AI: each sample in each epoch is a run, its transcript the steps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.inspect_archive import Archive, is_archive
from causalkit.workflows.readers.inspect_events import (
    Json,
    duration,
    error_of,
    instant,
    mapping,
    text_in,
    usage_attributes,
)
from causalkit.workflows.readers.inspect_messages import TIMELESS, proven_steps
from causalkit.workflows.readers.inspect_transcript import Transcript
from causalkit.workflows.readers.sources import files_of, read_json
from causalkit.workflows.readers.span_records import text_of
from causalkit.workflows.readers.spans import Redact, Span, gathered

if TYPE_CHECKING:
    from causalkit.workflows.traces import Traces

_EXPECTED = "an evaluation log of Inspect AI (.eval, or .json)"
# What of the head of a log every run is told by a name of its own.
_NAMED = ("eval_id", "run_id", "task_id", "task_version", "task_file", "model", "created")
# What of a sample is told in fields of the run, or in its steps.
_SAID = {"input", "events", "transcript", "error", "id"}
_MOMENTS = ("timestamp", "completed")
_Log = tuple[Json, str, Iterator[Any]]


def read_inspect(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Mapping[str, Any],
    *,
    redact: Redact | None = None,
) -> Traces:
    """Read evaluation logs of Inspect AI.

    Parameters
    ----------
    source : path-like, several of them, or dict
        Logs as ``.eval`` or ``.json``, of any version and status, finished or not; or one that was parsed already.
    redact : callable, optional
        As for `Tracer`; by default nothing is masked.

    Returns
    -------
    Traces
        A run for each sample and epoch, called as the task: ``question`` is the input, ``final_answer`` the completion
        of the output, ``quality_signals`` the values of the scores, and the rest stands in attributes ``inspect.*``.
        Its steps are what the transcript tells (`causalkit.workflows.readers.inspect_transcript`); without one, the
        calls of models and tools that its messages prove, of which no time is known. Tokens stand where they were
        spent; a run has those of its whole sample only if its steps tell none. As Inspect has it, input tokens are
        those outside the cache.

    Raises
    ------
    TraceFormatError
        If there is no such log, or no sample in it.

    Examples
    --------
    >>> log = {"version": 2, "eval": {"task": "sums"}, "samples": [{"id": 1, "epoch": 1, "input": "1+1", "scores": {}}]}
    >>> read_inspect(log)[0].question
    '1+1'
    """
    damage: list[Damage] = []
    if isinstance(source, Mapping):
        logs: Iterable[_Log] = [_parsed(dict(source), "")]
        name = "an evaluation log"
    else:
        files = files_of(source, _EXPECTED)
        logs, name = (_opened(file, damage) for file in files), ", ".join(map(str, files))
    empty: list[str] = []
    try:
        traces = gathered(_spans(logs, damage, empty), source=name, damage=damage, redact=redact)
    except TraceFormatError as error:
        if damage or not empty:
            raise
        raise TraceFormatError(
            f"{name} holds no sample ({'; '.join(empty)}); expected a log with samples, as Inspect writes it unless "
            "log_samples is off",
            path=name,
            expected=_EXPECTED,
        ) from error
    caveats = (f"{len(empty)} logs hold no sample: {'; '.join(empty)}",) if empty else ()
    return replace(traces, caveats=(*traces.caveats, *caveats))


def is_log(value: Any) -> bool:
    """Return whether what was parsed looks like an evaluation log.

    Examples
    --------
    >>> is_log({"status": "success", "eval": {"task": "sums"}}), is_log({"eval": 1})
    (True, False)
    """
    return "task" in mapping(mapping(value).get("eval"))


def _opened(file: Path, damage: list[Damage]) -> _Log:
    if is_archive(file):
        archive = Archive(file, _EXPECTED)
        return archive.head(), str(file), archive.samples(damage)
    return _parsed(read_json(file, _EXPECTED), str(file))


def _parsed(log: Any, path: str) -> _Log:
    if not is_log(log):
        what = f"has the keys {', '.join(sorted(log)[:6])}" if isinstance(log, dict) else "is no object"
        name = path or "what was given"
        raise TraceFormatError(f"{name} {what}; expected {_EXPECTED}", path=path, expected=_EXPECTED)
    samples = log.get("samples")
    return log, path, iter(samples if isinstance(samples, list) else [])


def _spans(logs: Iterable[_Log], damage: list[Damage], empty: list[str]) -> Iterator[Span]:
    for log, path, samples in logs:
        seen: set[str] = set()
        number = 0
        for number, sample in enumerate(samples, start=1):
            if not isinstance(sample, dict):
                damage.append(Damage(path, 0, 0, f"sample {number} is no object"))
                continue
            transcript = mapping(sample.get("transcript"))
            # So older logs have it.
            whole = {"events": transcript.get("events"), "attachments": transcript.get("content")} | sample
            try:
                run = _run_of(whole, log, number, seen)
                steps = _steps_of(whole, run)
                _settle(run, whole, log, any("gen_ai.usage.input_tokens" in step.attributes for step in steps))
            except RecursionError:
                damage.append(Damage(path, 0, 0, f"sample {number} is nested too deeply"))
                continue
            yield run
            yield from steps
        if not number:
            empty.append(f"task {log['eval'].get('task')}, status {log.get('status', 'started')}")


def _run_of(sample: Json, log: Json, number: int, seen: set[str]) -> Span:
    spec = mapping(log.get("eval"))
    evaluation = spec.get("eval_id") or f"{spec.get('run_id')}/{spec.get('task_id')}"
    run_id = str(sample.get("uuid") or f"{evaluation}/{sample.get('id', number)}/{sample.get('epoch', 1)}")
    while run_id in seen:
        run_id += f"#{number}"
    seen.add(run_id)
    # The ids of all samples would make each run as large as the data set.
    dataset = {name: value for name, value in mapping(spec.get("dataset")).items() if name != "sample_ids"}
    rest = {name: value for name, value in spec.items() if name not in {*_NAMED, "task", "dataset"}}
    return Span(
        trace_id=run_id,
        span_id=run_id,
        name=str(spec.get("task")),
        start_ns=None,
        end_ns=None,
        attributes={
            **{f"inspect.{name}": value for name, value in sample.items() if name not in _SAID},
            **{f"inspect.{name}": spec[name] for name in _NAMED if name in spec},
            "inspect.sample_id": sample.get("id"),
            "inspect.status": log.get("status", "started"),
            "inspect.dataset": dataset.get("name"),
            "inspect.eval": {**rest, "dataset": dataset},
        },
    )


def _steps_of(sample: Json, run: Span) -> list[Span]:
    transcript = Transcript(run, sample)
    events = sample.get("events")
    if not events:
        return list(proven_steps(sample.get("messages"), run))
    transcript.take(events)
    return transcript.steps


def _settle(run: Span, sample: Json, log: Json, counted: bool) -> None:
    """Say how the sample went and when it was."""
    output, given = mapping(sample.get("output")), sample.get("input")
    choices = output.get("choices")
    first = mapping(choices[0]).get("message") if isinstance(choices, list) and choices else None
    run.error = error_of(sample.get("error"), "sample error")
    run.ok = run.error is None
    run.run = {
        "question": text_in(given) or text_of(given),
        "final_answer": output.get("completion") or text_in(first) or None,
        "quality_signals": _values(sample, log),
    }
    if isinstance(given, list):
        run.attributes["causalkit.input"] = given
    if not counted:
        run.attributes |= _usage(sample)
    run.start_ns, run.end_ns = _times(sample)
    if run.start_ns is None:
        run.run |= {"timestamp": None, "success": run.ok, "crashed": False, "notes": [*run.notes, TIMELESS]}
        total = duration(sample.get("total_time"))
        run.run["total_latency_ms"] = None if total is None else total / 1e6


def _times(sample: Json) -> tuple[int | None, int | None]:
    events = sample.get("events")
    told = [mapping(event).get(name) for event in (events if isinstance(events, list) else ()) for name in _MOMENTS]
    moments = [moment for moment in map(instant, told) if moment is not None]
    start, end = instant(sample.get("started_at")), instant(sample.get("completed_at"))
    start = min(moments, default=None) if start is None else start
    if end is None and start is not None:
        total = duration(sample.get("total_time"))
        end = max(moments, default=None) if total is None else start + total
    return start, end


def _values(sample: Json, log: Json) -> Json:
    if "scores" not in sample and "score" in sample:
        # Logs of the first version have one score, and its name where the results are.
        name = mapping(mapping(log.get("results")).get("scorer")).get("name")
        scores: Mapping[str, Any] = {str(name or "score"): sample["score"]}
    else:
        scores = mapping(sample.get("scores"))
    return {name: score.get("value") if isinstance(score, dict) else score for name, score in scores.items()}


def _usage(sample: Json) -> Json:
    by_model = [usage_attributes(usage) for usage in mapping(sample.get("model_usage")).values()]
    told = by_model or [usage_attributes(mapping(sample.get("output")).get("usage"))]
    return {name: sum(one.get(name, 0) for one in told) for name in dict.fromkeys(name for one in told for name in one)}

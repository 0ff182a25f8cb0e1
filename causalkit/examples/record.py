"""Record the example pipeline anew, every knob turned at random, independently, run by run.

Two releases answer in turn, in random order, so that the state of the host is the same for both: the one as it is, and
one whose `check_answer` was deliberately slowed (`search_qa.SlowRelease`).
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tqdm.auto import tqdm

from causalkit.errors import CausalkitError
from causalkit.examples.corpus import PACKAGES, corpus_hash, read_corpus
from causalkit.examples.lessons import STEPS as LESSON_STEPS
from causalkit.examples.router import load_questions, route
from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import KNOBS, SLOW_CHECK_STEPS, STEPS, Step, warm
from causalkit.journal import JournalWriter
from causalkit.workflows.executor import GraphExecutor
from causalkit.workflows.tracer import Tracer
from causalkit.workflows.traces import load_traces

NUM_RUNS = 3600
# One run in eight goes to the slow release; it is there to be found, not to fit a model to.
_SLOW_SHARE = 1 / 8
# Real failures: a question that cannot be answered, and a time limit that cannot be kept.
_FAILING_SHARE = 0.015
_HURRIED_SHARE = 0.015
_HURRY_MS = 8.0
BURST = 12
"""So many runs in a row are served by one client, or by two at once: load that changes, as in service."""
# The journal keeps the beginning of an answer; its length is among the quality signals.
_KEPT_ANSWER = 160
_RELEASES = {"runs": STEPS, "slow_check": SLOW_CHECK_STEPS}


@dataclass(frozen=True)
class Request:
    """What one run is asked, and how the knobs stand."""

    release: str
    burst: int
    state: dict[str, Any]
    knobs: dict[str, Any]


def record_search_qa(
    folder: str | os.PathLike[str], *, num_runs: int = NUM_RUNS, random_seed: int = 0, progress: bool = True
) -> dict[str, Any]:
    """Record runs of the example pipeline into ``runs.jsonl`` and ``slow_check.jsonl``.

    Parameters
    ----------
    folder : path-like
        Where the journals go; those that are there are replaced when the recording is complete, not before.
    num_runs : int, default 3600
        Runs in all, of both releases and of both workflows.
    random_seed : int, default 0
        Decides questions, knobs and order; latencies are what they are.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    dict
        How it was recorded: time, versions, corpus hash, counts; written to ``recording.json`` as well.
    """
    if num_runs < 1:
        raise CausalkitError(f"num_runs is {num_runs}; record at least one", num_runs=num_runs)
    questions = load_questions()
    index, about = prepared([entry["question"] for entry in questions], random_seed)
    requests = list(_requests(questions, num_runs, random_seed))
    clients = np.random.default_rng(num_runs).integers(1, 3, size=requests[-1].burst + 1).tolist()
    with replacing(folder) as made:
        about["runs"] = run_all(requests, _RELEASES, index, clients, made, progress=progress)
        write_about(about, made)
    return about


def prepared(questions: list[str], random_seed: int) -> tuple[SearchIndex, dict[str, Any]]:
    """Return an index that has these questions in memory, and what a recording tells about corpus and versions."""
    documents = read_corpus()
    index = SearchIndex.build(documents)
    warm(index, questions)
    return index, {
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "random_seed": random_seed,
        "runs": {},
        "corpus_documents": len(documents),
        "corpus_sha256": corpus_hash(documents),
        "python": platform.python_version(),
        "packages": {name: found for name in _distributions() if (found := _version(name))},
    }


@contextmanager
def replacing(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder whose files take their place in `folder` when all of them are complete, not before."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    # Beside the old files, so that putting the new ones in their place is a rename within one file system.
    with tempfile.TemporaryDirectory(prefix=".recording-", dir=target) as made:
        yield Path(made)
        for path in sorted(Path(made).iterdir()):
            path.replace(target / path.name)


def _requests(questions: list[dict[str, Any]], num_runs: int, random_seed: int) -> Iterator[Request]:
    rng = np.random.default_rng(random_seed)
    releases = tuple(_RELEASES)
    asked = [entry["question"] for entry in questions if not entry.get("expected_failure")]
    unanswerable = [entry["question"] for entry in questions if entry.get("expected_failure")]
    for number in range(num_runs):
        state, knobs = draw_run(rng, number, asked, unanswerable)
        yield Request(releases[int(rng.random() < _SLOW_SHARE)], number // BURST, state, knobs)


def draw_run(
    rng: np.random.Generator,
    number: int,
    asked: Sequence[str],
    unanswerable: Sequence[str],
    values: Mapping[str, Sequence[Any]] = KNOBS,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw what a run is asked and how its knobs stand, each from its values."""
    pool = unanswerable if rng.random() < _FAILING_SHARE else asked
    knobs = {name: drawn[int(rng.integers(len(drawn)))] for name, drawn in values.items()}
    state = {
        "question": pool[int(rng.integers(len(pool)))],
        "mode": "chat" if rng.random() < 0.5 else "default",
        "conversation_id": f"c{number // BURST:04d}",
        "turn_index": number % BURST,
        "request_id": f"r{number:05d}",
        "time_limit_ms": _HURRY_MS if rng.random() < _HURRIED_SHARE else None,
    }
    return state, knobs


def run_all(
    requests: Sequence[Request],
    releases: Mapping[str, Sequence[Step]],
    index: SearchIndex,
    clients: Sequence[int],
    folder: Path,
    *,
    progress: bool,
) -> dict[str, dict[str, int]]:
    """Ask the releases, burst by burst with so many clients; write a journal of each, return how many runs it holds."""
    with tempfile.TemporaryDirectory() as raw:
        tracers = {release: Tracer(Path(raw) / release, router_version="1") for release in releases}
        executors = {
            release: GraphExecutor({"search_qa": releases[release], "lesson_pack": LESSON_STEPS}, tracer)
            for release, tracer in tracers.items()
        }
        with tqdm(total=len(requests), disable=not progress, unit="run") as bar:
            for burst, num_clients in enumerate(clients):
                mine = [request for request in requests if request.burst == burst]
                with ThreadPoolExecutor(int(num_clients)) as pool:
                    list(pool.map(lambda request: _answer(executors[request.release], request, index), mine))
                bar.update(len(mine))
        for tracer in tracers.values():
            tracer.close()
        return {release: _compact(Path(raw) / release, folder / f"{release}.jsonl") for release in releases}


def write_about(about: Mapping[str, Any], folder: Path) -> None:
    """Write how it was recorded."""
    (folder / "recording.json").write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")


def _answer(executor: GraphExecutor, request: Request, index: SearchIndex) -> None:
    state = {**request.state, "started_ns": time.perf_counter_ns()}
    try:
        workflow = route(state["question"]).workflow
        executor.execute(workflow, state, index, knobs=request.knobs, release=request.release)
    except CausalkitError:
        # A question that cannot be answered is part of the recording: the trace holds the failed step.
        return


def _compact(raw: Path, journal: Path) -> dict[str, int]:
    # One run is in one of the two journals only.
    runs = load_traces(raw) if raw.stat().st_size else ()
    with JournalWriter(journal) as writer:
        for run in sorted(runs, key=lambda run: run.request_id):
            record = run.to_record()
            record["final_answer"] = (run.final_answer or "")[:_KEPT_ANSWER] or None
            writer.append(record)
    return {"total": len(runs), "failed": sum(not run.success for run in runs)}


def _distributions() -> tuple[str, ...]:
    return ("causalkit", *("scikit-learn" if name == "sklearn" else name for name in PACKAGES))


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None

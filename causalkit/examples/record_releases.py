"""Record releases of the example pipeline whose changes are known, and the one before them, in turn."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from causalkit.errors import CausalkitError
from causalkit.examples.record import BURST, Request, draw_run, prepared, replacing, run_all, write_about
from causalkit.examples.release_steps import Kind
from causalkit.examples.releases import Change, Release, asked_questions, draw_releases, kind_of
from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import KNOBS, STEPS, NoDocumentError, Step
from causalkit.workflows.traces import Traces, load_traces

NUM_RUNS = 300
BASELINE = Release("baseline", "no change")
NUM_PROBES = 300
"""Runs that tell how much the time of a step varies."""
NUM_COMPARED = 80
"""Of these, those on which a changed step is compared with the step as it is, in so many rounds."""
ROUNDS = 3
CLIP = (0.01, 0.99)
"""Beyond these quantiles of a step's times lie the interruptions by other programs."""


def record_releases(
    folder: str | os.PathLike[str], *, num_runs: int = NUM_RUNS, random_seed: int = 0, progress: bool = True
) -> dict[str, Any]:
    """Record the pipeline as it is and twelve releases of it into ``<release>.jsonl.gz``.

    All of them answer in turn, in random order, one run at a time, so that the state of the host is the same for all.

    Parameters
    ----------
    folder : path-like
        Where the journals go; those that are there are replaced when the recording is complete, not before.
    num_runs : int, default 300
        Runs of each.
    random_seed : int, default 0
        Decides what changes in each release, questions, knobs and order; latencies are what they are.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    dict
        How it was recorded, and of each release the truth: what changed, how much was drawn, and how much was measured;
        written to ``recording.json`` as well.
    """
    if num_runs < 2:
        raise CausalkitError(f"num_runs is {num_runs}; record at least two of each release", num_runs=num_runs)
    releases = [BASELINE, *draw_releases(random_seed)]
    index, about = prepared(asked_questions(), random_seed)
    amounts = calibrated(releases, index, random_seed)
    requests = list(_requests(releases, num_runs, random_seed))
    clients = [1] * (requests[-1].burst + 1)
    with replacing(folder) as made:
        steps = {release.name: release.steps(amounts) for release in releases}
        about["runs"] = run_all(requests, steps, index, clients, made, progress=progress)
        before, *after = [_packed(made / f"{release.name}.jsonl") for release in releases]
        truths = zip(releases[1:], after, strict=True)
        about["releases"] = [_truth(release, before, traces, amounts) for release, traces in truths]
        write_about(about, made)
    return about


def calibrated(releases: Iterable[Release], index: SearchIndex, random_seed: int) -> dict[Change, float]:
    """Measure on this host how much work makes each changed step slower or faster by the size that was drawn.

    What is measured is processor time, which other programs hardly disturb.
    """
    given, spread = _probed(index, random_seed)
    return {
        change: _amount(kind, change.size * spread[change.at], given[change.at][:NUM_COMPARED], index)
        for release in releases
        for change in release.changes
        if (kind := kind_of(change))
    }


def _requests(releases: Sequence[Release], num_runs: int, random_seed: int) -> Iterator[Request]:
    rng = np.random.default_rng(random_seed)
    asked, refused = asked_questions(), asked_questions(expected_failure=True)
    drawn_from = {release.name: (release.questions(asked), release.knobs()) for release in releases}
    turns = rng.permutation(np.repeat([release.name for release in releases], num_runs))
    for number, name in enumerate(map(str, turns)):
        questions, values = drawn_from[name]
        state, knobs = draw_run(rng, number, questions, refused, values)
        yield Request(name, number // BURST, state, knobs)


def _probed(index: SearchIndex, random_seed: int) -> tuple[dict[str, list[dict[str, Any]]], dict[str, float]]:
    """Run the steps as they are; return what each was given, and the standard deviation of its time over its mean."""
    rng = np.random.default_rng(random_seed)
    given: dict[str, list[dict[str, Any]]] = {step.__name__: [] for step in STEPS}
    times: dict[str, list[float]] = {step.__name__: [] for step in STEPS}
    asked = asked_questions()
    for number in range(NUM_PROBES):
        drawn, knobs = draw_run(rng, number, asked, asked)
        state = {**drawn, **knobs, "time_limit_ms": None}
        # A question that the first documents of the corpus cannot answer goes no further.
        with suppress(NoDocumentError):
            for step in STEPS:
                begun = time.thread_time_ns()
                made = step(state, index) or {}
                times[step.__name__].append(time.thread_time_ns() - begun)
                given[step.__name__].append(dict(state))
                state |= made
    return given, {name: float(np.std(_clipped(spent)) / np.mean(_clipped(spent))) for name, spent in times.items()}


def _amount(kind: Kind, wanted: float, given: Sequence[dict[str, Any]], index: SearchIndex) -> float:
    """Find the work that makes a step slower by a share of its mean time; below 0 it is faster."""
    step = next(step for step in STEPS if step.__name__ == kind.step)
    amount = 1.0
    for _ in range(ROUNDS):
        amount = min(kind.limit, amount * wanted / _slower(kind.make(amount), step, given, index))
    return amount


def _slower(changed: Step, step: Step, given: Sequence[dict[str, Any]], index: SearchIndex) -> float:
    """Return by which share of its time the changed step is slower."""
    spent = [0, 0]
    for state in given:
        for i, made in enumerate((step, changed)):
            begun = time.thread_time_ns()
            made(state, index)
            spent[i] += time.thread_time_ns() - begun
    return spent[1] / spent[0] - 1


def _packed(journal: Path) -> Traces:
    """Pack a journal, a fifth of the size, and return what is in it."""
    packed = journal.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(journal.read_bytes(), mtime=0))
    journal.unlink()
    return load_traces(packed)


def _truth(release: Release, before: Traces, after: Traces, amounts: Mapping[Change, float]) -> dict[str, Any]:
    changes = [
        {
            "at": change.at,
            "what": change.what,
            "unit": change.unit,
            "drawn": change.size,
            "measured": round(_measured(change, before, after), 2),
            "amount": round(amounts[change], 3) if change in amounts else None,
        }
        for change in release.changes
    ]
    return {"name": release.name, "kind": release.kind, "truth": list(release.truth), "changes": changes}


def _measured(change: Change, before: Traces, after: Traces) -> float:
    if change.words:
        failed = after.find_failed_steps()
        return sum(failed["error_type"] == "BrokenStepError") / len(after)
    usual, now = (_clipped(_values(traces, change.at)) for traces in (before, after))
    return float((now.mean() - usual.mean()) / usual.std())


def _values(traces: Traces, at: str) -> list[float]:
    if at in KNOBS:
        return [run.attributes["knobs"][at] for run in traces]
    if at == "question":
        return [len(run.question) for run in traces]
    return [step.latency_ms for run in traces for step in run.steps if step.step_name == at and step.success]


def _clipped(values: Sequence[float]) -> np.ndarray:
    clipped: np.ndarray = np.clip(values, *np.quantile(values, CLIP))
    return clipped

"""Is a new version of a workflow really worse? Ask it the same cases and compare, with statistics.

=================================================  =====================  =======================
question                                           name                   module
=================================================  =====================  =======================
Does it meet its cases, is it worse than before?   `run_regression`       `regression`
What is a case, and where are cases read?          `RegressionCase`       `regression_cases`
What was found?                                    `RegressionReport`     `regression_report`
What counts as worse?                              `compare`              `regression_compare`
How many cases do I need?                          `detectable_drop`      `regression_statistics`
=================================================  =====================  =======================
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from causalkit.errors import CausalkitError, TraceFormatError
from causalkit.workflows.regression_cases import CaseResult, RegressionCase, check_case, load_cases
from causalkit.workflows.regression_compare import compare
from causalkit.workflows.regression_report import RegressionReport
from causalkit.workflows.regression_run import CaseRunner
from causalkit.workflows.regression_worker import Workflow


def run_regression(
    cases: Sequence[RegressionCase] | str | os.PathLike[str],
    workflow: Workflow,
    *,
    baseline: RegressionReport | str | os.PathLike[str] | None = None,
    repeat: int = 1,
    jobs: int = 1,
    time_limit_s: float = 60.0,
    random_seed: int = 0,
    output_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> RegressionReport:
    """Ask a workflow every case, judge what comes of it, and compare it with an earlier run.

    Parameters
    ----------
    cases : sequence of RegressionCase, or path-like
        What is asked; the workflow is given the question and nothing else.
    workflow : callable
        ``workflow(question)`` or ``workflow(question, tracer=...)``, which records into the tracer. It returns a
        mapping: ``workflow`` (what the router chose), ``final_answer``, ``citations``, ``cost_usd``, any other fields,
        and perhaps a finished `WorkflowTrace` as ``trace``. A function ``corpus_hash()`` beside it names what it
        answers from; ``warm()`` beside it is called once in each process before the first case.
    baseline : RegressionReport or path-like, optional
        An earlier run; one on another corpus is refused.
    repeat : int, default 1
        How often each case is asked; a workflow that varies needs more.
    jobs : int, default 1
        How many cases run at once, each in a process of its own.
    time_limit_s : float, default 60
        A case that takes longer is ended, and fails.
    random_seed : int, default 0
        Of the resampling, and of `random` and `numpy.random` before each case.
    output_dir : path-like, optional
        Where the journal of the runs stays, ``traces.jsonl`` (an earlier one is replaced), and what they print,
        ``output.log``. Default: they are not kept.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    RegressionReport

    Raises
    ------
    CausalkitError
        If the cases, the baseline or the options are unusable, or the workflow cannot be made ready.

    Examples
    --------
    >>> from causalkit.workflows.regression_cases import RegressionCase
    >>> def answer(question):
    ...     return {"workflow": "short", "final_answer": question.upper()}
    >>> cases = [RegressionCase(id="a", question="why?", expected_workflow="short", expected_fields=("final_answer",))]
    >>> run_regression(cases, answer, progress=False)
    <RegressionReport 1 of 1 passed>
    """
    for name, value in (("repeat", repeat), ("jobs", jobs), ("time_limit_s", time_limit_s)):
        if not value > 0:
            raise CausalkitError(f"{name} is {value}; it must be above 0", option=name)
    listed = load_cases(cases) if isinstance(cases, str | os.PathLike) else _checked(cases)
    before = RegressionReport.load(baseline) if isinstance(baseline, str | os.PathLike) else baseline
    began = datetime.now(UTC).isoformat(timespec="seconds")
    load_1m = _load_1m()
    with ExitStack() as stack:
        folder = Path(output_dir or stack.enter_context(tempfile.TemporaryDirectory()))
        _make_folder(folder)
        jobs = min(jobs, len(listed) * repeat)
        runner = stack.enter_context(CaseRunner(workflow, folder, jobs=jobs, time_limit_s=time_limit_s))
        if before is not None:
            _refuse_other_corpus(runner.facts["corpus_hash"], before)
            _common(listed, before)
        results = runner.run(listed, repeat=repeat, random_seed=random_seed, progress=progress)
    report = RegressionReport(
        results=tuple(results),
        timestamp=began,
        workflow=f"{getattr(workflow, '__module__', '')}:{getattr(workflow, '__qualname__', type(workflow).__name__)}",
        corpus_hash=runner.facts["corpus_hash"],
        dataset_hash=hashlib.sha256("".join(sorted(case.fingerprint() for case in listed)).encode()).hexdigest(),
        random_seed=random_seed,
        repeat=repeat,
        jobs=jobs,
        time_limit_s=float(time_limit_s),
        host={
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "load_1m": load_1m,
            "load_1m_after": _load_1m(),
            "packages": runner.facts["packages"],
        },
        caveats=tuple(runner.caveats),
    )
    return report if before is None else _compared(report, before, listed)


def _checked(cases: Sequence[RegressionCase]) -> Sequence[RegressionCase]:
    if not cases:
        raise TraceFormatError("there is no case; give at least one")
    ids = [case.id for case in cases]
    twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
    if twice:
        raise TraceFormatError(f"several cases have the id {twice[0]!r}; give each one of its own", ids=twice)
    for case in cases:
        check_case(case)
    return cases


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise CausalkitError(f"{folder} is a file; name a folder for the journal of the runs", path=str(folder))
    folder.mkdir(parents=True, exist_ok=True)


def _refuse_other_corpus(corpus_hash: str | None, baseline: RegressionReport) -> None:
    if corpus_hash != baseline.corpus_hash:
        mine, theirs = (f"{one[:12]}..." if one else "none" for one in (corpus_hash, baseline.corpus_hash))
        raise TraceFormatError(
            f"the baseline answered from another corpus ({theirs}, this workflow from {mine}), so a difference would "
            "not be the workflow's; run the old version on this corpus for a baseline",
            corpus_hash=corpus_hash,
            baseline_corpus_hash=baseline.corpus_hash,
        )


def _common(cases: Sequence[RegressionCase], baseline: RegressionReport) -> set[str]:
    known = {(result.id, result.fingerprint) for result in baseline.results}
    common = {case.id for case in cases if (case.id, case.fingerprint()) in known}
    if not common:
        raise TraceFormatError("the baseline has not one of these cases; run the old version on them for a baseline")
    return common


def _compared(
    report: RegressionReport, baseline: RegressionReport, cases: Sequence[RegressionCase]
) -> RegressionReport:
    common = _common(cases, baseline)
    now, before = (_only(common, run.results) for run in (report, baseline))
    unlike = _why_latencies_are_not_alike(report, baseline)
    comparison = compare(
        now,
        before,
        lower_is_better=_lower_is_better(cases),
        judge_latency=not unlike,
        random_seed=report.random_seed,
    )
    caveats = [*report.caveats]
    if unlike:
        caveats.append(f"latencies are not judged: {'; '.join(unlike)}")
    changed = _changed(baseline.host, report.host, ("python", "platform"))
    changed += _changed(baseline.host.get("packages", {}), report.host.get("packages", {}))
    if changed:
        caveats.append(f"other versions: {', '.join(changed)}")
    left_out = len({result.id for result in (*report.results, *baseline.results)} - common)
    if left_out:
        caveats.append(
            f"{left_out} cases are new, gone or changed since the baseline; compared on the {len(common)} others"
        )
    if report.corpus_hash is None:
        caveats.append("neither run names its corpus: whether it is the same is not known")
    return replace(report, comparison=comparison, caveats=tuple(caveats))


def _only(ids: set[str], results: Sequence[CaseResult]) -> list[CaseResult]:
    return [result for result in results if result.id in ids]


def _lower_is_better(cases: Sequence[RegressionCase]) -> set[str]:
    """Return the signals that cases limit from above only."""
    sides: dict[str, set[str]] = {}
    for case in cases:
        for signal, side, _ in case.limits():
            sides.setdefault(signal, set()).add(side)
    return {signal for signal, named in sides.items() if named == {"max"}}


def _why_latencies_are_not_alike(report: RegressionReport, baseline: RegressionReport) -> list[str]:
    mine, theirs = ({"cores": run.host.get("cores"), "jobs": run.jobs} for run in (report, baseline))
    busy = [f"the {name}" for name, run in (("baseline", baseline), ("run", report)) if _was_busy(run)]
    told = [f"the host was busy with other work during {' and '.join(busy)}"] if busy else []
    return [*told, *(f"the number of {change}" for change in _changed(theirs, mine, ("cores", "jobs")))]


def _load_1m() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _was_busy(run: RegressionReport) -> bool:
    """Tell whether others had the cores: on a busy host the same code took two to three times as long."""
    before, after = run.host.get("load_1m"), run.host.get("load_1m_after")
    cores = run.host.get("cores") or 1
    return (before or 0.0) > cores or (after or 0.0) > cores + run.jobs


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], names: Iterable[str] | None = None) -> list[str]:
    alike = (name for name in (now if names is None else names) if name in now and name in before)
    return [f"{name} {before[name]} -> {now[name]}" for name in alike if before[name] != now[name]]

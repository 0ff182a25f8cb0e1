"""Ask a workflow all cases, in processes that are kept warm, ended when a case takes too long, and replaced."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
from tqdm.auto import tqdm

from causalkit.errors import WorkerError
from causalkit.workflows.quality import quality_signal
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.regression_cases import CaseResult, RegressionCase, judge
from causalkit.workflows.regression_worker import Asked, Workflow, serve
from causalkit.workflows.selftime import self_times
from causalkit.workflows.traces import load_traces

# A cold start (a model to load, an index to build) is not what a case is given its time for.
_WARM_UP_LIMIT_S = 600.0

Request = dict[str, str]
Reply = dict[str, Any]


class CaseRunner:
    """A workflow that is ready to be asked.

    Parameters
    ----------
    workflow : callable
    folder : Path
        Takes the journal of the runs, ``traces.jsonl``, and what they print, ``output.log``.
    jobs : int
        How many cases run at once.
    time_limit_s : float
        A case that takes longer is ended.

    Attributes
    ----------
    facts : dict
        ``corpus_hash`` and ``packages`` of the workflow.
    caveats : list of str

    Raises
    ------
    WorkerError
        If the workflow cannot be made ready.
    """

    def __init__(self, workflow: Workflow, folder: Path, *, jobs: int, time_limit_s: float) -> None:
        self.folder = folder
        self.caveats: list[str] = []
        self._limit_s = time_limit_s
        for name in ("traces.jsonl", "output.log"):
            (folder / name).unlink(missing_ok=True)
        self._start = self._way_to_start(workflow)
        self._workers = [] if self._start is None else [self._start() for _ in range(jobs)]
        try:
            self.facts = self._make_ready(workflow)
        except BaseException:
            self.close()
            raise

    def run(
        self, cases: Sequence[RegressionCase], *, repeat: int, random_seed: int, progress: bool
    ) -> list[CaseResult]:
        """Ask every case `repeat` times; the results are in the order of the cases."""
        asked = [(case, number) for number in range(repeat) for case in cases]
        requests: dict[str, Request] = {}
        for case, number in asked:
            seed = f"{random_seed}/{case.id}/{number}"
            requests[f"{case.id}-{number}"] = {"question": case.question, "seed": seed}
        replies = {}
        for request_id, reply in tqdm(self._answers(requests), total=len(requests), disable=not progress, unit="case"):
            replies[request_id] = reply
        traces = read_traces(self.folder / "traces.jsonl")
        results = [
            _result(case, number, replies[f"{case.id}-{number}"], traces.get(f"{case.id}-{number}"))
            for case, number in asked
        ]
        places = {case.id: place for place, case in enumerate(cases)}
        return sorted(results, key=lambda result: (places[result.id], result.repeat))

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()

    def __enter__(self) -> CaseRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _way_to_start(self, workflow: Workflow) -> Any:
        signals = quality_signal.registered.values()
        if all(map(_is_importable, (workflow, *signals))):
            name = f"{workflow.__module__}:{workflow.__qualname__}"
            modules = sorted({function.__module__ for function in signals})
            return lambda: Worker("spawn", name, modules, self.folder)
        if "fork" in multiprocessing.get_all_start_methods():
            return lambda: Worker("fork", workflow, [], self.folder)
        self.caveats.append(
            "the cases ran in this process, one after the other, since the workflow cannot be imported by another: "
            "a case that hangs or ends its process was not guarded against"
        )
        return None

    def _make_ready(self, workflow: Workflow) -> dict[str, Any]:
        if self._start is None:
            self._here = Asked(workflow, self.folder)
            return self._here.facts()
        # All of them, so that no case's time is spent on becoming warm.
        facts: list[dict[str, Any]] = [worker.facts() for worker in self._workers]
        return facts[0]

    def _answers(self, requests: dict[str, Request]) -> Iterator[tuple[str, Reply]]:
        if self._start is None:
            yield from ((request_id, self._here(request_id, **request)) for request_id, request in requests.items())
            return
        waiting = deque(requests)
        while waiting or any(worker.request_id for worker in self._workers):
            for worker in self._workers:
                if waiting and not worker.is_busy:
                    worker.ask(asked := waiting.popleft(), requests[asked], self._limit_s)
            for worker in _that_ended(self._workers):
                request_id, reply = worker.request_id, worker.receive()
                if request_id is not None:
                    yield request_id, reply
                elif "error" in reply:
                    raise _not_ready(reply)
                if worker.is_dead:
                    self._workers.remove(worker)
                    self._workers += [self._start()] if waiting else []


class Worker:
    """One process and what it is doing: becoming warm, answering a request, or nothing."""

    request_id: str | None = None

    def __init__(self, method: str, workflow: Workflow | str, signal_modules: Sequence[str], folder: Path) -> None:
        context: Any = multiprocessing.get_context(method)
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, workflow, signal_modules, str(folder)))
        with warnings.catch_warnings():
            # A forked process may wait for ever for a lock that a thread of ours held; the time limit is for that, too.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()
        self.is_dead = False
        self._give_until(_WARM_UP_LIMIT_S)

    def facts(self) -> dict[str, Any]:
        """Wait until the workflow is warm; return what it says about itself."""
        self.connection.poll(_WARM_UP_LIMIT_S)
        reply = self.receive()
        if "error" in reply:
            raise _not_ready(reply)
        return reply

    def ask(self, request_id: str, request: Request, limit_s: float) -> None:
        """Hand over one request."""
        self.request_id = request_id
        self._give_until(limit_s)
        # If it has died in between, reading from it says so.
        with suppress(OSError):
            self.connection.send_bytes(msgspec.json.encode({"request_id": request_id, **request}))

    def receive(self) -> Reply:
        """Return the reply; a process that died or is still busy is ended, and that is the reply."""
        self.request_id, self.is_busy = None, False
        try:
            if self.connection.poll():
                return dict(msgspec.json.decode(self.connection.recv_bytes()))
            reason = ("TimeLimit", f"took longer than {self._limit_s:g} s and was ended")
        except (EOFError, OSError, msgspec.DecodeError):
            self._process.join(1)
            reason = ("ProcessDied", f"ended its process ({_way_of_death(self._process.exitcode)})")
        self.end()
        return {"error": {"type": reason[0], "message": reason[1]}}

    def end(self) -> None:
        """End the process and all that it started."""
        self.is_dead = True
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (AttributeError, ProcessLookupError, PermissionError):
            self._process.kill()  # it leads no group of its own: not yet, or not on this system
        self._process.join()
        self.connection.close()

    def _give_until(self, limit_s: float) -> None:
        self.is_busy, self._limit_s, self.deadline = True, limit_s, time.monotonic() + limit_s


def read_traces(path: Path) -> dict[str, WorkflowTrace]:
    """Return the runs of a journal by request id."""
    if not path.is_file() or not path.stat().st_size:
        return {}
    with warnings.catch_warnings():
        # A process that was ended may have left a torn line; its case has failed for that already.
        warnings.simplefilter("ignore")
        return {run.request_id: run for run in load_traces(path)}


def _that_ended(workers: Sequence[Worker]) -> list[Worker]:
    busy = [worker for worker in workers if worker.is_busy]
    soonest = min(worker.deadline for worker in busy) - time.monotonic()
    # A wait of more than some weeks overflows in the system.
    readable = wait([worker.connection for worker in busy], min(max(0.0, soonest), 1e6))
    now = time.monotonic()
    return [worker for worker in busy if worker.connection in readable or worker.deadline <= now]


def _result(case: RegressionCase, repeat: int, reply: Reply, trace: WorkflowTrace | None) -> CaseResult:
    run = _run(reply, trace)
    reasons = judge(case, run)
    return CaseResult(
        id=case.id,
        question=case.question,
        fingerprint=case.fingerprint(),
        repeat=repeat,
        passed=not reasons,
        reasons=reasons,
        tags=case.tags,
        steps=_step_times(trace),
        **{name: value for name, value in run.items() if name != "fields"},
    )


def _run(reply: Reply, trace: WorkflowTrace | None) -> dict[str, Any]:
    """Put together what the workflow returned and what its trace tells."""
    error = reply.get("error")
    if error and trace and trace.crashed and trace.steps:
        error = {
            **error,
            "message": f"{error['message']}; the last step that finished was {trace.steps[-1].step_name!r}",
        }
    return {
        "workflow": reply.get("workflow") or (trace.workflow_name or None if trace else None),
        "fields": reply.get("fields", ()),
        "signals": dict(trace.quality_signals) if trace else {},
        "latency_ms": (trace.total_latency_ms if trace else None) or reply.get("latency_ms"),
        "cost_usd": reply.get("cost_usd") if reply.get("cost_usd") is not None else _cost(trace),
        "error": error,
    }


def _cost(trace: WorkflowTrace | None) -> float | None:
    if trace is None:
        return None
    told = [cost for step in trace.steps if isinstance(cost := step.attributes.get("cost_usd"), int | float)]
    return sum(told) if told else trace.cost_stats.get("cost_usd")


def _step_times(trace: WorkflowTrace | None) -> dict[str, float]:
    if trace is None or trace.crashed:
        return {}
    return self_times(trace)


def _is_importable(function: Any) -> bool:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module in (None, "__main__"):
        return False
    try:
        return attrgetter(name)(importlib.import_module(module)) is function
    except (ImportError, AttributeError):
        return False


def _not_ready(reply: Reply) -> WorkerError:
    error = reply["error"]
    told = f"the workflow could not be made ready ({error['type']}: {error['message']})"
    return WorkerError(f"{told}; see output.log beside the journal of the runs", error=error)


def _way_of_death(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    return f"by {signal.Signals(-exit_code).name}"

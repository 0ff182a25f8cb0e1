"""The process that a regression run asks its workflow in: it may hang, crash or end itself, and only one case fails."""

from __future__ import annotations

import faulthandler
import gc
import hashlib
import importlib
import inspect
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import packages_distributions, version
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from causalkit.errors import CausalkitError
from causalkit.journal import JournalWriter
from causalkit.workflows.quality import compute_signals
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.tracer import Tracer

Workflow = Callable[..., Mapping[str, Any]]

LARGEST_RESULT = 10_000_000
"""Bytes of JSON; what is larger is no answer to a question."""
_LONGEST_MESSAGE = 500


def load_workflow(name: str) -> Workflow:
    """Return the function that ``module:function`` names.

    Raises
    ------
    CausalkitError
        If there is none (``.workflow``).

    Examples
    --------
    >>> load_workflow("json:dumps").__name__
    'dumps'
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise CausalkitError(f"{name!r} names no workflow; write module:function", workflow=name)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        told = f"the module {module_name!r} cannot be imported ({type(error).__name__}: {error})"
        raise CausalkitError(f"{told}; is it on the path of this Python?", workflow=name) from error
    for part in function_name.split("."):
        if not hasattr(found, part):
            raise CausalkitError(f"the module {module_name!r} has no {function_name!r}", workflow=name)
        found = getattr(found, part)
    if not callable(found):
        kind = type(found).__name__
        raise CausalkitError(f"{name!r} is of type {kind}; a workflow is a function of a question", workflow=name)
    return found  # type: ignore[no-any-return]


def serve(connection: Connection, workflow: Workflow | str, signal_modules: Sequence[str], folder: str) -> None:
    """Answer the requests that come through a connection until it ends."""
    _stand_alone(Path(folder) / "output.log")
    try:
        for module in signal_modules:
            importlib.import_module(module)
        asked = Asked(load_workflow(workflow) if isinstance(workflow, str) else workflow, Path(folder))
        connection.send_bytes(msgspec.json.encode(asked.facts()))
    except BaseException as error:
        connection.send_bytes(msgspec.json.encode({"error": describe(error)}))
        return
    while True:
        try:
            request = msgspec.json.decode(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(msgspec.json.encode(asked(**request)))


class Asked:
    """A workflow that is asked case by case; each run goes into the journal of the folder.

    Parameters
    ----------
    workflow : callable
        ``workflow(question)``, or with a keyword ``tracer``. Beside it in its module, or as its attributes, may stand
        ``warm()``, called once, and ``corpus_hash()``.
    folder : Path
    """

    def __init__(self, workflow: Workflow, folder: Path) -> None:
        self._workflow = workflow
        self._takes_tracer = "tracer" in inspect.signature(workflow).parameters
        self._tracer = _CaseTracer(folder / "traces.jsonl")
        self._journal = JournalWriter(folder / "traces.jsonl")
        _companion(workflow, "warm")

    def facts(self) -> dict[str, Any]:
        """Return the hash of the corpus and the versions of the packages that are loaded."""
        corpus_hash = _companion(self._workflow, "corpus_hash")
        return {"corpus_hash": None if corpus_hash is None else str(corpus_hash), "packages": _loaded_packages()}

    def __call__(self, request_id: str, question: str, seed: str) -> dict[str, Any]:
        """Ask one question; return what came of it as JSON can hold it."""
        _seed(seed)
        self._tracer.begin(request_id)
        started = time.perf_counter()
        try:
            result = self._workflow(question, tracer=self._tracer) if self._takes_tracer else self._workflow(question)
            latency_ms = (time.perf_counter() - started) * 1e3
            told = _told(result)
        except BaseException as error:
            latency_ms, result, told = (time.perf_counter() - started) * 1e3, {}, {"error": describe(error)}
        if not self._tracer.opened:
            self._record(request_id, question, result, latency_ms, told)
        return {"latency_ms": latency_ms, **told}

    def _record(self, request_id: str, question: str, result: Any, latency_ms: float, told: Mapping[str, Any]) -> None:
        trace = result.get("trace") if isinstance(result, Mapping) else None
        if not isinstance(trace, WorkflowTrace):
            trace = WorkflowTrace(
                request_id=request_id, question=question, success="error" not in told, total_latency_ms=latency_ms
            )
            state = {} if "error" in told else result
            trace = msgspec.structs.replace(trace, quality_signals=compute_signals(trace, state, []))
        self._journal.append({**trace.to_record(), "request_id": request_id})


class _CaseTracer(Tracer):
    """Gives the first run of a case the id of the case, and those within it ids after it."""

    def begin(self, request_id: str) -> None:
        self.opened = 0
        self._request_id = request_id

    def workflow(self, *given: Any, **told: Any) -> Any:
        self.opened += 1
        told["request_id"] = self._request_id if self.opened == 1 else f"{self._request_id}/{self.opened}"
        return super().workflow(*given, **told)


def describe(error: BaseException) -> dict[str, str]:
    """Return the type and the message of an exception, whatever its message may be.

    Examples
    --------
    >>> describe(ValueError("too deep"))
    {'type': 'ValueError', 'message': 'too deep'}
    """
    try:
        message = str(error)[:_LONGEST_MESSAGE]
    except Exception as unreadable:
        message = f"its message cannot be read ({type(unreadable).__name__})"
    # What stands alone for half a character would make the report unreadable as UTF-8.
    return {"type": type(error).__name__, "message": message.encode(errors="replace").decode()}


def _told(result: Any) -> dict[str, Any]:
    if not isinstance(result, Mapping):
        return _nonsense(f"returned a {type(result).__name__}; a result is a mapping of fields")
    fields = {str(name): value for name, value in result.items() if name != "trace"}
    try:
        size = len(msgspec.json.encode(fields, enc_hook=_numbers))
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        return _nonsense(f"returned what cannot be written as JSON ({error})")
    if size > LARGEST_RESULT:
        return _nonsense(f"returned {size / 1e6:.0f} MB; at most {LARGEST_RESULT / 1e6:.0f} MB are read")
    workflow, cost = fields.get("workflow"), fields.get("cost_usd")
    return {
        "workflow": workflow if isinstance(workflow, str) else None,
        "cost_usd": cost if isinstance(cost, int | float) else None,
        "fields": [name for name, value in fields.items() if _is_something(value)],
    }


def _nonsense(message: str) -> dict[str, Any]:
    return {"error": {"type": "UnusableResult", "message": message}}


def _numbers(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__}")


def _is_something(value: Any) -> bool:
    # False and 0 are answers; None, "" and an empty list are none.
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)


def _companion(workflow: Workflow, name: str) -> Any:
    module = sys.modules.get(getattr(workflow, "__module__", None) or "")
    function = getattr(workflow, name, None) or getattr(module, name, None)
    return function() if callable(function) else None


def _loaded_packages() -> dict[str, str]:
    loaded = {name.partition(".")[0] for name in sys.modules}
    names = {
        found for top, distributions in packages_distributions().items() if top in loaded for found in distributions
    }
    return {name: version(name) for name in sorted(names)}


def _seed(seed: str) -> None:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    random.seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number)


def _stand_alone(log: Path) -> None:
    """Leave the parent's group and its output, and end with it."""
    # What was inherited by a fork may wait, when taken apart, for threads that are not here.
    gc.freeze()
    if hasattr(os, "setsid"):
        os.setsid()  # so that whatever a case starts is ended with it, and an interrupt is the parent's alone
        threading.Thread(target=_end_with_parent, daemon=True).start()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = log.open("a", encoding="utf-8", errors="replace", buffering=1)
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    sys.stdout = sys.stderr = output
    faulthandler.enable(output)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)

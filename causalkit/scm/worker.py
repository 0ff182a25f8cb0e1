"""Fit and ask models for another process: one JSON object in, one out.

``python -m causalkit worker`` answers one request from stdin; with ``--persistent`` one a line, until its input ends.
Answers go to stdout and nothing else does: whatever a library prints, and every log, goes to stderr.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from typing import IO, Any, Literal, TypeAlias

import msgspec
import pandas as pd

import causalkit
from causalkit.errors import CausalkitError, FitError, InsufficientDataError, ValidationError, WorkerError
from causalkit.scm import questions, readable  # noqa: F401 - loaded now, so that no request waits for them
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from causalkit.scm.requests import (
    MAX_CELLS,
    MAX_REQUEST_BYTES,
    Columns,
    Request,
    actions,
    causal_graph,
    read_request,
    request_id,
    trace_table,
)

Answer: TypeAlias = dict[str, Any]

MAX_MODELS = 32
NUM_SAMPLES = 1000
# The exit code of a program ended by an interrupt, as shells count it: 128 and the signal's number.
_INTERRUPTED = 130
_GOOD = ("success", "warning")


def serve(*, persistent: bool = False, verbose: bool = False) -> int:
    """Answer what comes on stdin, on stdout, and return the exit code.

    Parameters
    ----------
    persistent : bool, default False
        Answer one request a line until the input ends, and keep the fitted models; otherwise answer one and end.
    verbose : bool, default False
        Tracebacks of unexpected errors on stderr.

    Returns
    -------
    int
        0 after a success or a warning and when the input of a persistent worker ends; 1 after any other answer.
    """
    try:
        source, output = _take_over_streams()
        worker = Worker(keep_models=persistent, verbose=verbose)
        for line in _lines(source) if persistent else [source.read(MAX_REQUEST_BYTES + 1)]:
            answer = worker.answer(line)
            _write(output, msgspec.json.encode(answer, enc_hook=_plain) + b"\n")
    except BrokenPipeError:
        return 0 if persistent else 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0 if persistent or answer["status"] in _GOOD else 1


class Worker:
    """Answers requests and keeps the last models it fitted.

    Parameters
    ----------
    keep_models : bool, default True
        Give fitted models a handle by which later requests name them.
    verbose : bool, default False
        Tracebacks of unexpected errors on stderr.

    Examples
    --------
    >>> worker = Worker()
    >>> worker.answer(b'{"op": "ping", "id": 1}')["status"]
    'success'
    >>> worker.answer(b'{"op": "sample", "model": "m1"}')["error"]
    "no model is named 'm1'; fit one, and use the handle of the answer"
    """

    def __init__(self, *, keep_models: bool = True, verbose: bool = False) -> None:
        self._keep_models, self._verbose = keep_models, verbose
        self._models: OrderedDict[str, FittedSCM] = OrderedDict()
        self._num_fitted = 0

    def answer(self, line: bytes) -> Answer:
        """Return the answer to one request; whatever is wrong with it becomes an answer of status ``error``."""
        try:
            request = read_request(line)
            asked_by = request.id
            answer = self._operations[request.op](self, request)
        except Exception as error:
            if self._verbose:
                traceback.print_exc(file=sys.stderr)
            asked_by, answer = request_id(line), _refusal(error)
        return answer if asked_by is None else {"id": asked_by, **answer}

    def _ping(self, _: Request) -> Answer:
        return {"status": "success", "metadata": {"python_version": platform.python_version(), **_versions()}}

    def _fit(self, request: Request) -> Answer:
        start = time.perf_counter()
        try:
            scm, failure = _fitted(request), None
        except ValidationError as error:
            if isinstance(error, InsufficientDataError):
                raise
            scm, failure = error.scm, error
        answer = _validation_failure(failure) if failure else {"status": "success", **_description(scm)}
        answer["metadata"]["fitting_time_ms"] = (time.perf_counter() - start) * 1000
        return answer | ({"model": self._keep(scm)} if self._keep_models else {})

    def _sample(self, request: Request) -> Answer:
        scm = self._model(request)
        return _success(scm, samples=_columns(scm.sample(_num_samples(request, scm), random_seed=request.random_seed)))

    def _intervene(self, request: Request) -> Answer:
        scm, done = self._model(request), actions(request.interventions)
        result = scm.intervene(done, _num_samples(request, scm), random_seed=request.random_seed)
        found = {"statistics": result.statistics.to_dict("index"), "sentence": result.sentence}
        return _success(scm, samples=_columns(result.samples), **found, caveats=result.caveats)

    def _counterfactual(self, request: Request) -> Answer:
        scm, done = self._model(request), actions(request.interventions)
        if request.observed is None:
            raise WorkerError("a counterfactual needs the runs it is about; send their columns as 'observed'")
        result = scm.counterfactual(_rows(request.observed), done)
        return _success(
            scm, samples=_columns(result.to_frame()), sentence=result.sentence, caveats=list(result.caveats)
        )

    _operations: Mapping[str, Callable[[Worker, Request], Answer]] = {
        "ping": _ping, "fit": _fit, "sample": _sample, "intervene": _intervene, "counterfactual": _counterfactual
    }  # fmt: skip

    def _keep(self, scm: FittedSCM) -> str:
        self._num_fitted += 1
        handle = f"m{self._num_fitted}"
        self._models[handle] = scm
        if len(self._models) > MAX_MODELS:
            self._models.popitem(last=False)
        return handle

    def _model(self, request: Request) -> FittedSCM:
        if request.model is None:
            return _fitted(request)
        if request.model in self._models:
            return self._models[request.model]
        if request.model in (f"m{number + 1}" for number in range(self._num_fitted)):
            raise WorkerError(f"model {request.model!r} was dropped: the last {MAX_MODELS} are kept; fit it again")
        raise WorkerError(f"no model is named {request.model!r}; fit one, and use the handle of the answer")


def _fitted(request: Request) -> FittedSCM:
    if request.graph is None or request.traces is None:
        other = "" if request.op == "fit" else ", or send the handle of a fitted one as 'model'"
        raise WorkerError(f"a model needs 'graph' and 'traces' to be fitted to; send both{other}")
    graph = causal_graph(request.graph)
    lacking = [node for node in graph if node not in request.traces]
    if lacking:
        names = ", ".join(map(repr, lacking[:5])) + (f" and {len(lacking) - 5} others" if len(lacking) > 5 else "")
        raise FitError(f"traces have no column for {names}; add it, or drop the node from the graph", column=lacking[0])
    table = trace_table(request.traces)
    table.attrs |= {"knobs": request.attrs.knobs, "caveats": request.attrs.caveats}
    config = request.config
    on_failure: Literal["raise", "return"] = "raise" if config.validate_r2 else "return"
    fitter = SCMFitter(on_failure=on_failure, progress=False, **config.fitter_options())
    code = {"function_code": config.function_code} if config.function_code else {}
    return fitter.fit(graph, table, derived=config.derived, **code)


def _description(scm: FittedSCM) -> Answer:
    told = scm.to_dict()
    return {
        "scm": {part: told[part] for part in ("graph", "mechanisms")},
        "validation": told["validation"],
        "metadata": told["metadata"] | _versions(),
    }


def _validation_failure(error: ValidationError) -> Answer:
    details = {"failed_nodes": list(error.failed_nodes), "threshold": error.threshold}
    told = {"status": "validation_failed", "error": str(error), "type": "ValidationError", "details": details}
    return told | _description(error.scm)


def _success(scm: FittedSCM, **found: Any) -> Answer:
    return {"status": "success", **found, "metadata": {"num_samples": len(scm.table)} | _versions()}


def _refusal(error: Exception) -> Answer:
    expected = isinstance(error, CausalkitError)
    if isinstance(error, ValidationError) and not isinstance(error, InsufficientDataError):
        return _validation_failure(error)
    return {
        "status": "warning" if isinstance(error, InsufficientDataError) else "error",
        "error": str(error) if expected else f"{type(error).__name__}: {error}",
        "type": type(error).__name__,
        "details": {name: fact for name, fact in vars(error).items() if _is_plain(fact)} if expected else {},
    }


def _is_plain(fact: Any) -> bool:
    if isinstance(fact, list | tuple):
        return all(isinstance(part, str | int | float) for part in fact)
    return fact is None or isinstance(fact, str | int | float)


def _num_samples(request: Request, scm: FittedSCM) -> int:
    given = next((number for number in (request.n, request.num_samples) if number is not None), NUM_SAMPLES)
    if given * len(scm.graph) > MAX_CELLS:
        raise WorkerError(f"{given} samples are more than {MAX_CELLS:,} cells; ask for fewer", num_samples=given)
    return given


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): frame[name].tolist() for name in frame}


def _rows(columns: Columns) -> pd.DataFrame:
    return trace_table(columns, "observed")


def _versions() -> dict[str, str | None]:
    dowhy_version = None
    with suppress(metadata.PackageNotFoundError):
        dowhy_version = metadata.version("dowhy")
    return {"dowhy_version": dowhy_version, "causalkit_version": causalkit.__version__}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _take_over_streams() -> tuple[IO[bytes], int]:
    """Return private copies of stdin and stdout; what others read and print there is nothing, and goes to stderr."""
    sys.stdout.flush()
    source, output = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a stderr
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
    return source, output


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    while line := source.readline(MAX_REQUEST_BYTES + 1):
        rest = line
        while len(rest) > MAX_REQUEST_BYTES and not rest.endswith(b"\n"):
            # One answer for one line: the rest of a line that is too long is no request.
            rest = source.readline(MAX_REQUEST_BYTES + 1)
        yield line


def _write(output: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(output, left) :]

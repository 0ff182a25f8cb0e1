"""Fit and ask models in another process, which may run another Python.

The child is started when it is first needed and kept warm. Nothing it does can hang this process: every answer has a
deadline, an answer carries the id of its request, and a child that dies, is silent or answers with something else is
killed with all its descendants; the next request starts a fresh one.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import causalkit
from causalkit.errors import CausalkitError, FitError, WorkerError
from causalkit.scm.answers import RemoteAnswer, RemoteSCM, fitted, found, raise_failure, read_answer
from causalkit.scm.child import Child

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from causalkit.scm.interventions import Intervention

# Finds the package in its own folder and nothing else beside it: this interpreter's other packages may be built for
# another Python than the child's.
_START = """
import importlib.util, sys
folder = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location("causalkit", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["causalkit"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from causalkit.__main__ import main
raise SystemExit(main(["worker", "--persistent"]))
"""


class DoWhyClient:
    """Fit structural causal models in a warm child process.

    Parameters
    ----------
    python : str, optional
        The interpreter to run; default: this one. It needs the packages that fitting needs, but not causalkit.
    timeout_s : float, default 60
        For any one answer, the start of the child included.

    Examples
    --------
    >>> import networkx as nx
    >>> x = [number / 10 for number in range(200)]
    >>> traces = {"x": x, "y": [2 * value + value % 0.3 for value in x]}
    >>> with DoWhyClient() as client:
    ...     scm = client.fit_scm(nx.DiGraph([("x", "y")]), traces, random_seed=0)
    ...     result = client.intervene(scm, {"x": 5}, random_seed=0)
    >>> scm.status, round(float(result.statistics.loc["y", "mean"]))
    ('success', 10)
    """

    def __init__(self, python: str | os.PathLike[str] | None = None, timeout_s: float = 60.0) -> None:
        if not (isinstance(timeout_s, int | float) and 0 < timeout_s < math.inf):
            raise WorkerError(
                f"timeout_s is {timeout_s!r}; give the seconds to wait for an answer", timeout_s=timeout_s
            )
        self.timeout_s = timeout_s
        folder = str(Path(causalkit.__file__).resolve().parent)
        self._command = [os.fspath(python or sys.executable), "-P", "-c", _START, folder]
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def check_availability(self) -> dict[str, Any]:
        """Return whether models can be fitted there, and with what.

        Returns
        -------
        dict
            ``available``, ``python_version``, ``causalkit_version``, ``dowhy_version`` (None where it is absent, which
            only `FittedSCM.dowhy` minds) and ``error`` (None, or why not).
        """
        told: dict[str, Any] = dict.fromkeys(("python_version", "causalkit_version", "dowhy_version"))
        try:
            answer = self.ask({"op": "ping"})
            raise_failure(answer)
        except CausalkitError as error:
            return {"available": False, **told, "error": str(error)}
        return {"available": True, **told, **answer.get("metadata", {}), "error": None}

    def fit_scm(
        self,
        graph: nx.DiGraph[str],
        traces: pd.DataFrame | Mapping[str, Sequence[Any]],
        quality: str = "GOOD",
        validate_r2: bool = True,
        r2_threshold: float = 0.7,
        **config: Any,
    ) -> RemoteSCM:
        """Fit a model in the child.

        Parameters
        ----------
        graph : networkx.DiGraph
        traces : pandas.DataFrame or mapping of str to sequence
            The trace table.
        quality, r2_threshold
            As `SCMFitter` has them.
        validate_r2 : bool, default True
            Raise where a node stays below the threshold.
        **config : Any
            More options of `SCMFitter` and `SCMFitter.fit`: ``groups``, ``missing``, ``random_seed``, ``derived``, ...

        Returns
        -------
        RemoteSCM

        Raises
        ------
        ValidationError
            If a node stays below the threshold; the model is its ``scm``.
        InsufficientDataError
            If there are too few rows.
        GraphError, FitError
            If graph or table is unusable.
        WorkerError
            If the child cannot be started, dies, or gives no usable answer in time.
        """
        from causalkit.scm.sending import fit_request

        config = {"quality": quality, "validate_r2": validate_r2, "r2_threshold": r2_threshold, **config}
        answer = self.ask(fit_request(graph, traces, config))
        return fitted(answer)

    def sample(self, model: RemoteSCM | str, n: int = 1000, random_seed: int | None = None) -> pd.DataFrame:
        """Draw rows from a model as it is; see `FittedSCM.sample`."""
        return self._answer(model, {"op": "sample", "n": n, "random_seed": random_seed}).samples

    def intervene(
        self,
        model: RemoteSCM | str,
        interventions: Mapping[str, Intervention] | str,
        num_samples: int = 1000,
        random_seed: int | None = None,
    ) -> RemoteAnswer:
        """Ask what would happen if nodes were set, shifted or scaled; see `FittedSCM.intervene`."""
        from causalkit.scm.sending import plain_actions

        asked = {"op": "intervene", "num_samples": num_samples, "random_seed": random_seed}
        return self._answer(model, asked | {"interventions": plain_actions(interventions)})

    def counterfactual(
        self,
        model: RemoteSCM | str,
        observed: pd.DataFrame | Mapping[str, Sequence[Any]],
        interventions: Mapping[str, Intervention] | str,
    ) -> RemoteAnswer:
        """Ask how these runs would have gone; see `FittedSCM.counterfactual`."""
        from causalkit.scm.sending import plain_actions, plain_columns

        asked = {"op": "counterfactual", "observed": plain_columns(observed)}
        return self._answer(model, asked | {"interventions": plain_actions(interventions)})

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request of the worker protocol and return its answer as it came, whatever its status.

        Raises
        ------
        WorkerError
            If the child cannot be started, dies, or gives no usable answer in time; it is killed then.
        """
        with self._lock:
            deadline = time.monotonic() + self.timeout_s
            child = self._running()
            number = f"{child.token}-{next(self._numbers)}"
            line = _line({**request, **_named_model(request, child), "id": number})
            try:
                answer = read_answer(child.ask(line, number, deadline, self.timeout_s))
            except BaseException:
                # Also an interrupt: half an answer would still be on its way when the next request is sent.
                self._end()
                raise
        if "model" in answer:
            answer["model"] = f"{child.token}:{answer['model']}"
        return answer

    def close(self) -> None:
        """End the child; a later request starts another."""
        with self._lock:
            self._end()

    def __enter__(self) -> DoWhyClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DoWhyClient: {self._command[0]}, {'warm' if self._child else 'not started'}>"

    def _running(self) -> Child:
        if self._child and self._child.is_gone:
            self._end()
        self._child = self._child or Child(self._command)
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child:
            child.end()

    def _answer(self, model: RemoteSCM | str, asked: dict[str, Any]) -> RemoteAnswer:
        answer = self.ask({**asked, "model": model.handle if isinstance(model, RemoteSCM) else model})
        return found(answer)


def _named_model(request: Mapping[str, Any], child: Child) -> dict[str, str]:
    """Return the model of a request as the child knows it."""
    if "model" not in request:
        return {}
    token, _, name = str(request["model"]).partition(":")
    if token != child.token or not name:
        raise WorkerError(
            f"model {request['model']!r} is gone with the process that had fitted it (after a time-out, a failure or "
            "close); fit it again",
            model=request["model"],
        )
    return {"model": name}


def _line(request: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(request, enc_hook=_own) + b"\n"
    except (TypeError, ValueError, OverflowError) as error:
        raise FitError(f"the request cannot be sent to another process: {error}; give numbers and text") from error


def _own(value: Any) -> Any:
    if hasattr(value, "item"):  # a NumPy number
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")

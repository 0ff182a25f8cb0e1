"""What a worker answered, as objects and errors of this process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

import causalkit.errors
from causalkit.errors import CausalkitError, InsufficientDataError, ValidationError, WorkerError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RemoteSCM:
    """A fitted model that lives in the child process.

    Attributes
    ----------
    handle : str
        By which the client asks for it; good for as long as that child lives.
    status : str
        ``success`` or ``validation_failed``.
    scm, validation, metadata : dict
        As `FittedSCM.to_dict` has them: graph and mechanisms, the verdict, versions and times.
    """

    handle: str
    status: str
    scm: dict[str, Any] = field(repr=False)
    validation: dict[str, Any] = field(repr=False)
    metadata: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RemoteAnswer:
    """What the child found: draws, statistics by node where there are any, the finding in words and its caveats."""

    samples: pd.DataFrame = field(repr=False)
    statistics: pd.DataFrame = field(repr=False)
    sentence: str
    caveats: list[str]

    def to_frame(self) -> pd.DataFrame:
        """Return the statistics, one row per node, or the draws where there are no statistics."""
        return self.samples.copy() if self.statistics.empty else self.statistics.copy()


def read_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that has the protocol's shape.

    Raises
    ------
    WorkerError
        If it has another.
    """
    try:
        msgspec.convert(answer, _Shape)
    except msgspec.ValidationError as error:
        raise WorkerError(f"the worker process answered with something else than the protocol has: {error}") from error
    return answer


def fitted(answer: Mapping[str, Any]) -> RemoteSCM:
    """Return the model of an answer, or raise what went wrong."""
    parts = {part: answer.get(part, {}) for part in ("scm", "validation", "metadata")}
    scm = RemoteSCM(answer.get("model", ""), answer["status"], **parts)
    raise_failure(answer, scm)
    return scm


def found(answer: Mapping[str, Any]) -> RemoteAnswer:
    """Return draws and statistics of an answer, or raise what went wrong."""
    import pandas as pd

    raise_failure(answer)
    statistics = pd.DataFrame.from_dict(answer.get("statistics", {}), orient="index").rename_axis("node")
    samples = pd.DataFrame(answer.get("samples", {}))
    return RemoteAnswer(samples, statistics, answer.get("sentence", ""), answer.get("caveats", []))


def raise_failure(answer: Mapping[str, Any], scm: RemoteSCM | None = None) -> None:
    """Raise what the answer says went wrong, as this process would have raised it."""
    if answer["status"] == "success":
        return
    facts = {name: fact for name, fact in answer.get("details", {}).items() if name not in {"self", "message"}}
    message = answer.get("error", "")
    if answer["status"] == "warning":
        raise InsufficientDataError(message, **facts)
    if answer["status"] == "validation_failed":
        verdict = answer.get("validation", {})
        facts["r2_scores"] = {node: _number(score) for node, score in verdict.get("r2_scores", {}).items()}
        facts["failed_nodes"] = tuple(facts.get("failed_nodes", ()))
        raise ValidationError(message, **{**facts, "mean_r2": _number(verdict.get("mean_r2")), "scm": scm})
    kind = getattr(causalkit.errors, answer.get("type", ""), WorkerError)
    known = isinstance(kind, type) and issubclass(kind, CausalkitError)
    raise (kind if known else WorkerError)(message, **facts)


def _number(told: Any) -> float:
    return math.nan if told is None else float(told)


class _Shape(msgspec.Struct):
    """What an answer must look like, or it is none."""

    status: Literal["success", "validation_failed", "warning", "error"]
    scm: dict[str, Any] = {}
    validation: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    details: dict[str, Any] = {}
    model: str = ""
    error: str = ""
    type: str = ""
    samples: dict[str, list[Any]] = {}
    statistics: dict[str, dict[str, float | None]] = {}
    sentence: str = ""
    caveats: list[str] = []

"""What the runs of each workflow cost, kept up to date run by run and shared by processes through one file."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from filelock import FileLock

from causalkit.errors import CausalkitError, TraceFormatError
from causalkit.workflows.cost_stats import QUANTITIES, WorkflowCostStats
from causalkit.workflows.records import WorkflowTrace

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CostStatsManager", "WorkflowCostStats"]

SCHEMA: Literal[1] = 1
# Savers hold the lock for the few milliseconds of one small write.
_POLL_S = 0.005


class CostStatsManager:
    """The cost statistics of several workflows, in memory and in a file that many processes may share.

    Parameters
    ----------
    path : path-like, optional
        A JSON file, read if it is there; without one the statistics stay in memory.

    Raises
    ------
    TraceFormatError
        If the file is damaged; see `load`.

    Examples
    --------
    >>> costs = CostStatsManager()
    >>> costs.update(WorkflowTrace(request_id="a", workflow_name="qa", success=True, total_latency_ms=12.0))
    >>> costs.get("qa").avg_latency_ms
    12.0
    >>> costs.get("aq")
    Traceback (most recent call last):
        ...
    causalkit.errors.CausalkitError: there are no cost statistics of 'aq'; known are 'qa'; did you mean 'qa'?

    Two processes that share a file lose no run, and a lost file is made anew from the journal:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "costs.json"
    >>> here, there = CostStatsManager(path), CostStatsManager(path)
    >>> for costs in (here, there):
    ...     costs.update(WorkflowTrace(request_id="a", workflow_name="qa", success=True))
    ...     costs.save()
    >>> there.get("qa").execution_count
    2
    >>> there.rebuild([WorkflowTrace(request_id="a", workflow_name="qa", success=True)])
    >>> CostStatsManager(path).to_frame()["execution_count"].to_dict()
    {'qa': 1}
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        # Through a link, so that the link stays one and all who use the file share one lock.
        self.path = None if path is None else Path(os.path.realpath(path))
        self._lock = threading.Lock()
        self._saved: dict[str, WorkflowCostStats] = {}
        self._new: defaultdict[str, WorkflowCostStats] = defaultdict(WorkflowCostStats)
        _managers.add(self)
        if self.path is not None and self.path.exists():
            self.load()

    def __repr__(self) -> str:
        totals = self._totals()
        return f"<CostStatsManager: {len(totals)} workflows, {sum(s.execution_count for s in totals.values())} runs>"

    @property
    def workflows(self) -> tuple[str, ...]:
        """The names of the workflows, sorted."""
        return tuple(sorted(self._totals()))

    def update(self, trace: WorkflowTrace) -> None:
        """Count one more run of its workflow; safe from many threads."""
        with self._lock:
            self._new[trace.workflow_name].update(trace)

    def get(self, workflow_name: str) -> WorkflowCostStats:
        """Return the statistics of one workflow as they are now.

        Raises
        ------
        CausalkitError
            If no run of it was counted (``.workflow``, ``.known``, ``.closest``).
        """
        totals = self._totals()
        if workflow_name in totals:
            return totals[workflow_name]
        known = tuple(sorted(totals))
        closest = next(iter(get_close_matches(workflow_name, totals, n=1, cutoff=0.5)), None)
        raise CausalkitError(
            f"there are no cost statistics of {workflow_name!r}; known are {', '.join(map(repr, known)) or 'none'}"
            + (f"; did you mean {closest!r}?" if closest else ""),
            workflow=workflow_name,
            known=known,
            closest=closest,
        )

    def merge(self, other: CostStatsManager) -> None:
        """Add what another manager counted, which must be other runs than those counted here."""
        theirs = other._totals()
        with self._lock:
            self._new.update(_together(self._new, theirs))

    def save(self) -> None:
        """Add what was counted since the last save to what stands in the file now, and go on from there.

        The file is whole at every moment, whoever dies; processes that save at the same time wait for one another.

        Raises
        ------
        CausalkitError
            If the manager has no path.
        TraceFormatError
            If the file is damaged; see `load`. What was counted since the last save is kept.
        """
        with self._locked_file() as path:
            totals = _together(_read(path), self._new)
            _write(path, totals)
            self._begin_after(totals)

    def load(self) -> None:
        """Read the file anew; what was counted here since the last save stays counted.

        Raises
        ------
        CausalkitError
            If the manager has no path.
        TraceFormatError
            If the file is damaged. It is moved to ``<name>.corrupt-<n>`` (``.kept``), and `rebuild` makes it anew.
        """
        with self._locked_file() as path:
            self._saved = _read(path)

    def rebuild(self, journal: str | os.PathLike[str] | Iterable[WorkflowTrace]) -> None:
        """Count the runs of a journal, in place of everything counted before, and write the file anew.

        Parameters
        ----------
        journal : path-like or iterable of WorkflowTrace
            Each request id counts once. Nobody else should record meanwhile: what another process counted and did not
            save yet would be in the journal, and so counted twice.
        """
        from causalkit.workflows.traces import load_traces

        counted: defaultdict[str, WorkflowCostStats] = defaultdict(WorkflowCostStats)
        seen: set[str] = set()
        for trace in load_traces(journal) if isinstance(journal, str | os.PathLike) else journal:
            if trace.request_id not in seen:
                seen.add(trace.request_id)
                counted[trace.workflow_name].update(trace)
        if self.path is None:
            with self._lock:
                self._begin_after(dict(counted))
            return
        with self._locked_file() as path:
            _write(path, counted)
            self._begin_after(dict(counted))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per workflow; units end the names (``var_`` has their square), NaN is not measured."""
        import pandas as pd

        columns = ["success_rate", *(f"{moment}_{q}" for q in QUANTITIES for moment in ("avg", "var", "min", "max"))]
        totals = sorted(self._totals().items())
        index = pd.Index([name for name, _ in totals], name="workflow_name", dtype=str)
        rows = [[getattr(stats, column) for column in columns] for _, stats in totals]
        frame = pd.DataFrame(rows, index=index, columns=columns, dtype=float)
        frame.insert(0, "execution_count", [stats.execution_count for _, stats in totals])
        return frame

    def _totals(self) -> dict[str, WorkflowCostStats]:
        with self._lock:
            return _together(self._saved, self._new)

    def _begin_after(self, totals: dict[str, WorkflowCostStats]) -> None:
        self._saved = totals
        self._new = defaultdict(WorkflowCostStats)

    @contextmanager
    def _locked_file(self) -> Iterator[Path]:
        if self.path is None:
            raise CausalkitError("these cost statistics have no file; give CostStatsManager a path", path=None)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock").acquire(poll_interval=_POLL_S), self._lock:
            yield self.path


_managers: weakref.WeakSet[CostStatsManager] = weakref.WeakSet()


def _after_fork() -> None:
    # What the parent counted it will save itself; a lock that one of its threads held is never released here.
    for manager in _managers:
        manager._lock = threading.Lock()
        manager._begin_after(manager._totals())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _File(msgspec.Struct):
    schema: Literal[1]
    workflows: dict[str, WorkflowCostStats]


def _read(path: Path) -> dict[str, WorkflowCostStats]:
    try:
        document = json.loads(path.read_bytes())
        file = msgspec.convert(document, _File)
        # A field that is not there would be read as zero; infinities are valid to Python's JSON only.
        if json.loads(json.dumps(msgspec.to_builtins(file), allow_nan=False)) != document:
            raise ValueError("fields are missing or unknown")
    except FileNotFoundError:
        return {}
    except (ValueError, OverflowError, RecursionError, msgspec.ValidationError) as error:
        kept = _set_aside(path)
        raise TraceFormatError(
            f"{path} holds no cost statistics ({error}); it was moved to {kept.name}: call rebuild(journal) on a "
            "CostStatsManager of this path to count the runs of the journal anew",
            path=str(path),
            kept=str(kept),
        ) from error
    return file.workflows


def _set_aside(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    return path.rename(kept)


def _write(path: Path, workflows: Mapping[str, WorkflowCostStats]) -> None:
    document = msgspec.to_builtins(_File(SCHEMA, dict(workflows)))
    # Its name is always the same, so that those who die here leave one file and not many.
    draft = path.with_name(f"{path.name}.tmp")
    with draft.open("w", encoding="ascii") as stream:
        json.dump(document, stream, allow_nan=False, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def _together(
    one: Mapping[str, WorkflowCostStats], other: Mapping[str, WorkflowCostStats]
) -> dict[str, WorkflowCostStats]:
    none = WorkflowCostStats()
    return {name: one.get(name, none).merge(other.get(name, none)) for name in {**one, **other}}

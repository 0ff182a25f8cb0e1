"""Watching operators while they run: what disagrees, is wrong, slow or failing in the last so many calls.

The work for each event does not grow with the window: see `causalkit.operators.rolling`. What is remembered is bounded,
also where calls are never closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from causalkit.errors import CausalkitError
from causalkit.operators.agreement import Equal, disagreement
from causalkit.operators.alerts import Alert, Crossing
from causalkit.operators.capture import Capture, Policy, capture_of
from causalkit.operators.events import OperatorEvent
from causalkit.operators.listening import EventCollector, Handle
from causalkit.operators.rolling_stats import CHANGED, RollingStats, check_stat

_OF_VOTES = frozenset[str | None]({"disagreement_rate"})


class OperatorMonitor:
    """Rolling statistics of all operators of this process.

    It hears them from `start` to `stop`, or within ``with``.

    Parameters
    ----------
    window_size : int, default 100
        Each statistic is of the last so many: ensemble calls for the disagreement, metrics of a stage for its accuracy,
        finished calls for the rest.
    equal : callable, optional
        Whether two votes are equal; default `causalkit.operators.agreement.same`. It gets votes as captured.
    measure : {"non_unanimous", "pairwise", "entropy", "distinct"}
        How disagreement is measured; see `causalkit.operators.agreement`.
    capture : {"summary", "copy", "reference"} or callable, default "summary"
        What is kept of a vote until its ensemble has ended.

    Attributes
    ----------
    switches : list of callable
        Called with True when it has started and with False when it has stopped.

    Raises
    ------
    CausalkitError
        If the size of the window is no positive whole number, or there is no such measure or policy.

    Examples
    --------
    >>> from causalkit.operators.tracing import trace
    >>> @trace(operator_type="ensemble", stage="ensemble_1")
    ... def panel(votes):
    ...     return votes
    >>> with OperatorMonitor(window_size=2) as monitor:
    ...     [len(panel(votes)) for votes in ([3, 5], [3, 3], [3, 8])]
    [2, 2, 2]
    >>> monitor.get_rolling_stats()["disagreement_rate"]
    0.5
    """

    def __init__(
        self,
        window_size: int = 100,
        *,
        equal: Equal | None = None,
        measure: str = "non_unanimous",
        capture: Policy | Capture = "summary",
    ) -> None:
        if not isinstance(window_size, int) or isinstance(window_size, bool) or window_size < 1:
            raise CausalkitError(f"window_size is {window_size!r}; give 1 or more calls", window_size=window_size)
        if equal is not None and not callable(equal):
            raise CausalkitError(f"equal is a {type(equal).__name__}; give a function of two votes", equal=equal)
        disagreement([0], measure)
        capture_of(capture)
        self.window_size, self.switches = window_size, list[Callable[[bool], object]]()
        self._equal, self._measure, self._capture = equal, measure, capture
        self._handle: Handle | None = None
        self._switching, self._lock = threading.RLock(), threading.RLock()
        self._alerts: tuple[Alert, ...] = ()
        self._stats = RollingStats(window_size)

    def __repr__(self) -> str:
        state = "running" if self.running else "not running"
        return f"<OperatorMonitor {state}, window of {self.window_size}: {self._stats.num_calls} calls>"

    @property
    def running(self) -> bool:
        """Whether it hears operators at present."""
        return self._handle is not None

    def start(self) -> Self:
        """Hear operators from now on; doing so twice does no harm."""
        with self._switching:
            if self._handle is None:
                self._handle = EventCollector.register(self._hear, capture=self._capture)
                self._switched(True)
        return self

    def stop(self) -> None:
        """Hear nothing any more; what was heard stays, and calls that are open are forgotten."""
        with self._switching:
            if self._handle is not None:
                self._handle.unregister()
                self._handle = None
                with self._lock:
                    self._stats.ensembles.forget()
                self._switched(False)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.stop()

    def get_rolling_stats(self) -> dict[str, Any]:
        """Return the statistics of the last `window_size` calls; None where there is nothing to tell from.

        Returns
        -------
        dict
            ``disagreement_rate`` of ensemble calls that returned, by the votes that had come by then;
            ``accuracy_by_stage``, the mean of the metrics ``correct`` and ``accuracy``; ``latency_p50_ms`` and
            ``latency_p95_ms``; ``latency_by_stage`` with ``p50_ms`` and ``p95_ms``; ``error_rate``;
            ``throughput_per_s`` of finished calls and ``runs_per_s`` of finished outermost calls, by the events'
            own time. In all: ``num_events``, ``num_calls`` that began, ``open_calls``, and ``calls_let_go``, which
            were open for so long that they are no longer remembered.
        """
        with self._lock:
            told = self._stats.now()
        # Not under the lock: sorting a long window would hold up the operators.
        return told()

    def alert(
        self,
        stat: str | tuple[str | None, ...],
        *,
        above: float | None = None,
        below: float | None = None,
        callback: Callable[[Crossing], object],
        min_count: int = 20,
    ) -> Alert:
        """Call a function when a statistic crosses a threshold, and again only after it has come back.

        Parameters
        ----------
        stat : str or tuple of str
            A name from `get_rolling_stats`; ``("accuracy_by_stage", stage)``; or ``("latency_by_stage", stage,
            "p95_ms")``.
        above, below : float, optional
            At least one of them.
        callback : callable
            Gets a `Crossing`, in the thread of the operator whose event made it. What it raises disturbs nobody: the
            first error is logged and kept in the alert.
        min_count : int, default 20
            With fewer values in the window (of a smaller window: until it is full) nothing is said.

        Returns
        -------
        Alert
            Its ``unregister()`` ends it.

        Raises
        ------
        CausalkitError
            If there is no such statistic, no threshold, or nothing to call.

        Examples
        --------
        >>> from causalkit.operators.tracing import trace
        >>> monitor, told = OperatorMonitor(), []
        >>> alert = monitor.alert("num_calls", above=2, callback=told.append)
        >>> with monitor:
        ...     [trace(abs)(number) for number in (-1, 2, -3, 4)]
        [1, 2, 3, 4]
        >>> told
        [<Crossing of num_calls: 3.00 is above 2.00>]
        """
        alert = Alert(stat, above, below, callback, min_count, self._forget)
        alert.min_count = min(min_count, self.window_size)
        check_stat(alert.stat)
        with self._lock:
            self._stats.prepare(alert.stat)
            self._alerts += (alert,)
        return alert

    def _forget(self, alert: Alert) -> None:
        with self._lock:
            self._alerts = tuple(other for other in self._alerts if other is not alert)

    def _switched(self, on: bool) -> None:
        for switch in [*self.switches]:
            switch(on)

    def _hear(self, event: OperatorEvent) -> None:
        with self._lock:
            votes = self._stats.take(event)
            crossed = self._look(event, CHANGED[event.event_type]) if self._alerts else []
        _tell(crossed)
        if votes:
            # Not under the lock: `equal` is the user's, and may wait for other operators.
            value = disagreement(votes, self._measure, self._equal)
            with self._lock:
                self._stats.disagreement.add(value)
                crossed = self._look(event, _OF_VOTES)
            _tell(crossed)

    def _look(self, event: OperatorEvent, changed: frozenset[str | None]) -> list[tuple[Alert, Crossing]]:
        """Return what crossed a threshold, of the statistics that an event may have changed."""
        crossed = []
        for alert in self._alerts:
            stat = alert.stat
            if stat[0] in changed and (len(stat) == 1 or stat[1] == event.stage):
                crossing = alert.look(*self._stats.read(stat), event.timestamp)
                if crossing is not None:
                    crossed.append((alert, crossing))
        return crossed


def _tell(crossed: list[tuple[Alert, Crossing]]) -> None:
    for alert, crossing in crossed:
        alert.tell(crossing)

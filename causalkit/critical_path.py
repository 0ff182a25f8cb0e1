"""Nested spans of time: which one held the whole up at each moment, and how long each ran without its children."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush

Spans = Mapping[str | None, tuple[float, float]]
Inside = Mapping[str | None, Iterable[str]]


def held_up(spans: Spans, inside: Inside) -> dict[str | None, float]:
    """Return for each span how long it alone held the run up.

    From the end of the run backwards, each moment belongs to the span that was waited for: of those that ran then, the
    one that goes back furthest, and within it its own children in the same way.

    Parameters
    ----------
    spans : mapping of str to (float, float)
        Id -> when it began and ended, in milliseconds; under None the run.
    inside : mapping of str to iterable of str
        Id -> the ids that ran directly in it; under None those that ran directly in the run.

    Returns
    -------
    dict of str to float
        Id -> milliseconds; under None the time outside all spans. Those that held nothing up are left out. The values
        add up to the length of the run.

    Notes
    -----
    The walk is that of CRISP (Zhang et al., USENIX ATC 2022), but spans that overlap share the time between them.

    Examples
    --------
    >>> held_up({None: (0, 6), "slow": (0, 5), "fast": (0, 3)}, {None: ["slow", "fast"]})
    {None: 1.0, 'slow': 5.0}
    """
    held: defaultdict[str | None, float] = defaultdict(float)
    waiting: list[tuple[str | None, float, float]] = [(None, *spans[None])]
    while waiting:
        span, begin, end = waiting.pop()
        last = end
        for child, begun, ended in _waited_for(inside.get(span, ()), spans, begin, end):
            held[span] += last - ended
            waiting.append((child, begun, ended))
            last = begun
        held[span] += last - begin
    return {span: time for span, time in held.items() if time > 0}


def own_times(spans: Spans, inside: Inside) -> dict[str | None, float]:
    """Return for each span how long it ran while none of its children did.

    Parameters
    ----------
    spans : mapping of str to (float, float)
        Id -> when it began and ended, in milliseconds; under None the run, if it is to be measured too.
    inside : mapping of str to iterable of str
        Id -> the ids that ran directly in it. They may have run at the same time, and past its end.

    Examples
    --------
    >>> own_times({"panel": (0, 6), "a": (1, 4), "b": (2, 5)}, {"panel": ["a", "b"]})
    {'panel': 2.0, 'a': 3.0, 'b': 3.0}
    """
    return {
        span: _uncovered(*bounds, sorted(map(spans.__getitem__, inside.get(span, ()))))
        for span, bounds in spans.items()
    }


def _uncovered(begin: float, end: float, children: Iterable[tuple[float, float]]) -> float:
    """Return how much of a span no child covers; the children in the order in which they began."""
    free = 0.0
    for begun, ended in children:
        free += max(min(begun, end) - begin, 0.0)
        begin = max(begin, ended)
    return free + max(end - begin, 0.0)


def _waited_for(children: Iterable[str], spans: Spans, begin: float, end: float) -> Iterable[tuple[str, float, float]]:
    """Go from the end of a span to its beginning along the children that were waited for, cut to what each covers."""
    by_end = sorted(children, key=lambda child: (spans[child][1], spans[child][0], child))
    running: list[tuple[float, str]] = []
    while end > begin:
        while by_end and spans[by_end[-1]][1] >= end:
            child = by_end.pop()
            heappush(running, (spans[child][0], child))
        begun, child = heappop(running) if running else (end, "")
        if begun >= end:
            # Nothing ran here: on to what ended before.
            if not by_end:
                return
            running.clear()
            end = spans[by_end[-1]][1]
            continue
        begun = max(begun, begin)
        yield child, begun, end
        end = begun

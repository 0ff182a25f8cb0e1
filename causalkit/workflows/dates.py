"""Dates and instants as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import NamedTuple

from causalkit.errors import TraceFormatError


class Bound(NamedTuple):
    """One end of a range: a day or an instant.

    Attributes
    ----------
    given : object
        What was written.
    earliest, latest : datetime
        UTC; the same for an instant.
    naive : bool
        Whether it named no time zone.
    """

    given: object
    earliest: datetime
    latest: datetime
    naive: bool


def read_bound(given: str | date | datetime | None, which: str) -> Bound | None:
    """Return what a date or a text means; None for None.

    Parameters
    ----------
    given : str, date, datetime or None
        ISO 8601, also as pandas writes it.
    which : str
        What it is called in the error.

    Raises
    ------
    TraceFormatError
        If it is none of these.

    Examples
    --------
    >>> bound = read_bound("2026-11-21", "end")
    >>> bound.earliest.isoformat(), bound.latest.isoformat(), bound.naive
    ('2026-11-21T00:00:00+00:00', '2026-11-21T23:59:59.999999+00:00', True)
    """
    if given is None:
        return None
    told = _parsed(given, which)
    if not isinstance(told, datetime):
        begin = datetime.combine(told, time(), UTC)
        return Bound(given, begin, datetime.combine(told, time.max, UTC), naive=True)
    try:
        instant = told.replace(tzinfo=told.tzinfo or UTC).astimezone(UTC)
    except (OverflowError, ValueError):
        raise _no_date(given, which) from None
    return Bound(given, instant, instant, naive=told.tzinfo is None)


def _parsed(given: object, which: str) -> date:
    # pandas' NaT is a date, and not itself.
    if isinstance(given, date) and given == given:
        return given
    try:
        text = str(given).strip()
        return date.fromisoformat(text) if len(text) <= len("2026-11-21") else datetime.fromisoformat(text)
    except ValueError:
        raise _no_date(given, which) from None


def _no_date(given: object, which: str) -> TraceFormatError:
    return TraceFormatError(
        f"{which}={given!r} is no date; write one as '2026-11-21' or '2026-11-21T08:30+01:00', or give a datetime",
        given=given,
    )

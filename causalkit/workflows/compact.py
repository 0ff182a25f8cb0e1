"""A Parquet copy beside a journal: a tenth of its size, and faster to ask. The journal stays the truth."""

from __future__ import annotations

import os
import warnings
from glob import escape
from hashlib import blake2b
from pathlib import Path

from causalkit.errors import TraceFormatError
from causalkit.journal_reading import Damage, journal_files
from causalkit.workflows.journal_tables import connect, open_journals, store_of
from causalkit.workflows.parquet import copy_to, told_in
from causalkit.workflows.stores import Store

# Of each file its ends are compared, and its size: a journal only grows.
_ENDS_BYTES = 4096


class StaleCopyWarning(UserWarning):
    """The Parquet copy of a journal is not that of the journal as it is now; the journal is read instead."""


def compact(journal: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write the runs and the steps of a journal as two Parquet files beside it.

    Parameters
    ----------
    journal : path-like
        The journal; it is left as it is, and stays what counts: `load_traces` notices a copy that is not up to date.

    Returns
    -------
    runs, steps : Path
        ``<name>.runs.parquet`` and ``<name>.steps.parquet``, replaced together with what they were before.

    Examples
    --------
    >>> import tempfile
    >>> from causalkit.workflows.tracer import Tracer
    >>> path = Path(tempfile.mkdtemp()) / "qa.jsonl"
    >>> with Tracer(path).workflow("answer") as run, run.step("search"):
    ...     pass
    >>> [copy.name for copy in compact(path)]
    ['qa.runs.parquet', 'qa.steps.parquet']
    """
    journal = Path(journal)
    if not journal_files(journal):
        raise TraceFormatError(f"there is no journal {journal}; check the path", path=str(journal))
    about = _about(journal)
    store = open_journals([journal], str(journal), hold=False, extras=True)
    about["damage"] = [[part.path, part.start, part.end, part.reason] for part in store.damage]
    about["caveats"] = list(store.caveats)
    connection = store.runs.get_backend().con
    copies = _copies(journal)
    for table, copy in zip(("runs", "steps"), copies, strict=True):
        copy_to(connection, f"FROM {table}", copy, about)
    return copies


def open_copy(journal: Path) -> Store | None:
    """Return the Parquet copy of a journal as a store, or None where there is none that is up to date."""
    import duckdb

    copies = _copies(journal)
    if not any(copy.exists() for copy in copies):
        return None
    connection = connect()
    try:
        told = [told_in(connection, copy) for copy in copies]
        for table, copy in zip(("runs", "steps"), copies, strict=True):
            connection.read_parquet(escape(str(copy))).create_view(table)
    except (duckdb.Error, ValueError) as error:
        _warn(journal, f"cannot be read ({str(error).partition(chr(10))[0]})")
        return None
    known = {name: told[0].pop(name, []) for name in ("damage", "caveats")}
    told[1] = {name: value for name, value in told[1].items() if name not in known}
    if told[0] != told[1] or told[0] != _about(journal):
        _warn(journal, "is not that of the journal as it is now")
        return None
    damage = tuple(Damage(*part) for part in known["damage"])
    return store_of(connection, damage=damage, caveats=tuple(known["caveats"]), source=str(journal))


def _copies(journal: Path) -> tuple[Path, Path]:
    name = journal.name.removesuffix(".gz").removesuffix(".jsonl")
    return journal.with_name(f"{name}.runs.parquet"), journal.with_name(f"{name}.steps.parquet")


def _about(journal: Path) -> dict[str, object]:
    files = journal_files(journal)
    return {"format": 1, "files": [[file.name, file.stat().st_size, _ends(file)] for file in files]}


def _ends(file: Path) -> str:
    with file.open("rb") as lines:
        first = lines.read(_ENDS_BYTES)
        lines.seek(max(0, file.stat().st_size - _ENDS_BYTES))
        return blake2b(first + lines.read(_ENDS_BYTES), digest_size=16).hexdigest()


def _warn(journal: Path, reason: str) -> None:
    message = f"the Parquet copy of {journal} {reason}; the journal is read instead: compact() writes the copy anew"
    warnings.warn(message, StaleCopyWarning, stacklevel=5)

"""Write a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causalkit.errors import CausalkitError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a draft beside a file; it takes the file's place when the block ends well, and is gone where it does not.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path
        What to write to.

    Raises
    ------
    CausalkitError
        If no file can be written there.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "spans.jsonl"
    >>> with replaced(path) as draft:
    ...     _ = draft.write_text("{}")
    >>> path.read_text(), draft.exists()
    ('{}', False)
    """
    if path.is_dir():
        raise CausalkitError(f"{path} is a folder; name a file in it", path=str(path))
    if not path.parent.is_dir():
        raise CausalkitError(f"there is no folder {path.parent} for {path.name}; make it first", path=str(path))
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise CausalkitError(f"{path} cannot be written ({error}); choose another place", path=str(path)) from error
    finally:
        draft.unlink(missing_ok=True)

"""A damaged journal, written anew without its damage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from causalkit.journal_reading import Damage, scan
from causalkit.workflows.records import read_record


def sound_copy(journals: Sequence[str | os.PathLike[str]], folder: Path) -> tuple[Path, int, list[Damage]]:
    """Write every good record of the journals into one file.

    Parameters
    ----------
    journals : sequence of path-like
        Each with its segments.
    folder : Path
        Where the copy goes.

    Returns
    -------
    copy : Path
    longest : int
        Bytes of its longest line.
    damage : list of Damage
        What was left out: bytes that hold no record, and records that have not the types of the format.
    """
    copy, longest, damage = folder / "sound.jsonl", 0, []
    with copy.open("wb") as lines:
        for journal in journals:
            for found in scan(journal):
                if isinstance(found, Damage):
                    damage.append(found)
                    continue
                record, refused = read_record(found.record)
                damage += [Damage(found.path, found.start, found.end, reason) for reason in refused]
                if record is not None:
                    line = msgspec.json.encode(record) + b"\n"
                    lines.write(line)
                    longest = max(longest, len(line))
    return copy, longest, damage

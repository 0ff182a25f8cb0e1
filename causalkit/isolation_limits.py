"""The limits of an isolated child, and how it puts those on itself that the system keeps: memory, files, processes.

They keep a mistake from hurting. Code that means harm finds ways around them: this is no sandbox.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causalkit.errors import TraceCollectionError

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# As Python names them to its audit hooks.
CHANGED_FILES = frozenset({
    "os.chflags", "os.chmod", "os.chown", "os.lchmod", "os.link", "os.mkdir", "os.remove", "os.removexattr",
    "os.rename", "os.rmdir", "os.setxattr", "os.symlink", "os.truncate", "os.utime",
})  # fmt: skip
NEW_PROCESSES = frozenset({
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen",
})  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What isolated functions may take.

    Parameters
    ----------
    row_cpu_s : float, default 1.0
        CPU time for one call, threads included.
    row_wall_s : float, optional
        Time by the clock for one call, waiting included; by default half a second more than five times
        the CPU time.
    setup_cpu_s : float, default 10.0
        CPU time for loading the sources, imports included.
    total_cpu_s : float, default 3600.0
        CPU time for all calls together.
    memory_mb : int, default 512
        Memory beside that of a Python that has just started (on Linux; elsewhere without effect).
    max_deaths : int, default 50
        How often a child may die before all is given up.

    Examples
    --------
    >>> Limits(row_cpu_s=0.1).wall_s
    1.0
    """

    row_cpu_s: float = 1.0
    row_wall_s: float | None = None
    setup_cpu_s: float = 10.0
    total_cpu_s: float = 3600.0
    memory_mb: int = 512
    max_deaths: int = 50

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            # Zero would mean to the system: no limit at all.
            if value is not None and not 0 < value < float("inf"):
                raise TraceCollectionError(f"the limit {name} is {value!r}; write a number above zero", parameter=name)

    @property
    def wall_s(self) -> float:
        """The time by the clock for one call."""
        return 0.5 + 5 * self.row_cpu_s if self.row_wall_s is None else self.row_wall_s


def limit_this_process(memory_mb: int, total_cpu_s: float) -> None:
    """Limit what this process can do from here on; nothing undoes it.

    Parameters
    ----------
    memory_mb : int
        What it may take beside what it has; the system has to be one that keeps count (Linux).
    total_cpu_s : float
        The CPU time after which the system ends it.
    """
    import resource  # not on Windows, where this module can still be imported

    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    cpu_s = max(1, math.ceil(total_cpu_s))
    # A second below the hard limit, so that the signal of the soft one comes first and says which it was.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, max(cpu_s, _lower(resource.RLIMIT_CPU, cpu_s + 1))))
    taken = _taken_bytes()
    if taken is not None:
        size, data = taken
        _lower(resource.RLIMIT_DATA, data + (memory_mb << 20))
        # The files of imported libraries count here too, so wider: it is there for shared memory alone.
        _lower(resource.RLIMIT_AS, size + 4 * (memory_mb << 20))
    sys.addaudithook(_guard(os.getpid()))


def _lower(which: int, value: int) -> int:
    import resource

    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
    return value


def _taken_bytes() -> tuple[int, int] | None:
    """Return the bytes of this process' address space and data, where the system tells."""
    with suppress(OSError):
        fields = Path("/proc/self/statm").read_text("ascii").split()
        return int(fields[0]) * os.sysconf("SC_PAGE_SIZE"), int(fields[5]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _guard(own: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Return a hook that Python asks before everything that could outlast the child."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(args[2], int) and args[2] & WRITING and args[0] != os.devnull:
                raise _refusal("open files for writing", args[0])
        elif event in CHANGED_FILES:
            raise _refusal("change files or folders", args[0])
        elif event in NEW_PROCESSES:
            raise _refusal("start processes", args[0] if args else "")
        elif event == "sqlite3.connect" and args[0] != ":memory:":
            raise _refusal("open a database", args[0])
        elif event in ("os.kill", "os.killpg") and args[0] != own:
            raise _refusal("send signals to other processes", str(args[0]))

    return hook


def _refusal(deed: str, what: Any) -> PermissionError:
    named = f" ({what})" if isinstance(what, str) and what else ""
    return PermissionError(f"isolated functions cannot {deed}{named}")

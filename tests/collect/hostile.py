"""Functions that nobody should run: what each does when x is 1, and the failure that must come of it."""

from __future__ import annotations

import textwrap

ENDLESS = "CPUTimeLimit"
STUCK = "WallTimeLimit"
NO_MEMORY = "MemoryError|CPUTimeLimit"
DEAD = "ProcessDied"
REFUSED = "PermissionError"

# {folder} holds the file `victim` and nothing else.
DEEDS: dict[str, tuple[str, str]] = {
    # loops without end
    "endless loop": ("while True: pass", ENDLESS),
    "endless loop that swallows everything": (
        """
        while True:
            try:
                while True: pass
            except BaseException: pass
        """,
        ENDLESS,
    ),
    "endless loop in C": ("import collections, itertools; collections.deque(itertools.count(), maxlen=0)", ENDLESS),
    "infinite generator consumed": ("return sum(1 for _ in iter(int, 1))", ENDLESS),
    "catastrophic regular expression": ("import re; re.match(r'(a+)+$', 'a' * 60 + 'b')", ENDLESS),
    "huge power": ("return 3 ** 3 ** 20", NO_MEMORY),
    "endless printing": ("while True: print('x' * 10**6)", ENDLESS),
    "endless writing to the standard error": ("import os\nwhile True: os.write(2, b'x' * 10**6)", ENDLESS),
    "endless message": (
        """
        class Endless(Exception):
            def __str__(self):
                while True: pass
        raise Endless
        """,
        ENDLESS,
    ),
    # waiting, and ignoring signals
    "sleep for ever": ("import time; time.sleep(1e6)", STUCK),
    "wait for ever": ("import threading; threading.Event().wait()", STUCK),
    "ignored signals": (
        """
        import signal
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)
        while True: pass
        """,
        STUCK,
    ),
    "blocked signals": (
        """
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True: pass
        """,
        STUCK,
    ),
    "stopped process": ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", STUCK),
    # memory
    "huge text": ("return len('a' * 10**10)", NO_MEMORY),
    "huge list": ("return len([0] * 10**10)", NO_MEMORY),
    "growing buffer": ("kept = bytearray(1)\nwhile True: kept = kept + kept", NO_MEMORY),
    "growing list of lists": ("kept = []\nwhile True: kept.append([0] * 10**6)", NO_MEMORY),
    "memory kept by the module": ("while True: KEPT.append(bytes(5 * 10**7))", NO_MEMORY),
    "huge shared memory": ("import mmap; mmap.mmap(-1, 1 << 35)", "OSError"),
    # ends of the process
    "os._exit": ("import os; os._exit(0)", DEAD),
    "os.abort": ("import os; os.abort()", DEAD),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", DEAD),
    "killed by itself": ("import os; os.kill(os.getpid(), 9)", DEAD),
    "recursion without a limit": (
        """
        import sys
        sys.setrecursionlimit(10**9)
        class Deep:
            def __repr__(self): return repr(self)
        return repr(Deep())
        """,
        f"{DEAD}|RecursionError|{NO_MEMORY}",
    ),
    "deep recursion": ("def deeper(): return deeper()\nreturn deeper()", "RecursionError"),
    "sys.exit": ("import sys; sys.exit('bye')", "SystemExit"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "exception outside the family": ("class Odd(BaseException): pass\nraise Odd", "Odd"),
    "generator exit": ("raise GeneratorExit", "GeneratorExit"),
    "stop iteration": ("return next(iter(()))", "StopIteration"),
    # files
    "new file": ("open({folder!r} + '/new', 'w')", REFUSED),
    "overwritten file": ("open({folder!r} + '/victim', 'w').write('gone')", REFUSED),
    "file in its own folder": ("open('here', 'wb').write(b'x' * 10**9)", REFUSED),
    "removed file": ("import os; os.remove({folder!r} + '/victim')", REFUSED),
    "removed folder": ("import shutil; shutil.rmtree({folder!r})", REFUSED),
    "renamed file": ("import os; os.rename({folder!r} + '/victim', {folder!r} + '/new')", REFUSED),
    "truncated file": ("import os; os.truncate({folder!r} + '/victim', 0)", REFUSED),
    "new folder": ("import os; os.makedirs({folder!r} + '/deep/folder')", REFUSED),
    "temporary file": ("import tempfile; tempfile.NamedTemporaryFile(delete=False)", f"{REFUSED}|FileNotFoundError"),
    "database": ("import sqlite3; sqlite3.connect({folder!r} + '/new.db').execute('create table t (x)')", REFUSED),
    "closed descriptors": ("import os; os.closerange(0, 1000)", f"ClosedConnection|{DEAD}"),
    # processes and threads
    "new process": ("import subprocess; subprocess.run(['sleep', '60'])", REFUSED),
    "shell": ("import os; os.system('sleep 60')", REFUSED),
    "forks": ("import os\nfor _ in range(3): os.fork()", REFUSED),
    "killed parent": ("import os; os.kill(os.getppid(), 9)", REFUSED),
    "thread left running": (
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
        "LeftThreads",
    ),
    # the interpreter
    "replaced builtin": ("import builtins; builtins.isinstance = None", "TamperedBuiltins|TypeError"),
    "removed builtins": ("import builtins; builtins.__dict__.clear()", f"TamperedBuiltins|{DEAD}"),
    "emptied modules": (
        "import sys; sys.modules.clear(); sys.modules['json'] = None; import json",
        "ModuleNotFoundError",
    ),
    "question to the user": ("input('sure?')", "EOFError"),
    # results
    "huge result": ("return 'a' * 10**7", "UnusableResult"),
    "infinite generator": ("return iter(int, 1)", "UnusableResult"),
    "result with a hostile repr": (
        """
        class Evil:
            def __repr__(self): raise SystemExit
            __str__ = __hash__ = __eq__ = __float__ = __int__ = __len__ = __bool__ = __iter__ = __repr__
        return Evil()
        """,
        "UnusableResult",
    ),
    "result that lies about its class": (
        """
        class Liar:
            @property
            def __class__(self): raise MemoryError
        return Liar()
        """,
        "UnusableResult|MemoryError",
    ),
    "exception with a hostile message": (
        """
        class Evil(Exception):
            def __str__(self): raise KeyboardInterrupt
        raise Evil
        """,
        "Evil",
    ),
    "endless message of an error": ("raise ValueError('x' * 10**7)", "ValueError"),
}


def source_of(deed: str, folder: str) -> str:
    """Return a function of x that does the deed when x is 1 and else returns x + 0.5."""
    body = textwrap.dedent(DEEDS[deed][0]).strip().replace("{folder!r}", repr(folder))
    return f"KEPT = []\ndef y(x):\n    if x == 1:\n{textwrap.indent(body, ' ' * 8)}\n    return x + 0.5\n"

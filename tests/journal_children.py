"""Writers that other processes run: to write at once, and to be killed at random moments.

``python -m tests.journal_children die KIND FOLDER KILLS AT_ONCE`` starts writers by fork, kills each at a random
moment and starts the next, so that a kill costs milliseconds. ``... together FILE WRITERS RECORDS ROTATE_MB`` lets
them finish.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from causalkit.journal import JournalWriter


def append_some(journal: JournalWriter, who: int, count: int) -> None:
    with journal:
        for n in range(count):
            journal.append({"kind": "run", "n": n, "who": who, "pad": "x" * (n * 37 % 3000)})


def append_short(path: Path, who: int, told: int) -> None:
    _append_on(path, who, told, 1500)


def append_long(path: Path, who: int, told: int) -> None:
    _append_on(path, who, told, 9000)


def append_inherited(path: Path, who: int, told: int) -> None:
    for n in itertools.count(1):
        _inherited[path].append({"kind": "run", "n": n, "who": who})
        os.pwrite(told, n.to_bytes(8, "big"), 0)


def trace(path: Path, who: int, told: int) -> None:
    from causalkit.workflows.tracer import Tracer

    tracer = Tracer(path)
    numbers = itertools.count(1)
    while True:
        with tracer.workflow("search_qa", question="why?") as run:
            for n in itertools.islice(numbers, 5):
                with run.step(f"{who} {n}"):
                    pass
                os.pwrite(told, n.to_bytes(8, "big"), 0)


def events(path: Path, who: int, told: int) -> None:
    from causalkit.operators.event_journal import EventCollector, EventJournal
    from causalkit.operators.tracing import trace

    count = trace(lambda n: n, operator_id=str(who))
    EventCollector.register(EventJournal(path))
    for n in itertools.count(1):
        count(n)
        os.pwrite(told, n.to_bytes(8, "big"), 0)


def trace_run_and_operators(path: Path, who: int) -> None:
    from causalkit.operators.event_journal import EventCollector, EventJournal
    from causalkit.operators.tracing import trace
    from causalkit.workflows.tracer import Tracer

    double = trace(lambda x: 2 * x, operator_id="double")
    around = trace(lambda x: double(x), operator_id="around")
    with EventJournal(path) as journal, EventCollector.register(journal):
        tracer = Tracer(path)
        with tracer.workflow("answer", request_id=f"run {who}") as run:
            for x in range(20):
                with run.step(f"step {x}"):
                    around(x)


_inherited: dict[Path, JournalWriter] = {}


def _append_on(path: Path, who: int, told: int, most: int) -> None:
    journal = JournalWriter(path)
    for n in itertools.count(1):
        journal.append({"kind": "run", "n": n, "who": who, "pad": "x" * (n * 37 % most)})
        # Eight bytes on one page: written or not, whenever the kill comes.
        os.pwrite(told, n.to_bytes(8, "big"), 0)


def die(kind: str, folder: Path, kills: int, at_once: int) -> None:
    """Kill so many writers of a kind; what the one numbered 7 had acknowledged by then stands in the file ``7``."""
    path = folder / "runs.jsonl"
    if kind == "append_inherited":
        _inherited[path] = JournalWriter(path)
    elif kind == "trace":
        import causalkit.workflows.tracer  # once, not in every child
    elif kind == "events":
        import causalkit.operators.event_journal
        import causalkit.operators.tracing  # noqa: F401
    chance = random.Random(0)  # noqa: S311
    living: list[int] = []
    for who in range(kills):
        told = os.open(folder / str(who), os.O_CREAT | os.O_RDWR)
        living.append(_fork(lambda who=who, told=told: globals()[kind](path, who, told)))  # type: ignore[misc]
        while not os.pread(told, 8, 0):
            time.sleep(0.0002)
        os.close(told)
        time.sleep(chance.uniform(0, 0.004))
        if len(living) == at_once:
            _kill(living.pop(chance.randrange(at_once)))
    for child in living:
        _kill(child)


def together(path: Path, writers: int, records: int, rotate_mb: float) -> None:
    def write(who: int) -> None:
        append_some(JournalWriter(path, rotate_mb=rotate_mb), who, records)

    children = [_fork(lambda who=who: write(who)) for who in range(writers)]  # type: ignore[misc]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * writers


def _fork(work: object) -> int:
    child = os.fork()
    if not child:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return child


def _kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


if __name__ == "__main__":
    if sys.argv[1] == "die":
        die(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        together(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))

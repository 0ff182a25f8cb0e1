from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit import isolation
from causalkit.errors import ExecutionError, TraceCollectionError
from causalkit.isolation import Limits, call_isolated, isolate
from causalkit.isolation_board import Board, decode, encode, portable
from causalkit.plain_values import UnusableResult

CALLS = "causalkit.isolation_child:prepare_calls"
SCALARS = st.one_of(st.floats(), st.integers(), st.booleans(), st.text(st.characters()), st.none())


def value_of(source: str, *arguments: Any, limits: Limits | None = None) -> Any:
    """Call f in a child and return its result."""
    (outcome,) = call_isolated(source, "f", [arguments], limits=limits)
    assert outcome.failure is None, outcome.failure
    return outcome.value


@given(st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=9))
def test_plain_data_crosses_as_it_is(value: Any) -> None:
    assert repr(decode(encode(value))) == repr(value)


@given(st.lists(SCALARS, min_size=1))
def test_arguments_come_back_as_they_went(values: list[Any]) -> None:
    outcomes = call_isolated("def f(x): return x", "f", [[value] for value in values])
    assert repr([outcome.value for outcome in outcomes]) == repr(values)


def test_anything_else_does_not_cross() -> None:
    with pytest.raises(UnusableResult, match="returned a list"):
        portable([1])
    with pytest.raises(UnusableResult, match=r"a str of 10\.0 MB"):
        portable({"a": "x" * 10**7})


def test_jobs_too_large_for_the_memory_are_laid_out_in_parts_or_refused() -> None:
    texts = ["x" * 2_000_000, "y" * 3_000_000, "z" * 3_500_000] * 3
    assert [len(text) for text in texts] == [
        outcome.value for outcome in call_isolated("f = len", "f", [[text] for text in texts])
    ]
    with pytest.raises(ExecutionError, match="too large to hand to an isolated child"):
        call_isolated("f = len", "f", [["x" * 9_000_000]])


def test_many_large_results_cross_in_parts() -> None:
    outcomes = call_isolated("def f(x): return 'ab' * x", "f", [[50_000]] * 300)
    assert {outcome.value for outcome in outcomes} == {"ab" * 50_000}
    assert len(outcomes) == 300


def test_a_child_has_an_empty_environment_and_folder_and_no_input() -> None:
    os.environ["CAUSALKIT_WORD"] = "word"
    try:
        source = "import os, sys\ndef f(): return {}"
        assert "WORD" not in value_of(source.format("' '.join(os.environ)"))
        assert value_of(source.format("len(os.listdir())")) == 0
        assert value_of(source.format("sys.stdin.read()")) == ""
        folder = Path(value_of(source.format("os.getcwd()")))
    finally:
        del os.environ["CAUSALKIT_WORD"]
    assert folder != Path.cwd()
    assert not folder.exists()


def test_what_a_call_did_to_its_interpreter_is_not_seen_by_the_next() -> None:
    assert value_of("import math\ndef f():\n    math.pi = 3\n    return math.pi") == 3
    assert value_of("import math\ndef f(): return math.pi") > 3.14


def test_modules_of_this_process_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_module_beside_the_notebook.py").write_text("VALUE = 42")
    monkeypatch.syspath_prepend(tmp_path)
    assert value_of("import a_module_beside_the_notebook as m\ndef f(): return m.VALUE") == 42


def test_numpy_and_threads_that_end_are_at_home_in_a_child() -> None:
    assert value_of("import numpy as np\ndef f(): return np.linalg.norm(np.ones((200, 200)) @ np.ones(200))") > 0
    pool = "from concurrent.futures import ThreadPoolExecutor as Pool\ndef f():\n"
    pool += "    with Pool(2) as pool: return sum(pool.map(abs, [-1, 2]))"
    assert value_of(pool) == 3


def test_a_forked_grandchild_does_not_survive() -> None:
    source = """
import ctypes, time
def f():
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        time.sleep(60)
    return pid
"""
    state = Path(f"/proc/{value_of(source)}/stat")
    # The kill is sent before the answer comes; the system may take a moment to carry it out.
    deadline = time.monotonic() + 5
    while not _gone(state) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _gone(state)


def _gone(state: Path) -> bool:
    try:
        return state.read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_the_total_cpu_time_is_limited_over_all_children() -> None:
    source = "def f(x):\n    while True: pass"
    with pytest.raises(ExecutionError, match="took the 1 s of CPU time that all calls may take"):
        call_isolated(source, "f", [[x] for x in range(20)], limits=Limits(row_cpu_s=0.4, total_cpu_s=1))


@pytest.mark.parametrize("limits", [{"row_cpu_s": 0}, {"memory_mb": -1}, {"row_wall_s": float("nan")}])
def test_a_limit_that_limits_nothing_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(TraceCollectionError, match="write a number above zero"):
        Limits(**limits)


def test_a_source_that_cannot_be_loaded_says_why() -> None:
    with pytest.raises(ExecutionError, match=r"cannot be loaded \(KeyError: 'f'\)"):
        call_isolated("def g(): pass", "f", [[]])


def test_it_starts_again_after_its_warm_process_was_closed_or_killed() -> None:
    assert value_of("def f(): return 1") == 1
    isolation.close()
    assert value_of("def f(): return 2") == 2
    parent = "import os\ndef f(): return os.getppid()"
    os.kill(value_of(parent), signal.SIGKILL)
    time.sleep(0.05)
    assert value_of("def f(): return 3") == 3


def test_a_warm_process_killed_at_work_is_one_error_and_the_next_call_works() -> None:
    source = "import os\ndef f(): return f'{os.getppid()} {os.getcwd()}'"
    with isolate(CALLS, {"source": source, "name": "f"}, ["f"]) as child:
        parent, folder = child.run("f", {}, 1)[0][0].split()
        os.kill(int(parent), signal.SIGKILL)
        time.sleep(0.05)
        assert child.run("f", {}, 1)[0], "the child has ended with its parent"
        child.end()
        with pytest.raises(ExecutionError, match="is gone or stuck; run the functions again"):
            child.run("f", {}, 1)
    Path(folder).rmdir()
    assert value_of("def f(): return 4") == 4


@pytest.mark.parametrize(
    "deed", ["os._exit(1)", "kept.append(bytes(10**9))", "os.closerange(0, 99)", "setattr(builtins, 'id', 1)"]
)
def test_a_call_that_ends_a_quick_run_of_many_is_found_among_them(deed: str) -> None:
    source = f"import os, builtins\nkept = []\ndef f(x):\n    if x in (5000, 9000): {deed}\n    return x / 2"
    outcomes = call_isolated(source, "f", [[x] for x in range(10_000)])
    assert [x for x, outcome in enumerate(outcomes) if outcome.failure] == [5000, 9000]
    assert all(outcome.value == x / 2 for x, outcome in enumerate(outcomes) if not outcome.failure)


def test_calls_that_together_take_longer_than_one_may_are_not_failed() -> None:
    source = "def f(x): return sum(range(20_000 * x))"
    outcomes = call_isolated(source, "f", [[x // 3000] for x in range(3300)], limits=Limits(row_cpu_s=0.05))
    assert not any(outcome.failure for outcome in outcomes)


def test_threads_and_nested_calls_use_children_of_their_own() -> None:
    results: dict[int, Any] = {}

    def work(number: int) -> None:
        results[number] = value_of("def f(x): return x * x", number)

    with isolate(CALLS, {"source": "def f(x): return -x", "name": "f"}, ["f"]) as outer:
        threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outer.run("f", {"x": [5]}, 1) == ([-5], {})
    assert results == {0: 0, 1: 1, 2: 4, 3: 9}


PROGRAM = """
import os, sys
from causalkit.isolation import call_isolated
def value(): return call_isolated("import os\\ndef f(): return os.getppid()", "f", [[]])[0].value
first = value()
pid = os.fork()
if pid == 0:
    os._exit(0 if value() not in (first, None) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert value() == first
print(first)
"""


def test_a_fork_of_this_process_warms_its_own_and_nothing_survives_the_end() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False)
    assert ran.stderr == ""
    state = Path(f"/proc/{ran.stdout.strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_an_interrupt_ends_the_child_and_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        call_isolated("import time\ndef f(): time.sleep(60)", "f", [[]], limits=Limits(row_wall_s=30))
    assert value_of("def f(): return 5") == 5


def test_windows_is_told_that_the_limits_do_not_hold_there(monkeypatch: pytest.MonkeyPatch) -> None:
    isolation.close()
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ExecutionError, match="cannot be isolated on Windows"):
        call_isolated("def f(): return 1", "f", [[]])


def test_importing_it_is_light() -> None:
    heavy = "import sys, causalkit.isolation; print({'numpy', 'pandas'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.strip() == "set()"


def test_the_board_forgets_nothing_of_a_writer_that_is_gone() -> None:
    board = Board()
    for number in range(3):
        board.begin(number)
        board.add(encode([[number / 2], {}]))
    board.begin(3)
    assert board.state[0] == 3
    assert board.take() == [[[0.0], {}], [[0.5], {}], [[1.0], {}]]
    board.close()


def test_nothing_of_this_process_is_changed() -> None:
    before = dict(builtins.__dict__), signal.getsignal(signal.SIGPROF), Path.cwd()
    assert call_isolated("import builtins\ndef f(): builtins.print = None", "f", [[]])[0].failure
    assert (dict(builtins.__dict__), signal.getsignal(signal.SIGPROF), Path.cwd()) == before

"""The ways in which work gets from one step to where the next one begins, for the tests of the hierarchy."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from multiprocessing.pool import ThreadPool

from causalkit.workflows.open_runs import OpenRun
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.tracer import Tracer

Parents = dict[str, str | None]


def parents(run: WorkflowTrace) -> Parents:
    """Return for each step the name of its parent."""
    names = {step.step_id: step.step_name for step in run.steps}
    return {step.step_name: step.parent_id and names[step.parent_id] for step in run.steps}


def recorded(work: Callable[[OpenRun], object]) -> Parents:
    """Run `work` in a run and return who was whose parent."""
    tracer = Tracer()
    with tracer.workflow("answer") as run:
        work(run)
    return parents(tracer.runs[0])


def leaf(run: OpenRun, name: str) -> None:
    with run.step(name), run.step(f"{name}.inner"):
        pass


LEAVES: Parents = {"s": None, "a": "s", "a.inner": "a"}


class Worker(threading.Thread):
    """A thread with a `run` and a `start` of its own."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.started_here = False

    def start(self) -> None:
        self.started_here = True
        super().start()

    def run(self) -> None:
        self.work()


def joined(thread: threading.Thread) -> None:
    thread.start()
    thread.join()


def in_executor(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def in_mapping_executor(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(lambda _: work(), [None]))


def in_executor_through_a_context(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, work).result()


def in_executor_of_a_loop(work: Callable[[], object]) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    asyncio.run(main())


def in_own_executor_of_a_loop(work: Callable[[], object]) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, work)

    asyncio.run(main())


def in_to_thread(work: Callable[[], object]) -> None:
    asyncio.run(asyncio.to_thread(work))


def in_gathered_tasks(work: Callable[[], object]) -> None:
    async def child() -> None:
        await asyncio.sleep(0)
        work()

    async def main() -> None:
        await asyncio.gather(child(), asyncio.sleep(0))

    asyncio.run(main())


def in_task_group(work: Callable[[], object]) -> None:
    async def child() -> None:
        await asyncio.sleep(0)
        work()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    asyncio.run(main())


def in_thread_pool(how: str, work: Callable[[], object]) -> None:
    def item(_: object) -> None:
        work()

    with ThreadPool(1) as pool:
        if how == "apply":
            pool.apply(item, (None,))
        elif how == "starmap":
            pool.starmap(item, [(None,)])
        else:
            list(getattr(pool, how)(item, [None]))


WAYS: dict[str, Callable[[Callable[[], object]], object]] = {
    "call": lambda work: work(),
    "thread": lambda work: joined(threading.Thread(target=work)),
    "thread_subclass": lambda work: joined(Worker(work)),
    "timer": lambda work: joined(threading.Timer(0.0, work)),
    "executor_submit": in_executor,
    "executor_map": in_mapping_executor,
    "executor_context": in_executor_through_a_context,
    "run_in_executor": in_executor_of_a_loop,
    "run_in_own_executor": in_own_executor_of_a_loop,
    "to_thread": in_to_thread,
    "gather": in_gathered_tasks,
    "task_group": in_task_group,
    **{f"pool_{how}": functools.partial(in_thread_pool, how) for how in ("apply", "map", "starmap", "imap")},
    "pool_imap_unordered": functools.partial(in_thread_pool, "imap_unordered"),
}

"""Work done ahead in threads, a bounded amount of it, while its results are being used; with the seconds that went where."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from pellucid.errors import BadData, UnsafeInput

_CHECK_S = 0.1  # between looks whether to stop
Job = TypeVar("Job")
Item = TypeVar("Item")


@dataclass
class Spent:
    """Seconds, summed over threads: `working_s` at the work, `blocked_s` with results that nobody has taken yet."""

    working_s: float = 0.0
    blocked_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, working_s: float, blocked_s: float) -> None:
        """Counts what one thread has spent."""
        with self.lock:
            self.working_s += working_s
            self.blocked_s += blocked_s


@dataclass(frozen=True)
class Done:
    """A job has ended; its results came before.

    Args:
        fault: by which it ended early.
    """

    fault: BadData | UnsafeInput | None = None


class Ahead(Generic[Job, Item]):
    """Iterates over (job's place, result) in any order of jobs, and in order within each; a `Done` ends each job.

    To be used in a `with` block, which ends the threads, however it is left.

    Args:
        work: gives the results of a job one by one; BadData and UnsafeInput are faults of that job, anything else ends all.
        depth: results that may wait.
    """

    def __init__(self, jobs: Sequence[Job], work: Callable[[Job], Generator[Item, None, None]], threads: int, depth: int):
        self.jobs, self.work, self.threads, self.spent = jobs, work, max(1, min(threads, len(jobs))), Spent()
        self._ready: queue.Queue[tuple[int, Item | Done | None]] = queue.Queue(depth)
        self._stop, self._lock, self._next = threading.Event(), threading.Lock(), iter(range(len(jobs)))
        self._pool = ThreadPoolExecutor(self.threads, "ahead")
        self._before = torch.get_num_threads()

    def __enter__(self) -> "Ahead[Job, Item]":
        self._running = [self._pool.submit(self._run, i) for i in range(self.threads)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._before)

    def __iter__(self) -> Iterator[tuple[int, Item | Done]]:
        running = self.threads
        while running:
            at, item = self._ready.get()
            if item is not None:
                yield at, item
            else:
                self._running[at].result()  # raises what ended the thread early
                running -= 1

    def _run(self, number: int) -> None:
        torch.set_num_threads(1)  # of this thread; corrupting and resizing would ask for that, each for itself
        try:
            while (at := self._take()) is not None and self._put(at, Done(self._results(at))):
                pass
        finally:
            self._put(number, None)

    def _take(self) -> int | None:
        with self._lock:
            return next(self._next, None)

    def _results(self, at: int) -> BadData | UnsafeInput | None:
        """Puts a job's results where they wait; gives the fault by which it ended."""
        working = blocked = 0.0
        try:
            with contextlib.closing(self.work(self.jobs[at])) as results:
                while not self._stop.is_set():
                    start = time.perf_counter()
                    item = next(results, None)
                    found = time.perf_counter()
                    working += found - start
                    if item is None or not self._put(at, item):
                        break
                    blocked += time.perf_counter() - found
        except (BadData, UnsafeInput) as fault:
            return fault
        finally:
            self.spent.add(working, blocked)
        return None

    def _put(self, at: int, item: Item | Done | None) -> bool:
        """Waits for a place; false when it is time to stop."""
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put((at, item), timeout=_CHECK_S)
                return True
        return False

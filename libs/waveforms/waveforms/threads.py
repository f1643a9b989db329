"""Several batches at once on a CPU."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def single_threaded() -> Iterator[None]:
    """Run torch's operations on one thread each, so that their bits depend on nothing else."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def ordered_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function of torch operations to each item, some items at a time.

    One thread per item with single-threaded operations, rather than many threads in each
    operation: those wait for each other after each, which costs tenfold once other programs use
    the cores too. Results come in order and do not depend on the number of threads.

    Args:
        function: What to do with an item.
        items: The items.

    Yields:
        The results.
    """
    workers = num_cores()
    waiting: deque[Future[Result]] = deque()
    with single_threaded(), ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

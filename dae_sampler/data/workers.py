"""Files read by all cores, their results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

WORTH_A_THREAD = 8192
"""Bytes of a picture below which Python itself, which one thread runs at a time, takes longer than decoding."""

Result = TypeVar("Result")


def in_order(function: Callable[[Path], Result], files: Sequence[Path]) -> Iterator[Result]:
    """``function`` of each file, in their order, computed by all cores a little ahead of who asks.

    Few results are held, and they do not depend on the number of cores. Where the files are small, one thread is
    fastest.
    """
    workers = _cores()
    if workers == 1 or len(files) == 1 or _mean_size(files) < WORTH_A_THREAD:
        yield from map(function, files)
        return
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for file in files:
                ahead.append(pool.submit(function, file))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _mean_size(files: Sequence[Path]) -> float:
    """Mean bytes of some of the files."""
    sizes = [file.stat().st_size for file in files[:: max(1, len(files) // 32)] if file.exists()]
    return sum(sizes) / max(1, len(sizes))

"""Where visitors are served: each job in a thread of its own, one at a time, step by step in turn.

A job computes only while it has the turn, and gives it up after each step. The next goes to the visitor who has waited
longest since their last one, whatever the number of their jobs. So nobody waits for another's whole job, only one step
is in the memory and on the processor at a time, and a visitor who leaves frees the work at the next step.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..errors import InputError

MOST_JOBS, MOST_EACH = 16, 8
"""Jobs at a time: of all, and of one address."""
PATIENCE = 30.0
"""Seconds that a job waits for a visitor to read what it has made."""

Event = dict[str, Any]
Tell = Callable[[Event], None]
Work = Callable[[Tell], None]
log = logging.getLogger(__name__)


class BusyError(InputError):
    """There are as many jobs as there may be."""


class LeftError(Exception):
    """The visitor has left."""


class Turns:
    """A lock that goes from visitor to visitor."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.taken, self.tickets = False, 0
        self.waiting: dict[int, str] = {}
        self.served: dict[str, int] = {}

    def take(self, visitor: str, left: threading.Event) -> None:
        """Wait for the turn.

        Raises:
            LeftError: the visitor left meanwhile.
        """
        with self.condition:
            self.tickets += 1
            mine = self.tickets
            self.waiting[mine] = visitor
            self.condition.wait_for(lambda: left.is_set() or (not self.taken and self._next() == mine))
            del self.waiting[mine]
            if left.is_set():
                self.condition.notify_all()
                raise LeftError
            self.taken = True
            self.served = {name: at for name, at in self.served.items() if name in self.waiting.values()}
            self.served[visitor] = self.tickets

    def pass_on(self) -> None:
        """Give the turn up."""
        with self.condition:
            self.taken = False
            self.condition.notify_all()

    def look_up(self) -> None:
        """Somebody who waits may have left."""
        with self.condition:
            self.condition.notify_all()

    def _next(self) -> int:
        return min(self.waiting, key=lambda ticket: (self.served.get(self.waiting[ticket], 0), ticket))


class Job:
    """A visitor's work: a thread that fills ``events``, the last of them None. Made in the server's event loop."""

    def __init__(self, desk: Desk, visitor: str, work: Work) -> None:
        self.desk, self.visitor, self.work = desk, visitor, work
        self.loop, self.left = asyncio.get_running_loop(), threading.Event()
        self.events: asyncio.Queue[Event | None] = asyncio.Queue(4)
        self.has_turn = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def leave(self) -> None:
        """The visitor is gone: the work ends at its next step. Called in the event loop."""
        self.left.set()
        self.desk.turns.look_up()
        while not self.events.empty():  # whoever waits to put one is let go
            self.events.get_nowait()

    def tell(self, event: Event) -> None:
        """Hand an event to the visitor, and let the others have their turn.

        Raises:
            LeftError: nobody waits for what follows.
        """
        self._pass_turn()
        self._send(event)
        self._take_turn()

    def _run(self) -> None:
        try:
            error = self._ending()
            if error:
                self._send({"error": error})
            self._send(None)
        except LeftError:
            pass
        finally:
            self.desk.close(self)

    def _ending(self) -> str | None:
        """Do the work; what went wrong, in a sentence for the visitor."""
        self._take_turn()
        try:
            self.work(self.tell)
        except LeftError:
            raise
        except InputError as error:
            return sentence(error)
        except Exception as error:
            if isinstance(error, MemoryError) or re.search("out of memory|allocate memory", str(error)):
                return "There is not enough memory for this: take a smaller picture, or fewer."
            log.exception("a visitor's work failed")
            return "Something went wrong here, and it was not your fault: the server's terminal says what."
        finally:
            self._pass_turn()
        return None

    def _take_turn(self) -> None:
        self.desk.turns.take(self.visitor, self.left)
        self.has_turn = True

    def _pass_turn(self) -> None:
        if self.has_turn:
            self.has_turn = False
            self.desk.turns.pass_on()

    def _send(self, event: Event | None) -> None:
        if self.left.is_set() or self.loop.is_closed():
            raise LeftError
        sending = asyncio.run_coroutine_threadsafe(self.events.put(event), self.loop)
        try:
            sending.result(PATIENCE)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            sending.cancel()
            self.loop.call_soon_threadsafe(self._give_up)
            raise LeftError from None

    def _give_up(self) -> None:
        """The visitor has not read for too long, and is told so if they come back. Called in the event loop."""
        self.leave()
        self.events.put_nowait({"error": "You did not read on for a while, so this was stopped: start it again."})
        self.events.put_nowait(None)


class Desk:
    """All jobs."""

    def __init__(self) -> None:
        self.turns, self.lock = Turns(), threading.Lock()
        self.jobs: set[Job] = set()

    def open(self, visitor: str, work: Work) -> Job:
        """Begin a visitor's work.

        Raises:
            BusyError: there are too many jobs.
        """
        with self.lock:
            each = Counter(job.visitor for job in self.jobs)
            if len(self.jobs) >= MOST_JOBS or each[visitor] >= MOST_EACH:
                raise BusyError("too many visitors are waiting: try again in a moment")
            job = Job(self, visitor, work)
            self.jobs.add(job)
            return job

    async def end(self) -> None:
        """Send all visitors home, and wait for the step that is computed. Called in the event loop."""
        jobs = list(self.jobs)
        for job in jobs:
            job.leave()
            job.events.put_nowait(None)
        for job in jobs:  # a thread in the middle of a step would abort the process
            await asyncio.to_thread(job.thread.join, PATIENCE)

    def close(self, job: Job) -> None:
        """A job has ended."""
        with self.lock:
            self.jobs.discard(job)


def sentence(error: InputError) -> str:
    """A message of the library for a visitor: a parameter by its name, one line, with a capital and a full stop."""
    text = " ".join(re.sub(r"`([a-z_]+)`", r"\1", str(error)).split())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")

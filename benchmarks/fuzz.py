"""Give the commands damaged files and odd options: each must end in success or in one sentence.

    python benchmarks/fuzz.py [--inputs 6000] [--minutes 60] [--seed 0] [--areas tiff,pairs]

Everything runs in this process, without a network. A traceback, more than 10 seconds of the processor, more
than 2 GiB of memory, or a file that a refused command leaves behind is a failure. The exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import io
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fuzz_commands
import sklearn.datasets  # noqa: F401 - its first import takes seconds
import torch
from fuzz_files import seeds
from matplotlib import figure  # noqa: F401 - the same

from dae_sampler import cli
from dae_sampler.files import PREFIX

LIMIT, ASLEEP = 10, 60
"""Seconds of the processor, and by the clock, that an input may take: others may use the machine."""
MOST_MEMORY = 2 << 30
STUCK = 120
"""Seconds after which something that Python cannot interrupt is shown, and the program ends."""
FOLDERS = ("denoise", "refine", "restore", "inpaint", "corrupt")
"""Commands that write picture by picture: those that were done before one was refused stay."""


class Hang(BaseException):
    """Not an error that a program may catch."""


def attempt(words: list[str]) -> tuple[int | None, str]:
    """Run the command in an empty folder; returns its exit code, and what went wrong, if anything."""
    out, code = io.TextIOWrapper(io.BytesIO(), errors="backslashreplace"), None
    sys.argv = ["dae-sampler", *(word.replace("\0", "") for word in words)]  # no system passes a NUL to a process
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    signal.setitimer(signal.ITIMER_REAL, ASLEEP)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings():
            cli.main()
    except SystemExit as end:
        code = end.code
    except Hang:
        return code, f"took more than {LIMIT} s\n{traceback.format_exc(limit=-6)}"
    except BaseException:
        return code, traceback.format_exc(limit=-6)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    out.flush()
    said = out.buffer.getvalue().decode(errors="replace")
    if "Traceback" in said or (code == 2 and not said.strip()):
        return code, f"said {said!r}"
    if code not in (0, 2):
        return code, f"exit code {code}: {said}"
    left = [str(p) for p in Path.cwd().parent.parent.rglob(f"**/{PREFIX}*")]
    if code == 2 and words[0] not in FOLDERS:
        left += [str(p) for p in Path.cwd().rglob("*")]
    return code, f"left behind: {left}: {said}" if left else ""


def peak_memory() -> int:
    """Most bytes that this process has had since :func:`forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Begin the measurement of memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def forbid_network() -> None:
    """Make every connection fail as where there is no network."""

    def refuse(*arguments: object) -> None:
        raise OSError("network is unreachable")

    socket.socket.connect = socket.socket.connect_ex = refuse
    socket.getaddrinfo = refuse


def too_long(number: int, frame: object) -> None:
    """The alarm has rung."""
    raise Hang


def one(area: Callable, draw: random.Random, world: fuzz_commands.World) -> tuple[int | None, str, list[str]]:
    """One input of an area; its exit code, what went wrong, and the command."""
    words = area(draw, world)
    forget_peak()
    faulthandler.dump_traceback_later(STUCK, exit=True)
    began = time.process_time()
    code, wrong = attempt(words) if isinstance(words, list) else world.visit(*words)
    seconds, memory = time.process_time() - began, peak_memory()
    faulthandler.cancel_dump_traceback_later()
    if not wrong and seconds > LIMIT:
        wrong = f"took {seconds:.0f} s"
    if not wrong and memory > MOST_MEMORY:
        wrong = f"took {memory / 2**30:.1f} GiB"
    return code, wrong, words


def main() -> int:
    """Parse, try, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="Stop after so long.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--areas", default=",".join(fuzz_commands.AREAS), help="Some of these, with commas.")
    options = parser.parse_args()
    chosen = options.areas.split(",")
    tried, refused, failed, began = Counter(), Counter(), Counter(), time.monotonic()
    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGPROF, too_long)
    torch.set_num_threads(1)
    forbid_network()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_CACHE_HOME": f"{folder}/cache", "HOME": folder, "HF_HUB_OFFLINE": "1"}
        world = fuzz_commands.World(*seeds(Path(folder) / "good"), Path(folder) / "bad")
        for i in range(options.inputs):
            place = Path(folder) / "here" / str(i)
            place.mkdir(parents=True)
            os.chdir(place)
            name = chosen[i % len(chosen)]
            if time.monotonic() - began > 60 * options.minutes:
                break
            world.clear()
            code, wrong, words = one(fuzz_commands.AREAS[name], random.Random(f"{options.seed} {i} {name}"), world)
            tried[name] += 1
            refused[name] += code == 2
            failed[name] += bool(wrong)
            if wrong:
                print(f"input {i} ({name}): {words}\n{wrong}", file=sys.stderr, flush=True)
            if i % 100 == 0:
                gc.collect()
        os.chdir("/")
    for name in chosen:
        print(f"{name:10} {tried[name]:5} inputs, {refused[name]:5} refused with a sentence, {failed[name]} failures")
    total = f"{tried.total()} inputs in {time.monotonic() - began:.0f} s, {refused.total()} refused with a sentence"
    print(f"{total}: {failed.total()} failures")
    return bool(failed.total())


if __name__ == "__main__":
    sys.exit(main())

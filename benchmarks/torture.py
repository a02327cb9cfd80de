"""Kill every long command at random moments, go on each time, and compare the end with an uninterrupted one.

    python benchmarks/torture.py [--kills 50] [--minutes 60] [--seed 0] [--only crops,pairs]

Each runs in a process forked from this one. A training has to end with the same weights, metrics and files; all other
commands with the same files, byte for byte. After each kill, every file that has its final name must be one of the
uninterrupted end. The exit code is 1 where something differs.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from dae_sampler import DenoisingAutoencoder, cli, save
from dae_sampler.data import memory
from dae_sampler.files import PREFIX

STEPS = ["--steps", "40", "--every", "20", "--batch", "16", "--net", "unet(8)", "--precision", "float32"]


RUN = "run/config.json"
"""Of a training that has begun."""


@dataclass(frozen=True)
class Task:
    """A long command, run in an empty folder.

    Attributes:
        words: it.
        resumed: what it is called with once there is something to go on with; by default the same again.
        begun: what is there then.
        mapped: whether pictures never fit into memory, so that they are decoded into a file.
    """

    words: list[str]
    resumed: list[str] | None = None
    begun: str = RUN
    mapped: bool = False

    def start(self, place: Path) -> int:
        """Start the command in a process of its own, or go on with it; its number. What it says goes to a file beside
        ``place``.
        """
        if child := os.fork():
            return child
        code = 1
        try:
            os.setpgid(0, 0)
            os.chdir(place)
            said = os.open(place.with_name("said.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.environ["XDG_CACHE_HOME"] = str(place / "cache")
            memory.IN_MEMORY = 0 if self.mapped else memory.IN_MEMORY
            begun = self.resumed and (place / self.begun).exists()
            sys.argv = ["dae-sampler", *((self.resumed if begun else self.words) or [])]
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


def tasks(data: Path) -> dict[str, Task]:
    """All of them, on small pictures made in ``data``."""
    draw = np.random.default_rng(0)
    for i in range(40):
        clean = draw.integers(0, 256, (24, 24), np.uint8)
        for kind, pixels in (("clean", clean), ("damaged", clean // 2), (f"classes/{'ab'[i % 2]}", clean[:8, :8])):
            (data / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(data / kind / f"{i}.png")
    for i in range(8):
        (data / "large").mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (700, 700), np.uint8)).save(data / "large" / f"{i}.png")  # in tiles
    model, fixed = data / "any.safetensors", data / "fixed.safetensors"
    torch.manual_seed(0)
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.01..0.5)", (1, None, None)), model)
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, 8, 8)), fixed)
    go_on = ["train", "--resume", "--out", "run", "--quiet"]
    into = ["--out", "run", "--quiet"]
    distil = ["distil", str(fixed), "--data", str(data / "classes"), *STEPS[:6], "--precision", "float32", *into]
    short = ["--steps", "2", "--every", "1", *STEPS[4:]]  # so that most of the time goes by in decoding
    decode = ["train", str(data / "large"), "--crop", "16", *short, *into]
    tiles = ["denoise", str(model), str(data / "large"), "--level", "0.1", "--steps", "1", "--out", "out", "--quiet"]
    made = {
        "train": Task(["train", "digits", *STEPS, *into], go_on),
        "crops": Task(["train", str(data / "clean"), "--crop", "16", *STEPS, *into], go_on),
        "pairs": Task(["train", str(data / "clean"), "--damaged", str(data / "damaged"), *STEPS, *into], go_on),
        "labels": Task(["train", str(data / "classes"), "--labels", "auto", *STEPS, *into], go_on),
        "distil": Task(distil, ["distil", str(fixed), "--resume", *into]),
        "decode": Task(decode, go_on, mapped=True),
        "tiles": Task(tiles, [*tiles, "--resume"], begun="out"),
        "export": Task(["export", str(model), "out.onnx", "--quiet"]),
    }
    if not all(map(find_spec, ("onnxruntime", "onnxscript"))):
        del made["export"]
    return made


def finish(task: Task, place: Path) -> float:
    """Run to the end; returns the seconds that took."""
    began = time.monotonic()
    _wait(task, place, task.start(place))
    return time.monotonic() - began


def kill_at(task: Task, place: Path, seconds: float, draw: random.Random) -> bool:
    """Start or go on and kill it after ``seconds``; whether it still ran. Some are stopped for a while."""
    child, end = task.start(place), time.monotonic() + seconds
    if draw.random() < 0.3:
        time.sleep(seconds / 2)
        os.kill(child, signal.SIGSTOP)
        time.sleep(0.1)
        os.kill(child, signal.SIGCONT)
        end += 0.1
    while time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            _wait(task, place, child)
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _wait(task: Task, place: Path, child: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise SystemExit(f"{task.words} ended with {code}: {place.with_name('said.txt').read_text()}")


def contents(place: Path) -> dict[str, object]:
    """What each file holds: tensors as such, metrics without the clock, of others the bytes."""
    found: dict[str, object] = {}
    for path in sorted(p for p in place.rglob("*") if p.is_file()):
        name = str(path.relative_to(place))
        if path.suffix == ".safetensors":
            found[name] = {key: value.numpy().tobytes() for key, value in load_file(path).items()}
        elif path.name == "metrics.csv":
            with path.open(newline="") as file:
                found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
        else:
            found[name] = "" if path.name in ("index.json", "pass.json") else path.read_bytes()
    return found


def differences(expected: dict[str, object], place: Path) -> list[str]:
    """The files that are not the same."""
    found = contents(place)
    return [name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)]


def half_written(expected: dict[str, object], place: Path) -> list[str]:
    """Files under their final names that are not whole. Of those that change as a run goes on, models are loaded."""
    here = {p.relative_to(place).as_posix(): p for p in place.rglob("*") if p.is_file() and PREFIX not in p.name}
    for path in here.values():
        if path.suffix == ".safetensors":
            load_file(path)
    fixed = {name: path for name, path in here.items() if path.suffix in (".png", ".bin", ".onnx")}
    return [name for name, path in fixed.items() if expected.get(name) != path.read_bytes()]


def torture(task: Task, kills: int, until: float, draw: random.Random, folder: Path) -> tuple[int, list[str]]:
    """Kill and go on until done; returns the kills survived, and what differs from an uninterrupted end."""
    whole, place, done, finished = folder / "whole", folder / "tortured", 0, 0
    whole.mkdir(parents=True)
    place.mkdir()
    length = finish(task, whole)
    expected = contents(whole)
    while done < kills and time.monotonic() < until:
        killed = kill_at(task, place, draw.uniform(0.1, 1.0) * length, draw)
        done += killed
        if wrong := half_written(expected, place) if killed else _wrong(task, expected, place):
            return done, wrong
        if not killed:  # it got to the end: start another, so that kills go on
            finished += 1
            place = place.rename(folder / f"finished-{finished}").with_name("tortured")
            place.mkdir()
    finish(task, place)
    return done, _wrong(task, expected, place)


def _wrong(task: Task, expected: dict[str, object], place: Path) -> list[str]:
    """The differences. Only a run's folder and caches are swept: elsewhere two commands may write at a time."""
    swept = task.resumed is not None and task.begun == RUN
    return [name for name in differences(expected, place) if swept or PREFIX not in name]


def main() -> int:
    """Parse, torture, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="No more kills of a command after so long.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="Some of the commands, with commas.")
    arguments = parser.parse_args()
    failed = 0
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        every = tasks(Path(folder) / "data")
        for name in arguments.only.split(",") if arguments.only else every:
            began, draw = time.monotonic(), random.Random(f"{arguments.seed} {name}")
            until = began + 60 * arguments.minutes
            survived, wrong = torture(every[name], arguments.kills, until, draw, Path(folder) / name)
            failed += bool(wrong)
            result = f"{survived} kills in {time.monotonic() - began:.0f} s; differences: {', '.join(wrong) or 'none'}"
            print(f"{name}: {result}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

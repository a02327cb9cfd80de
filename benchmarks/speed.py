"""How fast dae-sampler trains, samples and starts on this machine, beside the machine's peak and other libraries.

    make speed DATA=...                                    # docs/results/performance.md, all but its last table
    .venv-peers/bin/python benchmarks/speed.py peers       # the last; after `make peers`, or pip install '.[peers]'

Calls that are compared take turns and are repeated, because the speed of a shared machine drifts: read the ratios.
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from page import DOCS, fill
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import dae_sampler
from dae_sampler import DenoisingAutoencoder
from dae_sampler.corruption import DEFAULT
from dae_sampler.data import named as data
from dae_sampler.data.dataset import as_dataset
from dae_sampler.data.memory import mapped
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.gallery import save_picture, to_picture
from dae_sampler.sampling.tasks import batch_size
from dae_sampler.training.loop import TrainingState
from dae_sampler.training.recipe import Recipe
from dae_sampler.training.run import Run

PARTS = ("step", "growth", "startup", "memory", "folder", "processes", "peers")
TABLES = dict.fromkeys(PARTS, DOCS / "results" / "performance.md")
ROUNDS = 5
BATCH = Recipe.batch
SIDE = 2048
"""Side of the square matrices whose product gives the peak."""
PRODUCT = 2 * SIDE**3
"""Its floating-point operations."""
EVALUATIONS = 8
"""Network evaluations for each image that is sampled beside other libraries."""
WORK = {"training": 1, "sampling": EVALUATIONS}
"""What libraries are timed in, and how often the network sees an image in it."""
Key = tuple[str, str, int]
"""A library, its precision and its batch."""
DataRoot = Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")]
Seconds = Annotated[float, typer.Option(help="About how long to time each call of a row.")]
app = typer.Typer(add_completion=False)


def seconds_per_call(work: dict[str, Callable[[], object]], budget: float) -> dict[str, float]:
    """Seconds of each call, the median over rounds of means; the calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for call in work.values():
        call()
        synchronize()
    for _ in range(ROUNDS):
        for name, call in work.items():
            began, calls = time.perf_counter(), 0
            while calls == 0 or time.perf_counter() - began < budget / ROUNDS:
                call()
                synchronize()
                calls += 1
            times[name].append((time.perf_counter() - began) / calls)
    return {name: statistics.median(values) for name, values in times.items()}


def synchronize() -> None:
    """Wait until a GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Work:
    """The default training step and network evaluation, for images of a shape."""

    def __init__(
        self, net: str, precision: str, shape: tuple[int, int, int], batch: int, n: int = 1000, device: str = "auto"
    ) -> None:
        torch.manual_seed(0)
        dae = DenoisingAutoencoder(net, DEFAULT, shape).to(pick_device(device))
        dae.precision = precision
        images = as_dataset(torch.randint(256, (n, *shape), dtype=torch.uint8))
        self.batch, self.rows = batch, torch.arange(n)
        self.state = TrainingState(dae, Recipe(batch=batch), images)
        self.x = torch.rand(batch, *shape, device=dae.device)
        self.parameters = sum(p.numel() for p in dae.parameters())

    def train(self) -> float:
        return self.state.advance(self.rows).item()

    @torch.inference_mode()
    def evaluate(self) -> Tensor:
        return self.state.average(self.x, 1.0)


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of a call, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def product(precision: str) -> Callable[[], Tensor]:
    """The matrix product whose rate is the peak."""
    a, b = (torch.randn(SIDE, SIDE, device=pick_device()).to(getattr(torch, precision)) for _ in range(2))
    return lambda: a @ b


def default_precision() -> str:
    """The precision that the command line takes on this machine."""
    return pick_precision("auto", pick_device())


@app.command()
def step(seconds: Seconds = 10) -> None:
    """Training steps and evaluations of the default network, as shares of the peak of matrix products."""
    rows = []
    for precision in dict.fromkeys([default_precision(), "float32"]):
        work = Work("unet", precision, (1, 28, 28), BATCH)
        calls = {"product": product(precision), "training": work.train, "evaluation": work.evaluate}
        spent = seconds_per_call(calls, seconds)
        most = PRODUCT / spent["product"]
        for name in ("training", "evaluation"):
            work_done = flops(calls[name])
            figures = [f"{work_done / work.batch / 1e6:.0f}", f"{work.batch / spent[name]:.0f}"]
            share = work_done / spent[name] / most
            rows.append([precision, name, *figures, f"{most / 1e12:.2f}", f"{share:.0%}"])
    fill(TABLES, "step", ["precision", "step", "MFLOP/image", "images/s", "peak, TFLOP/s", "share of the peak"], rows)


@app.command()
def growth(seconds: Seconds = 5) -> None:
    """The training rate as batch, image size, width and number of images grow."""
    small = (1, 28, 28)
    cases = [("batch", b, ("unet", small, b, 1000)) for b in (32, 64, 128, 256, 512)]
    cases += [("image size", s, ("unet", (3, s, s), 32, 1000)) for s in (28, 32, 64, 128)]
    cases += [("width", w, (f"unet({w}, {2 * w}, {4 * w})", small, BATCH, 1000)) for w in (16, 32, 64, 96, 128)]
    cases += [("images", n, ("unet", small, BATCH, n)) for n in (10_000, 100_000, 1_000_000)]
    rows = []
    for what, value, (net, shape, batch, n) in cases:
        work = Work(net, default_precision(), shape, batch, n)
        spent = seconds_per_call({"train": work.train}, seconds)["train"]
        gflops = flops(work.train) / spent / 1e9
        rows.append([what, f"{value:,}", f"{work.parameters / 1e6:.2f} M", f"{batch / spent:.0f}", f"{gflops:.0f}"])
    fill(TABLES, "growth", ["what grows", "to", "parameters", "training images/s", "GFLOP/s"], rows)


@app.command()
def startup() -> None:
    """Seconds of commands from start to end, beside the import of torch alone."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-m", "dae_sampler"]
        commands = {
            'python -c "import torch"': [sys.executable, "-c", "import torch"],
            "dae-sampler --help": [*program, "--help"],
            "dae-sampler info mnist": [*program, "info", "mnist"],
            "dae-sampler sample mnist -n 64": [*program, "sample", "mnist", "-n", "64", "--out", f"{folder}/x.png"],
        }
        calls = {
            name: lambda words=words: subprocess.run(words, check=True, capture_output=True)
            for name, words in commands.items()
        }
        spent = seconds_per_call(calls, 0)
    fill(TABLES, "startup", ["command", "seconds"], [[f"`{name}`", f"{s:.2f}"] for name, s in spent.items()])


def peak_memory(words: Iterable[str]) -> float:
    """Largest resident memory of a command, GiB."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); print("
    code += "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 2**30


@app.command()
def memory(data_root: DataRoot) -> None:
    """Largest resident memory of a short training, beside the import of torch alone."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        train = [sys.executable, "-m", "dae_sampler", "train", "mnist", "--data-root", data_root, "--steps", "50"]
        for name, words in {
            'python -c "import torch"': [sys.executable, "-c", "import torch"],
            "dae-sampler train mnist --steps 50": [*train, "--out", f"{folder}/run"],
        }.items():
            rows.append([f"`{name}`", f"{peak_memory(words):.2f}"])
    fill(TABLES, "memory", ["command", "GiB"], rows)


@app.command()
def folder(pictures: int = 1_000_000, seconds: Seconds = 20) -> None:
    """A folder too large for memory: its decoding, and training from the mapped file and from memory (Linux)."""
    with tempfile.TemporaryDirectory() as place:
        make_pictures(Path(place, "pictures"), pictures)
        before, began = anonymous_memory(), time.perf_counter()
        images = data.load(Path(place, "pictures"), root=Path(place)).images
        decoding, held = time.perf_counter() - began, anonymous_memory() - before
        (file,) = Path(place, "decoded").glob("*/images.npy")
        state, rows = Work("unet", default_precision(), tuple(images.shape[1:]), BATCH).state, torch.arange(pictures)

        def advance(images: Tensor) -> None:
            state.dataset = as_dataset(images)
            state.advance(rows)
            del state.dataset  # as long as a file is mapped, its pages stay in the cache

        def uncached() -> None:
            with file.open() as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            advance(torch.from_numpy(mapped(file)))

        memory = partial(advance, images.clone())
        cached = seconds_per_call({"memory": memory, "file": partial(advance, images)}, seconds)
        del images
        cold = seconds_per_call({"memory": memory, "file": uncached}, seconds)
    table = [["decoding pass, pictures/s", f"{pictures / decoding:.0f}"]]
    table += [["memory taken after it, beside the file's, GiB", f"{held:.2f}"]]
    table += [["training from memory, images/s", f"{BATCH / cached['memory']:.0f}"]]
    for name, spent in {"in the system's cache": cached, "on the disk": cold}.items():
        table += [[f"rate from the file {name}, over that from memory", f"{spent['memory'] / spent['file']:.0%}"]]
    fill(TABLES, "folder", [f"{pictures:,} pictures of 3×32×32", ""], table)


def make_pictures(root: Path, n: int) -> None:
    """A folder of ``n`` JPEG files, of which 1,000 differ."""
    for i in range(1000):
        root.joinpath(str(i)).mkdir(parents=True)
        coarse = torch.randint(256, (3, 8, 8), generator=torch.Generator().manual_seed(i), dtype=torch.uint8)
        picture = to_picture(coarse.repeat_interleave(4, 1).repeat_interleave(4, 2))
        save_picture(picture, root / f"{i}/0.jpg")
        for k in range(1, n // 1000):
            root.joinpath(f"{i}/{k}.jpg").hardlink_to(root / f"{i}/0.jpg")


def anonymous_memory(process: int | str = "self") -> float:
    """Resident memory of a process that is not a file's, GiB; 0 of one that has ended."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 2**20


@app.command()
def processes(data_root: DataRoot, steps: int = 200) -> None:
    """Training by one process and by two, on as many cores."""
    cases = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(2):
        for name, (count, threads) in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                words = ["-m", "dae_sampler", "train", "mnist", "--data-root", data_root, "--out", f"{folder}/run"]
                words += ["--steps", str(2 * steps), "--every", str(steps), "--quiet"]
                launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
                environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
                subprocess.run([*launch, *words], check=True, capture_output=True, env=environment)
                first, last = (float(row["seconds"]) for row in Run(Path(folder, "run")).read_metrics())
            rates[name].append(BATCH * steps / (last - first))
    found = {name: statistics.mean(some) for name, some in rates.items()}
    rows = [[name, f"{rate:.0f}", f"{rate / found['1 process, 1 thread']:.2f}"] for name, rate in found.items()]
    fill(TABLES, "processes", [f"default network, batches of {BATCH}", "training images/s", "gain"], rows)


@functools.cache
def contender(library: str, precision: str, batch: int) -> dict[str, Any]:
    """A library in this process: its parameters, its images a call, a training step, and sampling."""
    if library == "dae-sampler":
        work = Work("unet", precision, (1, 28, 28), batch, device="cpu")
        drawn = 2 * batch_size((1, 28, 28))  # two of its own batches
        sample = partial(dae_sampler.sample, work.state.average, drawn, sampler="dpm", steps=EVALUATIONS)
        sizes = {"parameters": work.parameters, "images": {"training": batch, "sampling": drawn}}
        return sizes | {"training": work.train, "sampling": sample}
    from peers import PEERS

    model = PEERS[library]()
    optimizer = torch.optim.AdamW(model.parameters(), model.rate)
    lowered = partial(torch.autocast, "cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def train() -> None:
        with lowered():
            model(torch.rand(batch, 1, 28, 28)).backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()  # torch's FLOP counter fails under inference_mode with autocast
    def sample() -> None:
        with lowered():
            model.sample(batch, EVALUATIONS)

    sizes = {"parameters": sum(p.numel() for p in model.parameters()), "images": dict.fromkeys(WORK, batch)}
    return sizes | {"training": train, "sampling": sample}


def perform(key: Key, what: str) -> None:
    """Have a library train or sample."""
    contender(*key)[what]()


def operations(key: Key, what: str) -> int:
    """Floating-point operations of a training step or a sampling."""
    return flops(contender(*key)[what])


def parameters(key: Key) -> int:
    """How many parameters a library's network has."""
    return contender(*key)["parameters"]


def evaluations(key: Key, what: str) -> int:
    """Images of a call, times the network evaluations or training steps of each."""
    return contender(*key)["images"][what] * WORK[what]


@app.command()
def peers(
    theirs: Annotated[
        int, typer.Option(help="Images at once in the other libraries; azula is fastest with 128.")
    ] = 128,
    seconds: Seconds = 20,
) -> None:
    """Training and sampling by dae-sampler and other libraries on the CPU, each in its own process, in turn."""
    from peers import PEERS

    kinds = dict.fromkeys([pick_precision("auto", pick_device("cpu")), "float32"])
    batches = {"dae-sampler": BATCH} | dict.fromkeys(PEERS, theirs)
    keys = [(name, kind, batch) for kind in kinds for name, batch in batches.items()]
    pools = {key: ProcessPoolExecutor(1, get_context("spawn")) for key in keys}

    def ask(key: Key, function: Callable, *arguments: str) -> Any:
        return pools[key].submit(function, key, *arguments).result()

    rows = [[key[0], f"{ask(key, parameters) / 1e6:.2f} M", key[1]] for key in pools]
    for what in WORK:
        spent = seconds_per_call({key: partial(ask, key, perform, what) for key in pools}, seconds)
        for row, key in zip(rows, pools, strict=True):
            row += [
                f"{ask(key, evaluations, what) / spent[key]:.0f}",
                f"{ask(key, operations, what) / spent[key] / 1e9:.0f}",
            ]
    header = ["library", "parameters", "precision", "training images/s", "GFLOP/s", "evaluations/s", "GFLOP/s"]
    fill(TABLES, "peers", header, rows)


if __name__ == "__main__":
    app()

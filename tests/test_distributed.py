"""Two processes against one, on a CPU."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dae_sampler import DenoisingAutoencoder, InputError, Recipe, fit, save

ROOT = Path(__file__).parent.parent
TRAIN = ["--batch", 16, "--every", 10, "--net", "unet(8, 16)", "--precision", "float32", "--optimizer", "adamw"]
"""By AdamW, for Muon's bfloat16 amplifies what two processes round differently."""


def words_of(*arguments, processes=1, restarts=0):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    run += [f"--max-restarts={restarts}"]
    start = [sys.executable] if processes == 1 else run
    return [*start, "-m", "dae_sampler", *map(str, arguments)]


def start(*arguments, cwd, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = words_of(*arguments, **options)
    return subprocess.Popen(
        words, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run(*arguments, cwd, code=0, **options):
    process = start(*arguments, cwd=cwd, **options)
    text, _ = process.communicate(timeout=240)
    assert (process.returncode == 0) == (code == 0), text
    return text


def losses(folder):
    with (folder / "metrics.csv").open() as file:
        return np.array([[float(row["loss"]), float(row["valid_loss"])] for row in csv.DictReader(file)])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run by one process, and the options that made it."""
    folder = tmp_path_factory.mktemp("alone")
    images = np.random.default_rng(0).integers(256, size=(400, 8, 8), dtype=np.uint8)
    images[::2, :, :4] = 0
    np.save(folder / "x.npy", images)
    train = ["train", folder / "x.npy", *TRAIN]
    run(*train, "--steps", 40, "--out", "m", cwd=folder)
    return folder / "m", train


def test_two_processes_sample_the_images_of_one(command, alone, tmp_path):
    options = ["-n", 9, "--steps", 4, "--seed", 3, "--precision", "float32", "--out"]
    command("sample", alone[0], *options, tmp_path / "1.npy")
    run("sample", alone[0], *options, "2.npy", cwd=tmp_path, processes=2)
    one, two = (np.load(tmp_path / f"{processes}.npy") for processes in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_two_processes_restore_and_show_the_pictures_of_one(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.01..0.5)", (1, None, None)), "any.safetensors")
    Path("in").mkdir()
    for i in range(3):
        Image.new("L", (12, 8), 60 * i).save(f"in/{i}.png")
    options = ["denoise", "any.safetensors", "in", "--level", 0.1, "--error", "--compare", "--precision", "float32"]
    said = command(*options, "--out", "one")
    text = run(*options, "--out", "two", cwd=tmp_path, processes=2)
    for name in ("one/0.png", "one/2.png", "one/1-error.png", "one-compare.png"):
        one, two = (np.asarray(Image.open(path), float) for path in (name, name.replace("one", "two")))
        np.testing.assert_allclose(one, two, atol=1)
    line = next(line for line in said.splitlines() if line.startswith("largest error"))
    assert line in text


def test_two_processes_have_the_losses_of_one_though_one_is_lost_and_resume_as_one(command, alone, tmp_path):
    whole, train = alone
    process = start(*train, "--steps", 40, cwd=tmp_path, processes=2, restarts=1)
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs" / "x" / "state.safetensors").is_file() and time.monotonic() < deadline:
        time.sleep(0.005)
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 0, text
    assert text.count("resuming") == 1, text
    np.testing.assert_allclose(losses(tmp_path / "runs" / "x"), losses(whole), rtol=1e-4)
    assert text.count("wrote runs/x/model.safetensors") == 1
    assert len(list((tmp_path / "runs").iterdir())) == 1
    command("train", "--resume", "--out", tmp_path / "runs" / "x", "--steps", 50)
    assert len(losses(tmp_path / "runs" / "x")) == 5


def test_a_batch_that_does_not_split_is_refused(monkeypatch):
    monkeypatch.setattr("dae_sampler.distributed.get_world_size", lambda: 2)
    images = np.zeros((20, 8, 8), np.uint8)[:, None]
    with pytest.raises(InputError, match="does not split over 2 processes"):
        fit(DenoisingAutoencoder("dense(4)", shape=(1, 8, 8)), images, Recipe(steps=1, batch=5))


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads by Linux's /proc")
def test_no_thread_of_the_group_is_left_after_it(tmp_path):
    (tmp_path / "script.py").write_text(
        """
import os, time, torch
from dae_sampler.distributed import joined
with joined(torch.device("cpu")):
    layer = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
    layer(torch.ones(1, 2)).sum().backward()
    del layer
until = time.monotonic() + 10
while (left := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < until:
    time.sleep(0.01)  # a thread that was joined stays listed until the kernel has cleared it away
os.write(1, f"{left} ".encode())
"""
    )
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "script.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=240)
    assert done.stdout.split() == ["1", "1"], done.stderr

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

ROOT = Path(__file__).parent.parent
TRAIN = ["train", "digits", "--batch", 16, "--every", 10, "--net", "unet(8, 16)", "--precision", "float32"]


def command(*arguments, processes=1, restarts=0):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    run += [f"--max-restarts={restarts}"]
    start = [sys.executable] if processes == 1 else run
    return [*start, "-m", "dae_sampler", *map(str, arguments)]


def start(*arguments, cwd, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = command(*arguments, **options)
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
    folder = tmp_path_factory.mktemp("alone")
    run(*TRAIN, "--steps", 30, "--out", "m", cwd=folder)
    return folder / "m"


def test_two_processes_have_the_losses_of_one_and_resume_as_one(alone, tmp_path):
    text = run(*TRAIN, "--steps", 30, "--out", "m", cwd=tmp_path, processes=2)
    assert text.count("wrote m/model.safetensors") == 1
    np.testing.assert_allclose(losses(tmp_path / "m"), losses(alone), rtol=1e-4)
    run("train", "--resume", "--out", "m", "--steps", 40, cwd=tmp_path)
    assert len(losses(tmp_path / "m")) == 4


def test_two_processes_sample_the_images_of_one(alone, tmp_path):
    for processes in (1, 2):
        options = ["-n", 9, "--steps", 4, "--seed", 3, "--precision", "float32", "--out", f"{processes}.npy"]
        run("sample", alone, *options, cwd=tmp_path, processes=processes)
    one, two = (np.load(tmp_path / f"{processes}.npy") for processes in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_a_lost_process_is_started_again_and_the_run_goes_on(tmp_path):
    train = [*TRAIN, "--steps", 120, "--optimizer", "adamw"]  # Muon's bfloat16 amplifies rounding to a percent by then
    process = start(*train, cwd=tmp_path, processes=2, restarts=1)
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs" / "digits" / "state.safetensors").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 0, text
    assert text.count("resuming") == 1, text
    run(*train, "--out", "whole", cwd=tmp_path)
    np.testing.assert_allclose(losses(tmp_path / "runs" / "digits"), losses(tmp_path / "whole"), rtol=1e-4)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_batch_that_does_not_split_is_refused(tmp_path):
    text = run("train", "digits", "--batch", 5, "--steps", 1, "--out", "m", cwd=tmp_path, processes=2, code=2)
    assert "does not split over 2 processes" in text


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads by Linux's /proc")
def test_no_thread_of_the_group_is_left_after_it(tmp_path):
    (tmp_path / "script.py").write_text(
        """
import os, torch
from dae_sampler.distributed import joined
with joined(torch.device("cpu")):
    layer = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
    layer(torch.ones(1, 2)).sum().backward()
    del layer
os.write(1, f"{len(os.listdir('/proc/self/task'))} ".encode())
"""
    )
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "script.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=240)
    assert done.stdout.split() == ["1", "1"], done.stderr

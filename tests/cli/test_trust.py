"""Commands under bad conditions: without a network, on a full disk, and with numbers at the ends of what there is."""

import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, save


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Small models of any size, by their channels."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("models")
    for channels in (1, 16):
        dae = DenoisingAutoencoder("unet(8)", "gaussian(0.01..0.5)", (channels, None, None))
        save(dae, place / f"{channels}.safetensors")
    return place


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was asked for")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@contextmanager
def full_disk(size):
    """Files cannot grow beyond ``size`` bytes."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_the_demo_needs_no_network(command, no_network):
    cat = Image.open(Path(__file__).parents[2] / "docs" / "images" / "chelsea.png").crop((100, 100, 132, 132))
    Path("clean").mkdir()
    cat.save("clean/cat.png")
    command("sample", "mnist", "-n", 4, "--steps", 3, "--out", "samples.png", "--trajectory", "way.gif", "--every", 2)
    command("sample", "mnist-paper", "-n", 4, "--steps", 2, "--out", "iterate.png")
    command("sample", "mnist", "-n", 2, "--steps", 2, "--seed", 1, "--out", "digits", "--quiet")
    command("corrupt", "gaussian(0.6)", "digits", "--out", "damaged")
    command("denoise", "mnist", "damaged", "--level", 0.6, "--steps", 1, "--out", "restored", "--compare")
    command("corrupt", "gaussian(25/255)", "clean", "--out", "noisy")
    command("denoise", "photo", "noisy", "--truth", "clean", "--steps", 1, "--out", "photo", "--compare")
    made = ["samples.png", "way.gif", "iterate.png", "restored-compare.png", "photo-compare.png", "photo/cat.png"]
    assert all(Path(name).stat().st_size for name in made)


@pytest.mark.parametrize("words", [["denoise", "--level", "0.1"], ["refine"], ["restore", "--operator", "blur(1)"]])
def test_a_disk_that_fills_up_leaves_whole_pictures_only(command, models, words):
    Path("f").mkdir()
    for name, side in (("a", 8), ("b", 160)):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)).save(f"f/{name}.png")
    words = [words[0], models / "1.safetensors", "f", *words[1:], "--steps", 1, "--out", "out"]
    with full_disk(4096):
        text = command(*words, code=2)
    assert "error: cannot write out/b.png" in text
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    assert np.asarray(Image.open("out/a.png")).shape == (8, 8)


STARVED = """
import os, resource, sys, torch
from dae_sampler import cli
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * os.sysconf("SC_PAGE_SIZE") + 400 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
sys.exit(cli.main())
"""
"""The program with 400 MB of memory to grow by."""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells its memory by /proc")
def test_where_memory_ends_a_sentence_says_so_and_what_was_finished_stays(models):
    Path("f").mkdir()
    for name, side in (("a", 8), ("b", 9000)):
        Image.new("L", (side, side), 99).save(f"f/{name}.png")
    words = ["denoise", models / "1.safetensors", "f", "--level", "0.1", "--out", "out"]
    end = subprocess.run([sys.executable, "-c", STARVED, *words], capture_output=True, text=True, check=False)
    assert end.returncode == 2
    assert "out of memory" in end.stderr
    assert "Traceback" not in end.stderr
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


def test_a_closed_terminal_leaves_whole_pictures_and_the_rest_can_be_made(command, models, request):
    Path("f").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    for i in range(20):
        Image.fromarray(pixels).save(f"f/{i}.png")
    words = ["denoise", models / "1.safetensors", "f", "--level", "0.1", "--steps", "10", "--out", "out"]
    process = subprocess.Popen([sys.executable, "-m", "dae_sampler", *words], stderr=subprocess.PIPE, text=True)
    request.addfinalizer(process.kill)
    while process.poll() is None and len(list(Path("out").glob("[0-9]*.png"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (128 + signal.SIGHUP, False)
    assert {np.asarray(Image.open(path)).shape for path in Path("out").glob("[0-9]*.png")} == {(200, 200)}
    command(*words, "--resume")
    assert len(list(Path("out").glob("[0-9]*.png"))) == 20


ODD = {
    "black": np.zeros((2, 8, 8)),
    "white": np.ones((2, 8, 8)),
    "denormal": np.full((2, 8, 8), 1e-42),
    "one pixel": np.full((2, 1, 1), 0.3),
    "prime": np.linspace(0, 1, 2 * 7 * 13).reshape(2, 7, 13),
    "one row": np.linspace(0, 1, 2 * 29).reshape(2, 1, 29),
    "many channels": np.linspace(0, 1, 2 * 16 * 8 * 8).reshape(2, 16, 8, 8),
    "NaN": np.full((2, 8, 8), np.nan),
    "infinite": np.full((2, 8, 8), np.inf),
}
TASKS = {
    "lowest": ["denoise", "--level", "0.01", "--steps", "1"],
    "highest": ["denoise", "--level", "0.5", "--steps", "2"],
    "estimated": ["denoise", "--steps", "1"],
    "refine": ["refine", "--level", "0.5", "--steps", "2"],
    "restore": ["restore", "--operator", "blur(0.5)", "--noise", "0.01", "--steps", "2"],
    "fill": ["restore", "--operator", "mask('left')", "--noise", "1e-3", "--steps", "2"],
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["black", "denormal", "one pixel", "prime", "many channels", "NaN", "infinite"])
def test_results_are_finite_and_in_range_or_refused(command, models, name, task):
    x = ODD[name].astype(np.float32)
    np.save("x.npy", x)
    refused = name in ("NaN", "infinite") or (task == "fill" and x.shape[-1] == 1)  # it has no left half
    method, *options = TASKS[task]
    model = models / f"{x.shape[1] if x.ndim == 4 else 1}.safetensors"
    command(method, model, "x.npy", *options, "--out", "y.npy", code=2 if refused else 0)
    assert Path("y.npy").exists() != refused
    if not refused:
        y = np.load("y.npy")
        assert y.shape[-2:] == x.shape[-2:]
        assert np.isfinite(y).all()
        assert y.min() >= 0
        assert y.max() <= 1


@pytest.mark.parametrize("name", ODD)
def test_scores_and_features_are_finite_or_refused(command, models, name):
    x = ODD[name].astype(np.float32)
    np.save("x.npy", x)
    code = 2 if name in ("NaN", "infinite") else 0
    model = models / f"{x.shape[1] if x.ndim == 4 else 1}.safetensors"
    command("encode", model, "x.npy", "--out", "features.npz", code=code)
    command("anomaly", model, "x.npy", "--out", "scores.csv", code=code)
    assert (Path("features.npz").exists(), Path("scores.csv").exists()) == (not code, not code)
    if not code:
        assert np.isfinite(np.load("features.npz")["features"]).all()
        assert np.isfinite(np.genfromtxt("scores.csv", delimiter=",", names=True)["score"]).all()


def test_images_of_many_channels_can_be_trained_on(command):
    np.save("x.npy", np.random.default_rng(0).random((30, 16, 8, 8), np.float32))
    command("train", "x.npy", "--net", "dense(4)", "--steps", 2, "--batch", 2, "--out", "run")
    assert Path("run/model.safetensors").is_file()


def test_the_current_folder_may_hold_the_truth(command, models):
    Image.new("L", (8, 8), 99).save("a.png")
    words = [models / "1.safetensors", "--steps", 1, "--level", "0.1"]
    assert "mean of 1" in command("evaluate", *words, "--test", ".")
    assert "PSNR" in command("denoise", words[0], "a.png", *words[1:], "--truth", ".", "--out", "out")


@pytest.mark.parametrize("place", ["~nobody-of-this-name", "~nobody-of-this-name/x.png"])
def test_a_home_of_nobody_is_a_plain_name(command, models, place):
    assert "no" in command("info", place, code=2)
    assert "error" in command("export", models / "1.safetensors", place, code=2)


def test_tuning_goes_on_without_being_told_its_data_again(command):
    Path("f").mkdir()
    for i in range(20):
        Image.new("L", (8, 8), 9 * i).save(f"f/{i}.png")
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, 8, 8)), Path("m.safetensors"))
    words = ["distil", "m.safetensors", "--out", "run", "--batch", 2]
    command(*words, "--data", "f", "--steps", 1)
    assert "wrote" in command(*words[:4], "--resume", "--steps", 2)

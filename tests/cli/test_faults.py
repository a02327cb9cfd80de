"""What people stumble over at the terminal: nothing is destroyed, guessed or lost without a word."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, Run, save

PROGRAM = [sys.executable, "-m", "dae_sampler"]
TINY = ["--net", "dense(4)", "--steps", 1, "--batch", 2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save(DenoisingAutoencoder("dense(16)", "gaussian(0.02..20)", (1, 8, 8)), path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of grey pictures beside the current folder's other files."""
    monkeypatch.chdir(tmp_path)
    for i in range(4):
        Path("f").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 60 * i).save(Path("f") / f"{i:02d}.png")
    return Path("f")


def content(*paths):
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize(
    "options",
    [
        ["f", "--out", "f/00.png"],
        ["f", "--out", "f"],
        ["f/00.png", "--out", "f"],
        ["f/00.png", "--out", "f/00.png"],
        ["f/00.png", "--out", "link.png"],
        ["x.npy", "--out", "x.npy"],
        ["f", "--out", "new", "--trajectory", "way.gif"],
        ["old", "--out", "old-2", "--compare"],
    ],
)
@pytest.mark.parametrize("task", [["refine", "MODEL"], ["corrupt", "masking(0.5)"], ["inpaint", "MODEL"]])
def test_results_never_replace_what_they_were_made_from(command, model, folder, task, options):
    os.link("f/00.png", "link.png")
    os.link("f/01.png", "way.gif")
    np.save("x.npy", np.zeros((2, 8, 8), np.uint8))
    Path("old").mkdir()
    Image.new("L", (8, 8), 9).save("old/a.png")
    os.link("old/a.png", "old-2-compare.png")
    if any(
        option not in {"refine": ["--trajectory", "--compare"], "inpaint": ["--compare"]}.get(task[0], [])
        for option in options
        if option in ("--trajectory", "--compare")
    ):
        pytest.skip("no such option")
    inputs = [*folder.iterdir(), Path("x.npy"), Path("old/a.png")]
    before = content(*inputs)
    extra = ["--mask", "right"] if task[0] == "inpaint" else []
    words = [str(model) if word == "MODEL" else word for word in task]
    text = command(*words, *options, *extra, code=2)
    assert "destroy" in text or "overwrite" in text
    assert content(*inputs) == before


def test_a_mask_is_spared_too(command, model, folder):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save("mask.png")
    before = content(Path("mask.png"))
    assert "destroy" in command("inpaint", model, "f/00.png", "--mask", "mask.png", "--out", "mask.png", code=2)
    assert content(Path("mask.png")) == before


def test_training_among_its_pictures_reads_no_pictures_of_its_own(command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert "on 4 images" in command("train", ".", *TINY, "--every", 1)
    (run,) = Path("runs").iterdir()
    assert "wrote" in command("train", "--resume", "--out", run, "--steps", 2)
    assert "on 4 images" in command("train", ".", *TINY, "--out", "second")
    assert "on 4 images" in command("train", ".", *TINY, "--out", "third")


def test_restoring_twice_among_the_pictures_reads_no_results(command, model, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for _ in range(2):
        assert "4 images" in command("refine", model, ".", "--steps", 1, "--out", "better")
    assert len(list(Path("better").rglob("*.png"))) == 4


def test_two_trainings_begun_together_take_two_folders(folder):
    words = [*PROGRAM, "train", "f", *map(str, TINY)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert all(process.wait(120) == 0 for process in both)
    assert sorted(p.name for p in Path("runs").iterdir()) == ["f", "f-2"]
    assert all((p / "model.safetensors").is_file() for p in Path("runs").iterdir())


def test_a_folder_that_another_process_trains_in_is_left_alone(command, folder):
    Path("run").mkdir()
    with Run(Path("run")).lock():
        assert "another process" in command("train", "f", *TINY, "--out", "run", code=2)
    assert list(Path("run").iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "array"])
def test_a_run_whose_data_moved_goes_on_if_they_are_the_same(command, folder, kind):
    source, elsewhere, others = Path("f"), Path("moved"), Path("others")
    if kind == "array":
        source, elsewhere, others = Path("x.npy"), Path("moved.npy"), Path("others.npy")
        np.save(source, np.arange(256, dtype=np.uint8).reshape(4, 8, 8))
        np.save(others, np.arange(256, dtype=np.uint8).reshape(4, 8, 8)[::-1])
    else:
        others.mkdir()
        for path in source.iterdir():
            Image.new("L", (8, 8), 7).save(others / path.name)
    command("train", source, *TINY, "--out", "run")
    source.rename(elsewhere)
    assert "nothing at" in command("train", "--resume", "--out", "run", "--steps", 2, code=2)
    assert "other images" in command("train", others, "--resume", "--out", "run", "--steps", 2, code=2)
    assert "wrote" in command("train", elsewhere, "--resume", "--out", "run", "--steps", 2)
    assert json.loads(Path("run/config.json").read_text())["data"] == str(elsewhere.resolve())


@pytest.mark.parametrize("name", ["evaluate", "likelihood"])
def test_real_images_are_those_of_the_models_own_set(command, model, name):
    assert "give such images by --data" in command(name, model, code=2)


def test_evaluating_says_what_it_compared_with_and_changed(command, folder):
    Path("flat.py").write_text("def pixels(images):\n    return images.flatten(1)\n")
    command("train", "digits", "--size", "9x8", *TINY, "--out", "run")
    text = command("evaluate", "run", "--features", "flat:pixels", "-n", 8, "--steps", 1)
    assert "digits" in text
    assert "note: " in text
    assert "9x8" in text


@pytest.mark.parametrize(("fit", "word"), [("crop", "cropped"), ("pad", "padded"), ("squash", "squashed")])
def test_size_is_width_by_height_and_what_it_did_is_said(command, folder, fit, word):
    Image.new("L", (20, 10)).save("f/wide.png")
    text = command("train", "f", "--size", "16x12", "--fit", fit, *TINY, "--out", "run")
    assert "1x12x16" in text
    assert word in text
    assert "--size" in command("train", "f", "--size", "16x", *TINY, "--out", "other", code=2)


def test_a_home_written_as_a_tilde_is_the_home(command, model, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.resolve().parent / "home"))
    monkeypatch.setenv("DAE_SAMPLER_DATA", "~/data")
    command("sample", model, "-n", 1, "--steps", 1, "--out", "~/x.png")
    assert Path("home/x.png").is_file()
    command("train", "digits", *TINY, "--out", "~/run")
    assert json.loads(Path("home/run/config.json").read_text())["data_root"].endswith("home/data")
    assert "dense(4)" in command("info", "~/run")


def test_a_closed_terminal_saves_as_a_request_to_end_does(folder, request):
    number = signal.SIGHUP
    process = subprocess.Popen(
        [*PROGRAM, "train", "f", "--net", "dense(4)", "--batch", "2", "--steps", "1000000", "--out", "run"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    request.addfinalizer(process.kill)  # should the test fail, it would run for days
    for line in process.stdout:
        if line.startswith("about"):
            break
    time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert Path("run/state.safetensors").is_file()


def test_nohup_goes_on_after_the_terminal_is_closed(folder, request):
    process = subprocess.Popen(
        [*PROGRAM, "train", "f", "--net", "dense(4)", "--batch", "2", "--steps", "60", "--out", "run"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    request.addfinalizer(process.kill)  # should the test fail, it would run for days
    next(line for line in process.stdout if line.startswith("about"))
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("arguments", ["info mnist --json", "train --help", "info mnist"])
@pytest.mark.parametrize("ending", ["| head -n 1", ">&-", "| true"])
def test_a_reader_that_leaves_or_is_not_there_is_no_fault(arguments, ending):
    line = f"{sys.executable} -m dae_sampler {arguments} {ending}"
    end = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, check=False)
    assert end.stderr == ""
    assert end.returncode == 0


def test_commands_to_go_on_with_can_be_pasted(command, model, folder):
    Path("f").rename("my pictures")
    text = command("refine", model, "my pictures", "--steps", 1, "--out", "some:cat:")
    assert "'my pictures'" in text.split("next:")[1]
    assert ":cat:" in text


def test_one_image_is_one_image(command, model, folder):
    text = command("refine", model, "f/00.png", "--steps", 1, "--out", "new")
    assert "1 image by" in text
    assert "1 step" in text
    assert "1 steps" not in text


def test_json_has_no_numbers_that_json_has_not(capsys):
    from dae_sampler.cli.console import print_json

    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


def test_info_for_people_is_short(command):
    lines = command("info", "mnist").strip().splitlines()
    assert len(lines) <= 10
    assert any("gaussian(0.02..20" in line for line in lines)


def test_hints_fit_the_command(command, model, folder, monkeypatch):
    assert "invent" not in command("denoise", model, "f", "--level", 0.4, "--steps", 1, "--out", "a")
    assert "it takes" in command("train", "f", "--net", "unet(deep=1)", *TINY[2:], code=2)

    def exhausted(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("dae_sampler.checkpoint.load", exhausted)
    text = command("likelihood", model, "--data", "digits", code=2)
    assert "out of memory" in text
    assert "--batch" not in text
    assert "lower --batch" in command("sample", model, code=2)


def test_what_was_left_out_is_said(command, model, folder):
    (folder / ".ipynb_checkpoints").mkdir()
    Image.new("L", (8, 8)).save(folder / ".ipynb_checkpoints" / "a.png")
    (folder / "notes.txt").write_text("x")
    text = command("refine", model, "f", "--steps", 1, "--out", "new")
    assert "4 images" in text
    assert "hidden" in text
    assert ".txt" in text


def test_transparency_goes_over_what_was_asked_for(command, model, folder):
    drawing = np.zeros((8, 8, 2), np.uint8)
    drawing[2:5, 2:5, 1] = 255
    Image.fromarray(drawing, "LA").save("drawing.png")
    dark = command("corrupt", "masking(0)", "drawing.png", "--out", "dark.png")
    assert "transparency" in dark
    command("corrupt", "masking(0)", "drawing.png", "--over", "white", "--out", "light.png")
    assert np.asarray(Image.open("dark.png")).max() == 0
    assert np.unique(np.asarray(Image.open("light.png"))).tolist() == [0, 255]


def test_a_second_cuda_device_may_be_named(command, model, folder):
    text = command("sample", model, "--device", "cuda:1", code=2)
    assert "no cuda device" in text or torch.cuda.is_available()
    assert "unknown device" in command("sample", model, "--device", "cpu:7", code=2)

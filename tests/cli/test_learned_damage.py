"""Models whose damage is in the data, from the command line."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from dae_sampler.data.whole import open_files

TRAINING = ["--net", "unet(8)", "--steps", 2, "--batch", 4, "--every", 2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Clean and dirty pictures in the current folder, and an array of noise."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("clean", "dirty"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(random.integers(0, 256, (20, 24), dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    np.save("noisy.npy", random.normal(0.5, 0.5, (12, 8, 8)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize("how", [["--crop", 16, "--augment", "turn"], ["--size", "12x10"]])
def test_pairs_train_resume_and_denoise_without_a_word_on_levels(command, here, how):
    (here / "dirty" / "more.png").write_bytes((here / "dirty" / "0.png").read_bytes())
    text = command("train", "clean", "--damaged", "dirty", *how, *TRAINING, "--out", "run")
    assert "left out 1 without a partner (dirty/more.png)" in text
    assert "under given" in text
    text += command("train", "--resume", "--out", "run", "--steps", 4)
    resize = [] if "--crop" in how else ["--resize"]
    text += command("denoise", "run", "dirty", "--out", "restored", "--compare", *resize)
    assert "4 images by reconstruct, 1 step" in text
    assert Image.open("restored/1.png").size == ((24, 20) if "--crop" in how else (12, 10))
    text += command("info", "run")
    assert "next: dae-sampler denoise run PICTURES" in text
    assert "level" not in text
    rows = (here / "run" / "metrics.csv").read_text()
    assert "valid_excess" in rows
    assert "@" not in rows
    assert [Image.open(f"run/samples/000000{step}.png").width > 20 for step in (2, 4)]


@pytest.mark.parametrize("command_line", [["refine", "run", "dirty"], ["sample", "run"], ["evaluate", "run"]])
def test_what_a_model_of_pairs_cannot_do_is_said(command, here, command_line):
    command("train", "clean", "--damaged", "dirty", "--size", 8, *TRAINING, "--out", "run")
    text = command(*command_line, code=2)
    assert "Traceback" not in text
    assert text.count("\n") == 1
    assert "leave out --level" in command("denoise", "run", "dirty", "--level", 0.1, code=2)
    assert "leave out --noise" in command("denoise", "run", "dirty", "--noise", "25/255", code=2)


def test_blind_spots_take_noisy_floats_and_the_noise_that_they_carry(command, here):
    text = command("train", "noisy.npy", "--corruption", "blindspot(0.1)", *TRAINING, "--out", "run")
    noisy = np.load("noisy.npy")
    assert f"values from {noisy.min():g} to {noisy.max():g}, taken as noise around 0 (black) to 1 (white)" in text
    assert "floor" not in text
    card = json.loads(command("info", "run", "--json"))["model"]
    assert card["target"] == "self"
    text = command("denoise", "run", "noisy.npy", "--noise", "1/4", "--out", "out.npy")
    assert "reconstruct(sigma=1/4)" in text
    assert np.load("out.npy").shape == (12, 1, 8, 8)


def test_exposures_train_on_each_other(command, here):
    text = command("train", "clean", "--exposures", "--crop", 16, *TRAINING, "--out", "run")
    assert "on 3 images of clean" in text
    assert json.loads(command("info", "run", "--json"))["model"]["target"] == "noisy"
    assert "valid_floor" not in (here / "run" / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        (["--damaged", "dirty", "--exposures"], "give one"),
        (["--damaged", "dirty", "--corruption", "gaussian(0.1)"], "leave out --corruption"),
        (["--damaged", "nowhere"], "no folder nowhere"),
        (["--damaged", "noisy.npy"], "no folder"),
        (["--damaged", "dirty", "--target", "nosy"], "did you mean 'noisy'"),
        (["--damaged", "dirty", "--binarise", "threshold"], "leave out --binarise"),
        (["--target", "noisy"], "give --damaged"),
        (["--corruption", "given"], "give these as --damaged"),
    ],
)
def test_contradictions_end_in_a_sentence(command, here, options, cure):
    text = command("train", "clean", "--size", 8, *options, *TRAINING, "--out", "run", code=2)
    assert cure in text
    assert "Traceback" not in text
    assert not (here / "run" / "model.safetensors").exists()


def test_ways_to_learn_damage_nothing_by_themselves(command, here):
    for text in ("given", "blindspot(0.02)", "renoise(0.1, 0.5)"):
        assert "damages nothing by itself" in command("corrupt", text, "clean", code=2)
    command("corrupt", "jpeg(10)", "clean", "--out", "artefacts")
    assert "dae-sampler denoise MODEL artefacts" in command("corrupt", "poisson(0.01)", "clean", "--out", "artefacts")


def test_deep_pages_under_a_range_of_the_model_come_back_exactly(here):
    stack = np.random.default_rng(0).integers(0, 65536, (3, 9, 7), dtype=np.uint16)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    todo = open_files(here / "stack.tif", here / "back.tif", strict=True, span=(12.0, 1447.0))
    assert [done.skipped for done in todo.restore(lambda page: {"": page.x})] == [""]
    assert np.array_equal(tifffile.imread("back.tif"), stack)

"""Labels on the command line: trained from subfolders, asked for by name, listed."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import load


@pytest.fixture
def trained(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("L", (8, 8), 40 * i).save(tmp_path / "animals" / name / f"{i}.png")
    said = command(
        "train", "animals", "--labels", "auto", "--net", "dense(8)", "--steps", 3, "--batch", 4, "--out", "r"
    )
    assert said.strip().endswith("--label cat")
    return "r"


def test_a_grid_with_a_row_for_each_class(trained, command, tmp_path):
    command("sample", trained, "--label", "dog", "--label", "cat", "-n", 5, "--steps", 2, "--guidance", 1.5)
    five, two = ((n * (8 + 2) + 2) * 7 for n in (5, 2))
    assert Image.open("samples.png").size == (five, two)
    command("sample", trained, "--label", "dog", "--steps", 2, "--out", "dogs.npy")
    assert np.load("dogs.npy").shape == (64, 1, 8, 8)
    assert "a class is drawn for each" in command("sample", trained, "--steps", 2, "--guidance", 2)


def test_the_other_tasks_take_a_label_and_info_lists_them(trained, command):
    for task in (["refine"], ["denoise", "--level", 0.5], ["inpaint", "--mask", "left"]):
        name, *more = task
        command(name, trained, "animals/cat", *more, "--steps", 2, "--label", "cat", "--guidance", 2, "--out", "a.npy")
        command(name, trained, "animals/cat", *more, "--steps", 2, "--out", "b.npy")
        assert not np.array_equal(np.load("a.npy"), np.load("b.npy"))
    assert "cat, dog" in command("info", trained)


def test_errors_say_what_to_do(trained, command):
    assert "it knows cat, dog" in command("sample", trained, "--label", "bird", code=2)
    assert "--guidance needs a --label" in command("refine", trained, "animals/cat", "--guidance", 2, code=2)
    assert "train one with --labels auto" in command("sample", "mnist-paper", "--label", 7, code=2)


def test_a_class_tells_what_the_damage_hides_in_pictures_of_any_size(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, shade in (("day", 230), ("night", 25)):
        for kind, value in (("clean", shade), ("dark", 128)):
            (tmp_path / kind / name).mkdir(parents=True)
            Image.new("L", (21, 17), value).save(tmp_path / kind / name / "0.png")
    known = ["--labels", "auto", "--net", "unet(8, 8)", "--steps", 60, "--batch", 8, "--lr", 0.01, "--out", "r"]
    command("train", "clean", "--damaged", "dark", "--crop", 16, *known)
    for name in ("day", "night"):
        command("denoise", "r", "dark/day", "--label", name, "--out", name)
    day, night = (np.asarray(Image.open(f"{name}/0.png")) for name in ("day", "night"))
    assert day.shape == (17, 21)
    assert day.mean() > 170
    assert night.mean() < 85
    assert "leave out --labels" in command("train", "clean", "--exposures", "--crop", 16, *known[:2], code=2)


def test_a_refused_resume_leaves_the_run_as_it_was_and_a_refused_start_leaves_none(trained, command, tmp_path):
    before = (tmp_path / "r" / "config.json").read_text()
    for name in ("cat", "dog"):
        (tmp_path / "others" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("L", (8, 8), 30 * i).save(tmp_path / "others" / name / f"{i}.png")
    assert "other images or labels" in command("train", "others", "--resume", "--out", trained, code=2)
    assert (tmp_path / "r" / "config.json").read_text() == before
    command("train", "animals", "--l1", 0.1, "--net", "unet(8)", "--steps", 1, "--out", "new", code=2)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", [["--damaged", "animals"], ["--corruption", "erasure(0.1..0.5)"]])
def test_what_cannot_be_sampled_from_noise_trains_with_labels(trained, command, damage):
    known = ["--labels", "auto", "--net", "dense(8)", "--steps", 2, "--every", 1, "--batch", 4, "--out", "other"]
    assert "wrote" in command("train", "animals", *damage, *known)


def test_a_tuning_is_gone_on_with_from_its_own_model_alone(trained, command, tmp_path):
    tune = ["distil", trained, "--data", "animals", "--steps", 1, "--batch", 4, "--out", "fast"]
    assert "as a consistency model" in command(*tune)
    before = (tmp_path / "r" / "model.safetensors").read_bytes()
    assert "is no tuning of" in command("distil", trained, "--resume", "--out", trained, code=2)
    assert "is no tuning of" in command("distil", "mnist", "--resume", "--out", "fast", code=2)
    assert (tmp_path / "r" / "model.safetensors").read_bytes() == before
    assert load("fast").card.start == "r"
    assert "resuming" in command(*tune[:2], "--steps", 2, "--resume", "--out", "fast")


def test_what_a_tuning_has_no_use_for_is_refused(trained, command, tmp_path):
    (tmp_path / "animals" / "cat").rename(tmp_path / "animals" / "bird")
    tune = ["distil", trained, "--data", "animals", "--steps", 1, "--batch", 4, "--out", "fast"]
    assert "classes of the images" in command(*tune, code=2)
    assert "leave it out" in command(*tune, "--crop", 8, code=2)
    assert "leave it out" in command(*tune, "--corruption", "gaussian(1..2)", code=2)
    np.save("x.npy", np.zeros((9, 28, 28), np.uint8))
    assert "leave out --labels" in command("distil", "mnist-paper", "--data", "x.npy", "--labels", "auto", code=2)


def test_the_command_to_go_on_with_keeps_what_was_asked(trained, command):
    asked = ["--label", "dog", "--guidance", "0.0", "--steps", 2]
    said = command("sample", trained, *asked, "-n", 3, "--out", "a.npy").strip()
    words = shlex.split(said.rpartition("next: dae-sampler ")[2])
    assert {*map(str, asked), "-n", "1000", "more/", "--seed", "1"} <= set(words)
    assert "a.npy" not in words
    words[words.index("1000")] = "4"
    command(*words)
    assert len(list(Path("more").iterdir())) == 4
    said = command("denoise", trained, "animals", "--level", 0.5, "--label", "dog", "--out", "b.npy")
    assert {"--level", "0.5", "--label", "dog", "--compare"} <= set(said.rpartition("next: ")[2].split())


def test_a_run_is_not_cut_short_and_options_without_a_use_are_refused(trained, command, tmp_path):
    before = load(trained)
    assert "has done 3 steps" in command("train", "--resume", "--steps", 2, "--out", trained)
    assert json.loads((tmp_path / "r" / "config.json").read_text())["steps"] == 3
    for name, weight in load(trained).state_dict().items():
        assert torch.equal(weight, before.state_dict()[name])
    asked = ["train", "animals", "--label-dropout", 0.5, "--out", "new"]
    assert "--label-dropout is for training with --labels" in command(*asked, code=2)
    assert not (tmp_path / "new").exists()

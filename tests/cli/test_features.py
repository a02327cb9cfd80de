"""The commands encode and anomaly: what they write, and what they refuse."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, load, save


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a model of any size, one of 8x8 images, and pictures of mixed sizes."""
    monkeypatch.chdir(tmp_path)
    dae = DenoisingAutoencoder("unet(8, 16)", "gaussian(0.02..1)", (1, None, None))
    save(dae, "any.safetensors")
    small = DenoisingAutoencoder("dense(8, 3, 8)", "gaussian(0.02..1)", (1, 8, 8))
    small.card = replace(small.card, anomaly=tuple((i / 21, i / 2) for i in range(1, 21)))
    save(small, "small.safetensors")
    generator = np.random.default_rng(0)
    (tmp_path / "in/deep").mkdir(parents=True)
    for name, size in {"a.png": (20, 24), "b.png": (16, 16), "deep/a.png": (24, 20), "deep/a.bmp": (16, 16)}.items():
        Image.fromarray(generator.integers(100, 120, size, dtype=np.uint8)).save(tmp_path / "in" / name)
    return tmp_path


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_features_of_a_folder_have_the_names_of_its_files(folder, command):
    command("encode", "any.safetensors", "in", "--pool", 2)
    found = np.load("features.npz")
    assert list(found["file"]) == ["a.png", "b.png", "deep/a.bmp", "deep/a.png"]
    assert found["features"].shape == (4, 64)
    b = torch.from_numpy(np.asarray(Image.open("in/b.png")).copy())[None, None]
    expected = load("any.safetensors").encode(b, pool=2)[0].numpy()
    np.testing.assert_allclose(found["features"][1], expected, rtol=1e-4, atol=1e-5)
    command("encode", "any.safetensors", "in", "--pool", 2, "--out", "features.csv")
    written = rows("features.csv")
    assert [row.pop("file") for row in written] == list(found["file"])
    np.testing.assert_allclose([[float(v) for v in row.values()] for row in written], found["features"], rtol=1e-6)


def test_features_of_an_array_have_indices(folder, command):
    np.save("x.npy", np.random.default_rng(0).integers(256, size=(5, 8, 8), dtype=np.uint8))
    command("encode", "small.safetensors", "x.npy", "--level", "1/4", "--out", "f.csv")
    assert [row["file"] for row in rows("f.csv")] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["encode", "any.safetensors", "in", "--out", "f.txt"], ".npz or .csv or .parquet"),
        (["encode", "any.safetensors", "in", "--pool", 0], "--pool"),
        (["encode", "any.safetensors", "in", "--stage", "code"], "down1"),
        (["encode", "any.safetensors", "in", "--level", 3], "outside"),
        (["anomaly", "any.safetensors", "in", "--out", "s.npz"], ".csv"),
        (["anomaly", "any.safetensors", "in", "--good", "in"], "19 or more"),
        (["anomaly", "small.safetensors", "in", "--false-alarms", 2], "between 0 and 1"),
        (["anomaly", "median.safetensors", "in"], "--loss"),
    ],
)
def test_bad_input_ends_in_a_sentence_and_writes_nothing(folder, command, words, cure):
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.5)", (1, 8, 8), "mae"), "median.safetensors")
    before = sorted(folder.rglob("*"))
    assert cure in command(*words, code=2)
    assert sorted(folder.rglob("*")) == before


def test_pictures_are_listed_by_their_scores(folder, command):
    said = command("anomaly", "small.safetensors", "in", "--map")
    found = rows("scores.csv")
    assert {row["file"] for row in found} == {"a.png", "b.png", "deep/a.png", "deep/a.bmp"}
    scores = [float(row["score"]) for row in found]
    assert scores == sorted(scores, reverse=True)
    assert [row["anomaly"] for row in found] == [str(int(score > 10)) for score in scores]
    assert "0 of 4" in said or "above 10" in said
    assert Image.open("scores.png").width > 4 * 300
    shown = json.loads(command("anomaly", "small.safetensors", "in", "--json", "--false-alarms", 0.5))
    assert shown["threshold"] == pytest.approx(5.5)


def test_a_stranger_among_good_pictures_comes_first(folder, command):
    odd = np.full((16, 16), 110, np.uint8)
    odd[4:12, 4:12] = 250
    Image.fromarray(odd).save("in/odd.png")
    generator = np.random.default_rng(1)
    good = generator.integers(100, 120, size=(20, 16, 16), dtype=np.uint8)
    np.save("good.npy", good)
    said = command("anomaly", "any.safetensors", "in", "--good", "good.npy", "--out", "s.csv")
    assert rows("s.csv")[0]["file"] == "odd.png"
    assert rows("s.csv")[0]["anomaly"] == "1"
    assert "of 5 pictures above" in said
    assert "no threshold" in command("anomaly", "any.safetensors", "in")

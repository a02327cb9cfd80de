"""Picture files through a model of any size: they come out as they went in, but for their pixels."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from dae_sampler import DenoisingAutoencoder, save


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model of grey pictures of any size, in the current folder."""
    monkeypatch.chdir(tmp_path)
    save(DenoisingAutoencoder("unet(8)", "gaussian(1/255..100/255)", (1, None, None)), "any.safetensors")
    return "any.safetensors"


def test_depth_pages_channels_and_names_stay(command, model, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    stack = np.random.default_rng(0).integers(1000, 1600, size=(3, 20, 31), dtype=np.uint16)
    tifffile.imwrite("in/deep/stack.tif", stack, description="cells", photometric="minisblack")
    Image.new("RGB", (30, 20), (200, 90, 9)).save("in/photo.jpg", dpi=(300, 300))
    Image.new("RGBA", (17, 9), (200, 90, 9, 120)).save("in/clear.png")
    text = command("denoise", model, "in", "--level", "25/255", "--out", "out", "--compare")
    assert "3 images by euler from level 0.0980392, 1 step" in text
    assert "values from 0 (black) to 2047 (white)" in text
    with tifffile.TiffFile("out/deep/stack.tif") as file:
        assert file.asarray().shape == (3, 20, 31)
        assert file.asarray().dtype == np.uint16
        assert file.pages[0].tags["ImageDescription"].value.startswith("cells")
    photo, clear = Image.open("out/photo.png"), Image.open("out/clear.png")
    assert (photo.size, photo.mode) == ((30, 20), "RGB")
    assert round(photo.info["dpi"][0]) == 300
    assert (clear.size, clear.mode) == ((17, 9), "RGBA")
    assert np.unique(np.asarray(clear)[..., 3]).tolist() == [120]


def test_a_small_level_changes_pixels_little_and_one_file_goes_where_it_is_told(command, model):
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save("a.png")
    command("refine", model, "a.png", "--level", "1/255", "--steps", 3, "--out", "b.png", "--trajectory", "way.gif")
    assert Image.open("b.png").size == (30, 20)
    assert Image.open("way.gif").n_frames > 1


def test_inputs_are_spared_and_bad_files_are_said(command, model, tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("L", (12, 12), 9).save("in/a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    before = (tmp_path / "in" / "a.png").read_bytes()
    for out in ("in", "in/a.png"):
        assert "error" in command("denoise", model, "in", "--level", 0.1, "--out", out, code=2)
    assert "destroy" in command("denoise", model, "in/a.png", "--level", 0.1, "--out", "in/a.png", code=2)
    assert (tmp_path / "in" / "a.png").read_bytes() == before
    assert "b.png" in command("denoise", model, "in", "--level", 0.1, "--out", "out")
    assert "b.png" in command("denoise", model, "in", "--level", 0.1, "--out", "out", "--strict", code=2)

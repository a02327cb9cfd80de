"""The command restore, and the maps of denoise: what is written where, and what is refused."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from dae_sampler import DenoisingAutoencoder, save


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A model of grey pictures of any size and one of 8x8 images, in the current folder, with pictures."""
    monkeypatch.chdir(tmp_path)
    save(DenoisingAutoencoder("unet(8)", "gaussian(1/255..100/255)", (1, None, None)), "any.safetensors")
    save(DenoisingAutoencoder("dense(4)", "gaussian(0.02..20)", (1, 8, 8)), "fixed.safetensors")
    np.save("x.npy", np.random.default_rng(0).random((3, 1, 8, 8), np.float32))
    (tmp_path / "in").mkdir()
    ramp = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 100
    tifffile.imwrite("in/deep.tif", ramp, resolution=(300, 300), resolutionunit=2, photometric="minisblack")
    tags = Image.Exif()
    tags[256] = tags.get_ifd(34665)[40962] = 14
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 14).astype(np.uint8), (12, 1)))
    Image.merge("RGBA", [Image.new("L", (14, 12), v) for v in (200, 90, 9)] + [alpha]).save("in/clear.png", exif=tags)


def test_larger_pictures_stay_what_they_were_and_say_their_new_size(command, models):
    text = command("restore", "any.safetensors", "in", "--operator", "downsample(2)", "--steps", 1, "--out", "out")
    assert "2 images by hqs from level 0.192157, 1 step" in text
    with tifffile.TiffFile("out/deep.tif") as file:
        assert (file.asarray().shape, file.asarray().dtype) == ((40, 60), np.uint16)
        assert file.pages[0].tags["XResolution"].value == (600, 1)
    clear = Image.open("out/clear.png")
    assert (clear.size, clear.mode) == ((28, 24), "RGBA")
    assert clear.getexif().get_ifd(34665)[40962] == 28
    assert np.asarray(clear)[0, [0, -1], 3].tolist() == [0, 255]


def test_several_restorations_come_with_their_mean_and_a_map(command, models):
    words = ["--operator", "blur(1)", "--samples", 2, "--steps", 2, "--sampler", "dpm(eta=1)"]
    text = command("restore", "any.safetensors", "in/clear.png", *words, "--out", "many.png", "--compare")
    made = {kind: np.asarray(Image.open(f"many-{kind}.png")).astype(int) for kind in ("1", "2", "mean", "differ")}
    assert abs(made["mean"] - (made["1"] + made["2"]) / 2)[..., :3].max() <= 1
    assert made["differ"][..., :3].max() == 255
    assert Image.open("many-compare.png").width > 28
    assert "a standard deviation of" in text


def test_clean_images_are_damaged_and_the_psnr_is_said(command, models):
    words = ["--operator", "mask('left')+blur(1)", "--noise", "5/255", "--simulate", "--steps", 2]
    text = command("restore", "fixed.safetensors", "x.npy", *words, "--samples", 2, "--out", "y.npy")
    assert "PSNR of the restorations" in text
    assert np.load("y.npy").shape == (6, 1, 8, 8)
    again = command("restore", "any.safetensors", "in/deep.tif", "--operator", "downsample(4)", "--simulate")
    assert "cut to sides that 4 divides" in again
    assert Image.open("restored/deep.png").size == (28, 20)


def test_holes_of_pictures_of_any_size_are_filled_and_the_rest_stays(command, models):
    keep = np.ones((20, 30), np.uint8) * 255
    keep[5:9, 10:20] = 0
    Image.fromarray(255 - keep).save("hole.png")
    words = ["--mask", "hole.png", "-n", 2, "--steps", 2]
    text = command("inpaint", "any.safetensors", "in/deep.tif", *words, "--out", "filled.tif", "--compare")
    assert "1 image by ancestral" in text
    before, first, second = (tifffile.imread(name) for name in ("in/deep.tif", "filled-1.tif", "filled-2.tif"))
    assert first.dtype == np.uint16
    assert (first == before)[keep > 0].all()
    assert (first != second)[keep == 0].any()
    assert Image.open("filled-compare.png").width > 30
    assert "2 images" in command("inpaint", "any.safetensors", "in", "--mask", "left", "--steps", 1, "--out", "halves")
    text = command("inpaint", "any.safetensors", "in", "--mask", "hole.png")
    assert "skipped 1 file" in text
    assert "make one of that size" in text
    assert "destroy" in command(
        "inpaint", "any.safetensors", "in/deep.tif", "--mask", "hole.png", "--out", "hole.png", code=2
    )


def test_what_does_not_go_is_one_line(command, models):
    for model, operator, message in [
        ("any.safetensors", "blur(1.5", "expected"),
        ("any.safetensors", "mask('none.png')", "no mask at none.png"),
        ("any.safetensors", "grey", "take a colour model"),
        ("fixed.safetensors", "downsample(2)", "the model makes 1x8x8"),
    ]:
        text = command("restore", model, "x.npy", "--operator", operator, "--out", "bad.npy", code=2)
        assert text.startswith("error: ")
        assert message in text
    assert "--noise must be from" in command(
        "restore", "fixed.safetensors", "x.npy", "--operator", "blur(1)", "--noise", 0, code=2
    )


def test_denoise_writes_maps_of_the_error_to_expect(command, models):
    command("denoise", "fixed.safetensors", "x.npy", "--level", 0.5, "--error", "--out", "y.npy")
    assert np.load("y-error.npy").shape == (3, 1, 8, 8)
    text = command("denoise", "any.safetensors", "in", "--level", 0.1, "--error", "--out", "out")
    assert "which is white" in text
    assert np.asarray(Image.open("out/clear-error.png"))[..., :3].max() == 255

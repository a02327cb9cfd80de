"""Picture files through a model of any size: they come out as they went in, but for their pixels."""

import json
import math
import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from dae_sampler import DenoisingAutoencoder, save
from dae_sampler.noise import ImageNoise


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


def test_levels_of_a_table_go_with_models_that_cannot_estimate_theirs(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(DenoisingAutoencoder("unet(8)", "salt-pepper(0..0.5)", (1, None, None)), "m.safetensors")
    Image.new("L", (12, 12), 9).save("a.png")
    (tmp_path / "levels.csv").write_text("file,level\na.png,0.2\n")
    command("denoise", "m.safetensors", "a.png", "--level", "levels.csv", "--out", "b.png")
    said = command("denoise", "m.safetensors", "a.png", "--noise", "poisson-gaussian(1, 5)", "--out", "c.png", code=2)
    assert "for Gaussian" in said
    asked = ["denoise", "m.safetensors", "a.png", "--level", 0.2, "--strength", 2, "--out", "c.png"]
    assert "--strength multiplies an estimated level" in command(*asked, code=2)


def test_damage_that_was_drawn_is_not_drawn_again_in_restoring(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.full((1, 1, 64, 64), 0.5, np.float32))
    command("corrupt", "gaussian(0.1)", "x.npy", "--out", "y.npy")
    drawn = ImageNoise(0, 0, 1).normal((1, 1, 64, 64)).numpy()
    noise = (np.load("y.npy") - 0.5) / 0.1
    assert abs(np.corrcoef(noise.ravel(), drawn.ravel())[0, 1]) < 0.1
    assert noise.std() == pytest.approx(1, abs=0.1)


def test_a_folder_with_a_dot_is_a_folder_and_a_wrong_name_is_said_at_once(command, model, tmp_path):
    for name in ("in", "2026.11.26"):
        (tmp_path / name).mkdir()
    for name in "ab":
        Image.new("L", (12, 12), 9).save(f"in/{name}.png")
    command("denoise", model, "in", "--level", 0.1, "--out", "2026.11.26")
    assert sorted(path.name for path in (tmp_path / "2026.11.26").iterdir()) == ["a.png", "b.png"]
    said = command("denoise", model, "in/a.png", "--level", 0.1, "--out", "c.mp4", code=2)
    assert "cannot write pictures as .mp4" in said


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


def test_two_files_of_one_name_have_two_results(command, model, tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("L", (12, 12), 30).save("in/a.jpg")
    Image.new("L", (14, 12), 200).save("in/a.bmp")
    command("denoise", model, "in", "--level", 0.1, "--out", "out")
    assert {p.name: Image.open(p).size for p in (tmp_path / "out").iterdir()} == {
        "a.jpg.png": (12, 12),
        "a.bmp.bmp": (14, 12),
    }


@pytest.mark.parametrize("options", [["--compare"], ["--trajectory", "in/b.gif"]])
def test_pictures_beside_the_results_spare_the_inputs_too(command, model, tmp_path, options):
    (tmp_path / "in").mkdir()
    Image.new("L", (12, 12), 30).save("in/a.png")
    Image.new("L", (12, 12), 60).save("in/b.gif")
    (tmp_path / "new-compare.png").hardlink_to(tmp_path / "in" / "a.png")
    before = [(tmp_path / "in" / name).read_bytes() for name in ("a.png", "b.gif")]
    assert "destroy" in command("denoise", model, "in", "--level", 0.1, "--out", "new", *options, code=2)
    assert [(tmp_path / "in" / name).read_bytes() for name in ("a.png", "b.gif")] == before
    assert not (tmp_path / "new").exists()


def test_content_decides_and_a_constant_page_is_a_page(command, model, tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite("in/a.jpg", np.full((9, 12), 3000, np.uint16))
    tifffile.imwrite("in/b.tif", np.full((9, 12), -7, np.int32))
    assert "2 images" in command("denoise", model, "in", "--level", 0.01, "--out", "out")
    assert tifffile.imread("out/b.tif").dtype == np.int32


def test_what_needs_one_size_says_so(command, model, tmp_path):
    Image.new("L", (12, 12), 30).save("a.png")
    assert "too weak to begin from" in command("sample", model, code=2)
    assert "name a folder of clean ones" in command("evaluate", model, code=2)
    assert "any size" in command("likelihood", model, "--data", "digits", code=2)


@pytest.fixture
def noisy(tmp_path, model):
    """Two pictures with noise, and clean ones named alike."""
    generator = np.random.default_rng(0)
    for i, shape in enumerate([(24, 30), (31, 20, 3)]):
        clean = generator.integers(60, 200, size=shape, dtype=np.uint8)
        for folder, strength in (("clean", 0), ("noisy", 20)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray((clean + strength * generator.standard_normal(shape)).clip(0, 255).astype(np.uint8)).save(
                tmp_path / folder / f"{i}.{'png' if folder == 'clean' else 'tif'}"
            )
    return model


def test_results_are_compared_with_the_truth(command, noisy, tmp_path):
    text = command("denoise", noisy, "noisy", "--level", "20/255", "--truth", "clean", "--out", "out")
    for name in ("0.tif", "1.tif", "mean of 2"):
        assert f"{name}: PSNR 22." in text
    (tmp_path / "clean" / "1.png").unlink()
    text = command("denoise", noisy, "noisy", "--level", "20/255", "--truth", "clean", "--out", "new", code=2)
    assert "no clean version of 1.tif" in text
    assert not (tmp_path / "new").exists()


def test_each_picture_has_its_level_from_a_table_and_a_model_of_noise_takes_that_of_a_sensor(command, noisy, tmp_path):
    (tmp_path / "levels.csv").write_text("file,level\n0.tif,1/255\n1.tif,40/255\n")
    command("denoise", noisy, "noisy", "--level", "levels.csv", "--out", "table")
    for name, level in (("0.tif", "1/255"), ("1.tif", "40/255")):
        command("denoise", noisy, f"noisy/{name}", "--level", level, "--out", f"one-{name}")
        assert (tifffile.imread(f"one-{name}") == tifffile.imread(f"table/{name}")).all()
    command("denoise", noisy, "noisy", "--noise", "poisson-gaussian(1, 5)", "--out", "sensor")
    assert tifffile.imread("sensor/0.tif").dtype == np.uint8
    assert "give one" in command("denoise", noisy, "noisy", "--noise", "0.1", "--level", "0.1", code=2)
    (tmp_path / "levels.csv").write_text("file,level\n0.tif,1/255\n")
    assert "no line for 1.tif" in command("denoise", noisy, "noisy/1.tif", "--level", "levels.csv", code=2)


def test_evaluate_adds_noise_and_tells_how_near_the_restored_pictures_are(command, noisy):
    found = json.loads(command("evaluate", noisy, "--test", "clean", "--level", "25/255", "--level", 0.2, "--json"))
    for row, level in zip(found["restoring"], (25 / 255, 0.2), strict=True):
        each = [one for one in found["pictures"] if one["level"] == row["level"]]
        assert [one["picture"] for one in each] == ["0.png", "1.png"]
        assert row["psnr"] == pytest.approx(sum(one["psnr"] for one in each) / 2)
        assert row["level"] == pytest.approx(level)
        assert row["psnr_before"] == pytest.approx(-20 * math.log10(level), abs=0.6)  # a little is clipped
        assert 0 < row["ssim_before"] < 1
    text = command("evaluate", noisy, "--test", "clean", "--level", 0.1)
    assert all(name in text for name in ("0.png", "1.png", "mean of 2"))
    assert "outside" in command("evaluate", noisy, "--test", "clean", "--level", 2, code=2)


def test_a_stopped_folder_goes_on_where_it_was(command, model, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 30), dtype=np.uint8)).save(f"in/{i}.png")
    asked = ("refine", model, "in", "--steps", 2, "--level", 0.1, "--out")
    command(*asked, "whole")
    command(*asked, "out", "--resume")
    Image.new("L", (3, 3)).save("out/1.png")  # would be overwritten, were it done again
    (tmp_path / "out" / "2.png").unlink()
    os.utime("in/3.png")  # newer than its result
    Image.new("L", (3, 3)).save("out/3.png")
    os.utime("out/3.png", (1, 1))
    said = command(*asked, "out", "--resume")
    assert "2 pictures restored before" in said
    assert "2 images by" in said
    assert Image.open("out/1.png").size == (3, 3)
    for done in (0, 2, 3):
        assert np.array_equal(Image.open(f"out/{done}.png"), Image.open(f"whole/{done}.png"))
    assert "error" in command("denoise", "mnist", "in", "--resize", "--level", 0.5, "--resume", code=2)


def test_maps_never_go_over_pictures_that_are_read(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(DenoisingAutoencoder("dense(4)", "gaussian(0.02..20)", (1, 8, 8)), "small.safetensors")
    (tmp_path / "x-error").mkdir()
    Image.new("L", (8, 8), 70).save("x-error/a.png")
    before = (tmp_path / "x-error" / "a.png").read_bytes()
    asked = ["denoise", "small.safetensors", "x-error", "--level", 0.5, "--error", "--out", "x"]
    assert "holds the input" in command(*asked, code=2)
    assert (tmp_path / "x-error" / "a.png").read_bytes() == before


def test_a_result_is_told_from_what_is_read_by_every_suffix_that_it_may_have(command, model, tmp_path):
    (tmp_path / "clean").mkdir()
    Image.new("L", (12, 12), 90).save("clean/a.bmp")
    Image.new("L", (12, 12), 95).save("a.png", format="BMP")
    before = (tmp_path / "clean" / "a.bmp").read_bytes()
    asked = ["denoise", model, "a.png", "--level", 0.1, "--truth", "clean/a.bmp", "--out", "clean"]
    assert "would destroy the input" in command(*asked, code=2)
    assert (tmp_path / "clean" / "a.bmp").read_bytes() == before


def test_floats_beyond_black_and_white_are_said_and_known_pixels_of_large_integers_kept(command, model):
    floats = np.linspace(-0.5, 2, 400, dtype=np.float32).reshape(20, 20)
    tifffile.imwrite("hdr.tif", floats)
    assert "60.0% of the values are beyond" in command("denoise", model, "hdr.tif", "--level", 0.1, "--out", "o.tif")
    whole = np.random.default_rng(0).integers(0, 2**31, (20, 20), dtype=np.uint32)
    tifffile.imwrite("whole.tif", whole)
    hole = np.zeros((20, 20), np.uint8)
    hole[5:9, 5:9] = 255
    Image.fromarray(hole).save("hole.png")
    command("inpaint", model, "whole.tif", "--mask", "hole.png", "--steps", 1, "--out", "filled.tif")
    np.testing.assert_array_equal(tifffile.imread("filled.tif")[hole == 0], whole[hole == 0])


def test_two_clean_versions_of_one_picture_are_told_apart_by_their_names_or_refused(command, model, tmp_path):
    (tmp_path / "clean").mkdir()
    for name, shade in (("a.png", 90), ("a.tif", 200)):
        Image.new("L", (12, 12), shade).save(tmp_path / "clean" / name)
    Image.new("L", (12, 12), 90).save("a.png")
    Image.new("L", (12, 12), 90).save("a.bmp")
    said = command("denoise", model, "a.png", "--level", "1/255", "--truth", "clean", "--out", "r.png")
    assert "inf" in said
    assert "several clean versions" in command(
        "denoise", model, "a.bmp", "--level", "1/255", "--truth", "clean", "--out", "r.bmp", code=2
    )


def test_a_film_that_its_format_does_not_hold_is_one_sentence_and_errors_are_of_noise(command, model, tmp_path):
    Image.new("L", (17000, 2), 90).save("wide.png")
    asked = ["denoise", model, "wide.png", "--level", 0.1, "--out", "r.png", "--trajectory", "film.webp"]
    assert "leave out --trajectory" in command(*asked, code=2)
    assert not (tmp_path / "film.webp").exists()
    save(DenoisingAutoencoder("unet(8)", "given", (1, None, None)), "pairs.safetensors")
    assert "Gaussian noise only" in command("denoise", "pairs.safetensors", "wide.png", "--error", "--out", "r", code=2)
    assert not (tmp_path / "r").exists()

"""What people could lose or be told wrongly: results over other files, two units of one figure, code in a file."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, load, save
from dae_sampler.sampling.plan import resolve

TRAINING = ["--net", "unet(8)", "--steps", 2, "--every", 2, "--batch", 2, "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder: a model of grey pictures of any size, and clean and noisy pictures."""
    monkeypatch.chdir(tmp_path)
    save(DenoisingAutoencoder("unet(8)", "gaussian(1/255..100/255)", (1, None, None)), "any.safetensors")
    random = np.random.default_rng(0)
    for folder in ("clean", "noisy"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            Image.fromarray(random.integers(0, 256, (16, 20), dtype=np.uint8)).save(tmp_path / folder / f"{i}.png")
    return tmp_path


def test_a_checkpoint_never_names_code_that_is_run(command, here):
    (here / "evil.py").write_text("from pathlib import Path\nPath('run-it-did').touch()\n")
    dae = DenoisingAutoencoder("dense(4)", "gaussian(0.02..20)", (1, 8, 8))
    np.save("x.npy", np.zeros((4, 8, 8), np.uint8))
    for change in ({"net": "evil:Net"}, {"corruption": "evil:Noise"}):
        dae.card = replace(dae.card, **change)
        save(dae, "evil.safetensors")
        assert "evil" in command("distil", "evil.safetensors", "--data", "x.npy", "--steps", 1, code=2)
        assert "evil" in command("train", "x.npy", "--from", "evil.safetensors", "--steps", 1, code=2)
        assert not (here / "run-it-did").exists()


def test_clean_pictures_and_masks_are_not_written_over(command, here):
    before = (here / "clean" / "0.png").read_bytes()
    asked = ["denoise", "any.safetensors", "noisy", "--level", 0.1, "--truth", "clean", "--out", "clean"]
    assert "would destroy the input" in command(*asked, code=2)
    assert (here / "clean" / "0.png").read_bytes() == before
    Image.fromarray(np.eye(16, 20, dtype=np.uint8) * 255).save("hole.png")
    asked = ["restore", "any.safetensors", "noisy/0.png", "--operator", "mask('hole.png')", "--out", "hole.png"]
    assert "would destroy the input" in command(*asked, code=2)


def test_two_results_of_one_name_are_refused(command, here):
    (here / "in").mkdir()
    for name in ("a.jpg", "a.bmp", "a.jpg.png"):
        Image.new("L", (8, 8), 9).save(here / "in" / name)
    assert "rename one" in command("denoise", "any.safetensors", "in", "--level", 0.1, "--out", "out", code=2)
    assert not (here / "out").exists()


def test_figures_of_deep_pictures_are_in_one_unit(command, here):
    """Noise of 60 on values up to 2040, whose range ends at 2047, that of noise above it at 4095."""
    random = np.random.default_rng(0)
    clean = random.integers(100, 2041, (32, 32)).astype(np.uint16)
    noisy = np.where(np.arange(32) == 0, 2100, clean + random.choice([-60, 60], (32, 32))).astype(np.uint16)
    for name, pixels in (("deep", noisy), ("truth", clean)):
        tifffile.imwrite(f"{name}.tif", pixels, photometric="minisblack")
    text = command("denoise", "any.safetensors", "deep.tif", "--level", 0.1, "--truth", "truth.tif", "--out", "out.tif")
    error = (noisy.astype(float) - clean) / 4095
    assert f"PSNR {-10 * np.log10(np.square(error).mean()):.2f} dB before" in text


def test_a_sensors_noise_is_of_counts_whatever_type_holds_them(command, here):
    counts = np.random.default_rng(0).poisson(500, (24, 24)).astype(np.float32) * 2
    counts[0, 0] = 2047  # white for both types; black is the least of floats, and 0
    made = []
    for kind in (np.float32, np.uint16):
        tifffile.imwrite("counts.tif", counts.astype(kind), photometric="minisblack")
        command("denoise", "any.safetensors", "counts.tif", "--noise", "poisson-gaussian(2, 5)", "--out", "out.tif")
        made.append(tifffile.imread("out.tif").astype(float))
    np.testing.assert_allclose(*made, atol=0.6)  # of which a half is rounding


def test_one_picture_that_does_not_fit_costs_no_other(command, here):
    (here / "levels.csv").write_text("file,level\n0.png,0.1\n2.png,0.1\n")
    text = command("denoise", "any.safetensors", "noisy", "--level", "levels.csv", "--out", "out", "--compare")
    assert "skipped 1 file" in text
    assert "no line for 1.png" in text
    assert sorted(path.name for path in (here / "out").iterdir()) == ["0.png", "2.png"]
    assert "no line for 1.png" in command(
        "denoise", "any.safetensors", "noisy", "--level", "levels.csv", "--out", "new", "--strict", code=2
    )
    (here / "levels.csv").write_text("file,level\nother.png,0.1\n")
    said = command("denoise", "any.safetensors", "noisy", "--level", "levels.csv", "--out", "none", code=2)
    assert "none of the 3 pictures" in said


def test_nothing_is_said_to_be_written_that_is_not(command, here):
    words = ["denoise", "any.safetensors", "noisy", "--level", 0.1, "--out", "out", "--compare"]
    assert "wrote out and out-compare.png" in command(*words)
    (here / "out-compare.png").unlink()
    assert "wrote out: 0 images" in command(*words, "--resume")


def test_an_array_of_several_restorations_has_their_mean_and_deviation_beside_it(command, here):
    np.save("y.npy", np.random.default_rng(0).random((2, 1, 12, 12), np.float32))
    words = ["--operator", "blur(1)", "--samples", 3, "--steps", 2, "--sampler", "dpm(eta=1)", "--out", "z.npy"]
    text = command("restore", "any.safetensors", "y.npy", *words)
    each = np.load("z.npy").reshape(2, 3, 1, 12, 12)
    np.testing.assert_allclose(np.load("z-mean.npy"), each.mean(1), atol=1e-6)
    np.testing.assert_allclose(np.load("z-differ.npy"), each.std(1, ddof=1), atol=1e-5)
    assert "white in the maps" not in text


def test_training_from_a_model_goes_with_pairs(command, here):
    pairs = ["train", "clean", "--damaged", "noisy", "--crop", 8, "--from", "any.safetensors", *TRAINING[2:]]
    command(*pairs, "--out", "run")
    card = load("run").card
    assert (card.corruption, card.net, card.start) == ("given", "unet(8)", "any")


def test_a_folder_of_a_shipped_models_name_hides_it_not(command, here):
    (here / "mnist").mkdir()
    np.save("x.npy", np.zeros((40, 28, 28), np.uint8))
    command("train", "x.npy", "--from", "mnist", *TRAINING[2:], "--labels", "none.csv", "--out", "run", code=2)
    said = command("train", "x.npy", "--from", "mnist", *TRAINING[2:], "--out", "run", code=2)
    assert "holds no model" not in said


@pytest.mark.parametrize(
    ("corruption", "asked"), [("gaussian(0.2..20)", []), ("jpeg(5..95)", ["--level", "5"]), ("gaussian(0.1)", [])]
)
def test_the_command_to_go_on_with_and_the_plan_to_refine_are_inside_the_range(command, here, corruption, asked):
    words = [word for word in TRAINING if word != "--quiet"]
    text = command("train", "clean", "--crop", 8, "--corruption", corruption, *words, "--out", "run")
    assert text.strip().endswith(" ".join(["next: dae-sampler denoise run PICTURES", *asked]))
    command("denoise", "run", "noisy", *asked, "--out", "out")
    if corruption.startswith("gaussian"):
        command("refine", "run", "noisy", "--steps", 1, "--out", "refined")


def test_holes_are_filled_by_the_plan_of_the_card():
    plan = resolve("inpaint", load("photo-grey"))
    assert (str(plan), plan.steps) == ("ancestral(resample=2)", 15)
    plan = resolve("inpaint", load("mnist"))
    assert (str(plan), plan.steps) == ("walk", 50)


def test_a_model_of_any_size_is_tuned_for_few_steps(command, here):
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.02..5)", (1, None, None)), "wide.safetensors")
    words = ["--crop", 8, "--steps", 2, "--batch", 2, "--every", 2, "--out", "fast"]
    command("distil", "wide.safetensors", "--data", "clean", *words)
    command("sample", "fast", "-n", 1, "--size", "24x16", "--steps", 2, "--out", "made.png")
    assert Image.open("made.png").size == (24, 16)
    said = command("restore", "fast", "noisy", "--operator", "blur(1)", code=2)
    assert "use the model it was tuned from" in said
    found = json.loads(command("report", "fast", "--json"))
    assert [each["kind"] for each in found["findings"]][:1] == ["tuning"]


def test_scores_are_listed_where_there_are_too_few_good_pictures_for_a_threshold(command, here):
    dae = DenoisingAutoencoder("unet(8, 16)", "gaussian(0.02..1)", (1, None, None))
    dae.card = replace(dae.card, anomaly=tuple((i / 11, i / 2) for i in range(1, 11)))
    save(dae, "few.safetensors")
    Image.new("L", (16, 16), 0).save(here / "noisy" / "blank.png")
    text = command("anomaly", "few.safetensors", "noisy")
    assert "no threshold: 10 good pictures are too few" in text
    assert "blank, of one value throughout, whatever their score: blank.png" in text
    dae = DenoisingAutoencoder("unet(8)", "erasure(0..1)", (1, 8, 8))
    dae.card = replace(dae.card, binarise="dynamic")
    save(dae, "binary.safetensors")
    assert "black and white alone" in command("anomaly", "binary.safetensors", "noisy", code=2)


def test_one_picture_alone_is_data_for_crops(command, here):
    command("train", "clean/0.png", "--crop", 8, "--corruption", "gaussian(0.02..20)", *TRAINING, "--out", "run")
    assert (load("run").card.data, load("run").card.images) == ("0.png", 1)
    command("sample", "run", "-n", 1, "--size", "20x12", "--steps", 2, "--out", "made.png")
    assert Image.open("made.png").size == (20, 12)
    assert "--crop" in command("train", "clean/0.png", "--size", 8, *TRAINING, "--out", "other", code=2)


def test_the_estimated_level_of_each_picture_is_said(command, here):
    lines = command("denoise", "any.safetensors", "noisy", "--out", "out").splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  ")] == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("corruption", ["gaussian(0.02..20)", "blindspot(1/16)", "erasure(0..1)", "poisson(0.1)"])
def test_a_set_of_nothing_but_black_or_white_trains_and_stays_finite(command, here, value, corruption):
    np.save("x.npy", np.full((12, 8, 8), value, np.uint8))
    command("train", "x.npy", "--corruption", corruption, *TRAINING, "--out", "run")
    dae = load("run")
    assert all(weight.isfinite().all() for weight in dae.state_dict().values())
    assert dae(dae.corruption.intact(torch.rand(2, 1, 8, 8)), dae.corruption.usual_level).isfinite().all()


def test_a_clock_that_was_set_back_costs_nothing(command, here):
    words = ["train", "clean", "--crop", 8, *TRAINING, "--out", "run"]
    command(*words)
    command("denoise", "any.safetensors", "noisy", "--level", 0.1, "--out", "out")
    for path in [*(here / "run").rglob("*"), *(here / "noisy").iterdir()]:
        os.utime(path, (4e9, 4e9))  # in 2096
    command("train", "--resume", "--out", "run", "--steps", 4, "--quiet")
    assert load("run").card.training["steps"] == 4
    again = command("denoise", "any.safetensors", "noisy", "--level", 0.1, "--out", "out", "--resume")
    assert "3 images" in again  # what seems older than its picture is made again


def test_a_million_steps_are_refused_with_the_limit(command, here):
    said = command("denoise", "any.safetensors", "noisy", "--sampler", "iterate", "--steps", 10**6, code=2)
    assert "less than or equal to 100000" in said


def test_a_colour_model_of_damage_in_the_pictures_takes_grey_ones_and_one_of_noise_says_why_not(command, here):
    for kind, corruption in (("given", "given"), ("noise", "gaussian(1/255..100/255)")):
        save(DenoisingAutoencoder("unet(8)", corruption, (3, None, None)), f"{kind}.safetensors")
    command("denoise", "given.safetensors", "noisy/0.png", "--out", "out.png")
    assert Image.open("out.png").mode == "L"
    said = command("denoise", "noise.safetensors", "noisy/0.png", "--level", 0.1, "--out", "new.png", code=2)
    assert "the images are grey, the model takes colour" in said


def test_a_model_of_the_median_cannot_tell_the_level_so_the_command_to_go_on_with_says_one(command, here):
    words = [word for word in TRAINING if word != "--quiet"]
    text = command("train", "clean", "--crop", 8, "--loss", "mae", *words, "--out", "run")
    assert text.strip().endswith("next: dae-sampler denoise run PICTURES --level 0.392")
    command("denoise", "run", "noisy", "--level", 0.392, "--out", "out")


def test_crops_under_noise_that_hides_all_fill_holes_as_models_of_one_size_do(command, here):
    for high, plan in ((20, "walk"), (0.4, "ancestral(resample=2)")):
        command(
            "train", "clean", "--crop", 8, "--corruption", f"gaussian(0.02..{high})", *TRAINING, "--out", f"r{high}"
        )
        assert str(resolve("inpaint", load(f"r{high}"))) == plan


def test_a_mask_that_is_named_by_its_option_is_not_written_over_either(command, here):
    Image.fromarray(np.eye(16, 20, dtype=np.uint8) * 255).save("hole.png")
    operator = "mask(picture='hole.png')"
    asked = ["restore", "any.safetensors", "noisy/0.png", "--operator", operator, "--steps", 1]
    assert "would destroy the input" in command(*asked, "--out", "hole.png", code=2)
    command(*asked, "--out", "filled.png")


def test_small_images_of_an_array_are_continued_where_that_is_asked_for(command, here):
    np.save("small.npy", np.zeros((8, 6, 10), np.uint8))
    assert "or --fit pad" in command("train", "small.npy", "--crop", 8, *TRAINING, "--out", "run", code=2)
    words = [word for word in TRAINING if word != "--quiet"]
    text = command("train", "small.npy", "--crop", 8, "--fit", "pad", *words, "--out", "run")
    assert "note: images of 10x6 are smaller than the crop and were padded by reflection" in text


def test_pictures_are_not_left_as_they_are_unsaid_where_they_were_to_be_resized(command, here):
    asked = ["denoise", "any.safetensors", "noisy", "--level", 0.1, "--out", "out"]
    assert "--resize is for a model of one size" in command(*asked, "--resize", code=2)


def test_which_of_two_models_is_meant_is_said_where_no_picture_decides(command, here):
    assert "photo is photo-colour here" in command("sample", "photo", code=2)

"""What each extra is for: with it, it works; without it, a sentence names it."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from dae_sampler import DenoisingAutoencoder, save
from dae_sampler.cli.commands import app

SMALL = ["--net", "dense(4)", "--steps", 1, "--batch", 4]


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model of 8x8 images, in the current folder, with images beside it."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).integers(256, size=(40, 8, 8), dtype=np.uint8))
    (tmp_path / "flat.py").write_text("def pixels(images):\n    return images.flatten(1)\n")
    save(DenoisingAutoencoder("dense(4)", "gaussian(0.02..20)", (1, 8, 8)), "m.safetensors")
    return "m.safetensors"


@pytest.fixture
def picture_model(tmp_path, monkeypatch):
    """A model of pictures of any size, in the current folder."""
    monkeypatch.chdir(tmp_path)
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.01..0.5)", (1, None, None)), "any.safetensors")


EVALUATE = ["--data", "x.npy", "--test", "x.npy", "--features", "flat:pixels", "-n", 8, "--steps", 1]
NEEDS = {
    "digits": ("sklearn", ["train", "digits", *SMALL, "--out", "run"], "run/model.safetensors"),
    "evaluate": ("matplotlib", ["evaluate", "MODEL", *EVALUATE, "--report", "report.png"], "report.png"),
    "export": ("onnxscript", ["export", "MODEL", "m.onnx"], "m.onnx"),
    "parquet": ("pyarrow", ["encode", "MODEL", "x.npy", "--out", "features.parquet"], "features.parquet"),
    "tensorboard": (
        "tensorboard",
        ["train", "x.npy", *SMALL, "--tensorboard", "--out", "run"],
        "run/model.safetensors",
    ),
}


@pytest.mark.parametrize("extra", NEEDS)
def test_a_command_works_with_its_extra_or_names_it(command, model, tmp_path, extra):
    package, words, made = NEEDS[extra]
    words = [model if word == "MODEL" else word for word in words]
    if find_spec(package):
        command(*words)
        assert (tmp_path / made).is_file()
    else:
        assert f"pip install 'dae-sampler[{extra}]'" in command(*words, code=2)
        assert not (tmp_path / made).exists()
        assert not (tmp_path / "run").exists()


def test_a_tiff_of_lzw_is_restored_with_codecs_or_names_them(command, picture_model, tmp_path):
    Image.new("L", (16, 16), 9).save(tmp_path / "x.tif", compression="tiff_lzw")
    _restored_or_named(command, "imagecodecs", "codecs", "x.tif", "y.tif", "L", (16, 16))


def test_a_heic_is_restored_with_its_extra_or_names_it(command, picture_model, tmp_path):
    if find_spec("pillow_heif"):
        from pillow_heif import from_pillow

        from_pillow(Image.new("RGB", (32, 32), (9, 99, 199))).save(tmp_path / "x.heic")
    else:
        (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    _restored_or_named(command, "pillow_heif", "heic", "x.heic", "y.png", "RGB", (32, 32))


def _restored_or_named(command, package, extra, picture, out, mode, size):
    words = ["denoise", "any.safetensors", picture, "--level", "0.1", "--out", out]
    if find_spec(package):
        command(*words)
        assert Path(out).stat().st_size
        assert (Image.open(out).mode, Image.open(out).size) == (mode, size)
    else:
        assert f"pip install 'dae-sampler[{extra}]'" in command(*words, code=2)
        assert not Path(out).exists()


@pytest.mark.skipif(not find_spec("sklearn"), reason="needs scikit-learn")
def test_features_train_a_classifier_of_scikit_learn(command, model):
    from sklearn.linear_model import LogisticRegression

    classes = np.arange(40) % 2
    np.save("two.npy", np.load("x.npy") // 4 + 190 * classes[:, None, None].astype(np.uint8))  # dark and bright
    command("encode", model, "two.npy", "--out", "features.npz")
    features = np.load("features.npz")["features"]
    fitted = LogisticRegression().fit(features, classes)
    assert fitted.predict(features).shape == classes.shape
    assert fitted.score(features, classes) > 0.9


def test_without_its_extra_the_hub_is_named_as_what_is_missing(command):
    if not find_spec("huggingface_hub"):
        assert "pip install 'dae-sampler[hub]'" in command("info", "hf:me/digits", code=2)


def test_every_command_has_help_without_any_extra(command):
    for name in typer.main.get_command(app).commands:
        assert "Examples:" in command(name, "--help")


def test_the_web_page_names_its_extra_where_it_is_missing(command, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "dae_sampler.web.server", raising=False)
    assert "pip install 'dae-sampler[web]'" in command("web", model, code=2)


def test_evaluation_needs_no_extra_but_for_its_figures(command, model):
    assert json.loads(command("evaluate", model, *EVALUATE, "--json"))["n"] == 8


def test_samplers_of_k_diffusion_take_a_model_as_it_is():
    sampling = pytest.importorskip("k_diffusion.sampling", exc_type=ImportError)
    from dae_sampler.noise import ImageNoise
    from dae_sampler.sampling.samplers import SAMPLERS

    dae = DenoisingAutoencoder("dense(8)", "gaussian(0.02..20)", (1, 4, 4)).eval().requires_grad_(False)
    x = 20 * torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    levels = dae.corruption.schedule(6)
    for name, theirs in (("heun", sampling.sample_heun), ("euler", sampling.sample_euler)):
        *_, last = SAMPLERS[name].function(dae, x, levels, ImageNoise(0, 0, 3))
        torch.testing.assert_close(theirs(dae, x, levels, disable=True), last.x, atol=1e-4, rtol=1e-4)


def test_deepinv_restores_with_a_model_as_its_denoiser():
    physics = pytest.importorskip("deepinv.physics")
    from deepinv.optim.prior import PnP

    dae = DenoisingAutoencoder("dense(8)", "gaussian(0.02..20)", (1, 4, 4)).eval().requires_grad_(False)
    x = torch.rand(2, 1, 4, 4)
    y = physics.Denoising(physics.GaussianNoise(0.1))(x)
    torch.testing.assert_close(PnP(denoiser=dae).prox(y, sigma_denoiser=0.1), dae(y, 0.1))

"""A model as an ONNX graph: it computes what the model does, whatever the batch and the size."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dae_sampler import DenoisingAutoencoder, InputError, load, save

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "export.md"
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def made(net="dense(8)", corruption="gaussian(0.02..20)", shape=(1, 8, 8)):
    """A model whose weights are nowhere zero, as those of fresh blocks are."""
    dae = DenoisingAutoencoder(net, corruption, shape).eval().requires_grad_(False)
    for weight in dae.parameters():
        weight += 0.1 * torch.randn(weight.shape)
    return dae


def run(path, **inputs):
    return torch.from_numpy(ort.InferenceSession(path).run(None, {k: v.numpy() for k, v in inputs.items()})[0])


@pytest.mark.parametrize("corruption", ["gaussian(0.02..20)", "erasure(0..1)", "masking(0.1)+gaussian(0.01..1)"])
def test_the_graph_computes_what_the_model_does(command, tmp_path, corruption):
    dae = made(corruption=corruption)
    save(dae, tmp_path / "m.safetensors")
    found = json.loads(command("export", tmp_path / "m.safetensors", tmp_path / "m.onnx", "--json"))
    channels = 1 + dae.corruption.extra
    assert found["inputs"] == {"x": ["batch", channels, 8, 8], "level": ["batch"]}
    assert found["difference"] < 1e-4
    assert found["output"] == ["batch", 1, 8, 8]
    assert set(found["seconds"]) == {"torch", "onnxruntime"}
    x, level = torch.rand(7, channels, 8, 8).round(), torch.linspace(0.05, 0.95, 7)
    torch.testing.assert_close(run(tmp_path / "m.onnx", x=x, level=level), dae(x, level), atol=1e-5, rtol=0)
    card = ort.InferenceSession(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map["dae_sampler"]
    assert json.loads(card)["corruption"] == corruption


def test_a_model_that_is_not_told_the_level_has_no_such_input(command, tmp_path):
    dae = made("conv(width=8, code=4)", "gaussian(0.75)")
    save(dae, tmp_path / "m.safetensors")
    command("export", tmp_path / "m.safetensors", tmp_path / "m.onnx")
    x = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(run(tmp_path / "m.onnx", x=x), dae(x), atol=1e-5, rtol=0)


def test_a_model_of_any_size_exports_with_free_sides(tmp_path):
    from dae_sampler.export import to_onnx

    dae = made("unet(8, 16)", "gaussian(0.01..1)", (1, None, None))
    found = to_onnx(dae, tmp_path / "m.onnx")
    assert found.inputs["x"] == found.output == ["batch", 1, "height", "width"]
    for height, width in ((8, 8), (9, 30), (1, 5)):
        x, level = torch.rand(2, 1, height, width), torch.tensor([0.1, 0.9])
        torch.testing.assert_close(run(tmp_path / "m.onnx", x=x, level=level), dae(x, level), atol=1e-5, rtol=0)


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    from dae_sampler import export

    monkeypatch.setattr(export, "TOLERANCE", -1.0)  # as if it did
    with pytest.raises(InputError, match="off by"):
        export.to_onnx(made(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_bad_names_are_refused_before_the_work(command, tmp_path):
    assert "name it with .onnx" in command("export", "mnist", tmp_path / "m.pt", code=2)
    assert not list(tmp_path.iterdir())


def test_the_page_samples_digits_without_torch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sampling, exporting, exported = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(compile(exporting, str(PAGE), "exec"), names)
    assert not re.search(r"torch|dae_sampler\.|import dae", sampling.replace('"dae_sampler"', ""))
    exec(compile(sampling, str(PAGE), "exec"), {})
    digits = torch.from_numpy(np.load("digits.npy"))
    assert digits.shape == (16, 1, 28, 28)
    clean = load("mnist")(digits, 0.02)
    assert (clean - digits).abs().mean() < 0.01  # the model finds nothing to remove
    assert 0.05 < digits.mean() < 0.25  # of MNIST: 0.13
    exec(compile(exported, str(PAGE), "exec"), names)
    x = torch.rand(5, 1, 64, 16)
    torch.testing.assert_close(names["program"].module()(x, torch.full((5,), 0.3)), names["dae"](x, 0.3))


def test_exporting_reports_to_nobody(tmp_path):
    save(DenoisingAutoencoder("dense(4)", "gaussian(0.02..20)", (1, 8, 8)), tmp_path / "m.safetensors")
    words = ["export", tmp_path / "m.safetensors", tmp_path / "m.onnx"]
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    subprocess.run([sys.executable, "-m", "dae_sampler", *words], check=True, env=environment | places)
    assert (tmp_path / "m.onnx").is_file()
    assert not list(tmp_path.rglob("*onnxruntime*"))  # what it keeps to send

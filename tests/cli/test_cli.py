import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, __version__, save
from dae_sampler.corruption import CORRUPTIONS
from dae_sampler.nets import NETS

COMMANDS = ["train", "sample", "refine", "denoise", "corrupt", "inpaint", "evaluate", "likelihood", "verify", "info"]

PROGRAM = [sys.executable, "-m", "dae_sampler"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    dae = DenoisingAutoencoder("dense(16)", "gaussian(0.02..20)", (1, 8, 8))
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save(dae, path)
    return path


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    Image.new("L", (8, 8), 90).save(folder / "grey.png")
    Image.new("RGB", (20, 10), (9, 90, 200)).save(folder / "colour.jpg")
    Image.new("RGBA", (8, 8), (9, 90, 200, 30)).save(folder / "deep" / "clear.png")
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples(command, name):
    text = command(name, "--help")
    assert f"dae-sampler {name}" in text.split("Examples:")[1]


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        ("--help", {"torch"}),
        ("info MODEL", {"torch"}),
        ("sample MODEL -n 1 --out x.png", {"torchvision", "torch._dynamo"}),
    ],
)
def test_no_command_waits_for_what_it_does_not_need(model, tmp_path, arguments, unneeded):
    words = [str(model) if word == "MODEL" else word for word in arguments.split()]
    program = (
        f"import sys; sys.argv = ['dae-sampler', *{words!r}]\n"
        "from dae_sampler.cli.app import main\n"
        "try: main()\n"
        f"except SystemExit as end: assert not end.code and not {unneeded} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=tmp_path)


def test_launcher_is_the_same_command(request):
    root = request.config.rootpath
    out = subprocess.run([sys.executable, root / "cli.py", "--version"], capture_output=True, text=True, check=True)
    assert __version__ in out.stdout


def test_train_sample_refine_end_to_end(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    small = ("--net", "unet(8)", "--batch", 16)
    command("train", "digits", "--steps", 40, "--every", 20, "--out", "run", *small, "--tensorboard")
    folder = tmp_path / "run"
    names = {p.name for p in folder.iterdir()}
    assert {
        "config.json",
        "metrics.csv",
        "samples",
        "state.safetensors",
        "model.safetensors",
        "last.safetensors",
    } <= names
    assert len(list((folder / "samples").glob("*.png"))) == 2
    assert list((folder / "events").iterdir())
    text = command("sample", "run", "-n", 9, "--trajectory", "way.gif", "--every", 4)
    assert "next:" in text
    assert (tmp_path / "samples.png").is_file()
    assert (tmp_path / "way.gif").is_file()
    text = command("train", "--resume", "--out", "run", "--steps", 50)
    assert "resuming" in text
    rows = (folder / "metrics.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == [20, 40, 50]
    command("train", "digits", "--from", "run", "--steps", 2, "--out", "tuned", *small)
    text = command("info", "tuned")
    assert "gaussian(0.02..20, lognormal(-0.5, 1.2))" in " ".join(text.split())


def test_info_for_machines(command, model):
    facts = json.loads(command("info", model, "--json"))
    assert facts["model"]["corruption"] == "gaussian(0.02..20)"


def test_same_seed_same_samples(command, model, tmp_path):
    outs = [tmp_path / f"{i}.npy" for i in range(3)]
    for out, seed in zip(outs, (5, 5, 6), strict=True):
        options = ["--steps", 4, "--seed", seed, "--out", out, "--precision", "float32"]
        command("sample", model, "-n", 3, *options)
    first, second, other = map(np.load, outs)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_samples_go_where_the_name_says(command, model, tmp_path):
    for name in ("a.png", "a.npy", "folder"):
        command("sample", model, "-n", 300, "--steps", 2, "--out", tmp_path / name)
    assert np.load(tmp_path / "a.npy").shape == (300, 1, 8, 8)
    assert len(list((tmp_path / "folder").glob("*.png"))) == 300


@pytest.mark.parametrize("method", ["refine", "denoise"])
def test_mixed_folder_keeps_its_names(command, model, pictures, tmp_path, method):
    out = tmp_path / "out"
    options = ["--out", out, "--compare", "--steps", 2, "--level", 0.4]
    assert "colour.jpg is 20x10" in command(method, model, pictures, *options)
    assert not (out / "colour.png").exists()
    text = command(method, model, pictures, *options, "--resize")
    assert "made grey" in text
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.png")) == ["colour.png", "deep/clear.png", "grey.png"]
    assert (tmp_path / "out-compare.png").is_file()
    assert Image.open(out / "colour.png").size == (8, 8)


def test_arrays_come_back_as_arrays(command, monkeypatch, model, tmp_path):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(0.5, 0.4, (5, 8, 8)))
    command("denoise", model, "x.npy", "--level", 0.4)
    assert np.load("denoised.npy").shape == (5, 1, 8, 8)


def test_corrupt_clips_pictures_but_not_arrays(command, pictures, tmp_path):
    np.save(tmp_path / "x.npy", np.full((3, 8, 8), 0.5, np.float32))
    command("corrupt", "gaussian(1)", tmp_path / "x.npy", "--out", tmp_path / "y.npy")
    damaged = np.load(tmp_path / "y.npy")
    assert damaged.shape == (3, 1, 8, 8)
    assert damaged.min() < 0 < 1 < damaged.max()
    command("corrupt", "gaussian(1)", pictures, "--out", tmp_path / "y.tif")
    with tifffile.TiffFile(tmp_path / "y.tif") as file:
        assert [page.shape for page in file.pages] == [(10, 20, 3), (8, 8, 3), (8, 8)]
        assert all(page.dtype == np.float32 and page.asarray().min() < 0 for page in file.pages)
    command("corrupt", "masking(1)", pictures, "--out", tmp_path / "black")
    written = {p.name: Image.open(p) for p in (tmp_path / "black").rglob("*.png")}
    assert {name: (picture.size, picture.mode) for name, picture in written.items()} == {
        "grey.png": ((8, 8), "L"),
        "colour.png": ((20, 10), "RGB"),
        "clear.png": ((8, 8), "RGB"),
    }
    assert max(np.asarray(picture).max() for picture in written.values()) == 0


def test_quiet_prints_nothing(command, model, tmp_path):
    assert command("sample", model, "-n", 2, "--steps", 2, "--out", tmp_path / "a.png", "--quiet") == ""


def test_inpaint_keeps_what_is_known(command, model, pictures, tmp_path):
    text = command(
        *["inpaint", model, pictures, "--mask", "right", "-n", 3, "--steps", 2, "--out", tmp_path / "f"],
        *["--compare", "--resize"],
    )
    assert "inpaint" in text
    assert len(list((tmp_path / "f").rglob("*.png"))) == 3 * 3
    before = np.asarray(Image.open(pictures / "grey.png"))
    first, second = (np.asarray(Image.open(tmp_path / "f" / f"grey-{i}.png")) for i in (1, 2))
    assert np.array_equal(first[:, :4], before[:, :4])
    assert np.array_equal(first[:, :4], second[:, :4])
    assert not np.array_equal(first[:, 4:], second[:, 4:])
    assert (tmp_path / "f-compare.png").is_file()


def test_likelihood_of_a_fresh_erasure_model(command, tmp_path):
    erasure = ("--corruption", "erasure(0..1)", "--net", "dense(8)")
    command("train", "digits", *erasure, "--steps", 2, "--out", tmp_path / "m")
    found = json.loads(command("likelihood", tmp_path / "m", "--data", "digits", "--orders", 2, "--json"))
    assert found["nats"] == pytest.approx(64 * math.log(2), rel=0.1)
    assert found["bits_per_dimension"] == pytest.approx(found["nats"] / 64 / math.log(2))
    assert 0 < found["standard_error"] < 1
    assert len(found["estimates"]) == 3


@pytest.fixture
def own(tmp_path):
    """Options that name a corruption of the user's, whose file is in the current folder."""
    (tmp_path / "fading.py").write_text(
        "from dae_sampler.corruption import Corruption\n\n"
        "class Fade(Corruption):\n    def __call__(self, x, level, noise):\n        return x * (1 - level)\n"
    )
    return "--corruption", "fading:Fade(0.1..0.9)"


def forget(name):
    """As if the process had just begun."""
    for known in (CORRUPTIONS, NETS):
        known.pop(name, None)
    sys.modules.pop(name.partition(":")[0], None)


def test_own_corruption_trains_and_refines_when_it_is_named_again(command, monkeypatch, tmp_path, pictures, own):
    monkeypatch.chdir(tmp_path)
    text = command("train", "digits", *own, "--net", "dense(8)", "--steps", 2, "--out", "m")
    assert text.strip().endswith("--corruption 'fading:Fade(0.1..0.9)'")
    forget("fading:Fade")
    assert "--corruption" in command("refine", "m", pictures, code=2)
    command("refine", "m", pictures, *own, "--steps", 2, "--out", "out", "--resize")
    assert len(list((tmp_path / "out").iterdir())) == len(list(pictures.iterdir()))
    forget("fading:Fade")


PLAIN = """
from torch import nn

class Plain(nn.Module):
    def __init__(self, shape, conditional, extra=0, width=8):
        super().__init__()
        self.embedding = 4 if conditional else 0
        self.first = nn.Conv2d(shape[0] + extra, width, 3, padding=1)
        self.shift = nn.Linear(4, width) if conditional else None
        self.last = nn.Conv2d(width, shape[0], 3, padding=1)

    def forward(self, x, c):
        h = self.first(x)
        return self.last((h if c is None else h + self.shift(c)[:, :, None, None]).relu())
"""


def test_own_network_trains_and_samples_when_it_is_named_again(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text(PLAIN)
    net = ("--net", "plain:Plain(width=4)")
    assert "--net 'plain:Plain(width=4)'" in command("train", "digits", *net, "--steps", 2, "--out", "m")
    forget("plain:Plain")
    assert "--net" in command("sample", "m", code=2)
    command("sample", "m", "--net", "plain:Plain", "-n", 2, "--steps", 2)
    assert (tmp_path / "samples.png").is_file()
    assert "it takes" in command("train", "digits", "--net", "plain:Plain(deep=1)", code=2)
    assert "no net" in command("train", "digits", "--net", "math:sin", code=2)
    forget("plain:Plain")


def test_evaluate_brings_folders_to_the_shape_of_the_model(command, monkeypatch, model, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat.py").write_text("def pixels(images):\n    return images.flatten(1)\n")
    for i in range(8):
        Image.new("RGB", (20 + i, 10), (9 * i, 90, 200)).save(tmp_path / f"{i}.png")
    words = ["--data", tmp_path, "--test", tmp_path, "--features", "flat:pixels", "-n", 8, "--json"]
    assert json.loads(command("evaluate", model, *words))["n"] == 8


def test_verify_reports_what_it_found_and_draws_it(command, tmp_path):
    out = tmp_path / "v.png"
    found = json.loads(command("verify", "--steps", 20, "--sigma", 0.5, "--net", "dense(32)", "--out", out, "--json"))
    assert {"relative_error", "cosine"} <= set(found["bce"][0])
    assert found["climb"]["exact"]["reaching"] == 1
    assert out.is_file()


BAD = [
    ([], "Missing|Usage"),
    (["trian"], "train"),
    (["train"], "say what to train on"),
    (["train", "mnits"], "did you mean 'mnist'"),
    (["train", "digits", "--net", "unett"], "did you mean 'unet'"),
    (["train", "digits", "--corruption", "gaussian(0.5"], "\\^"),
    (["train", "digits", "--steps", "0"], "steps"),
    (["train", "digits", "--steps", "3", "--epochs", "2"], "contradict"),
    (["train", "digits", "--lr", "nan"], "lr"),
    (["train", "digits", "--resume"], "--out"),
    (["train", "digits", "--resume", "--out", "nowhere"], "no run to resume"),
    (["train", "digits", "--device", "tpu"], "unknown device"),
    (["train", "digits", "--precision", "float8"], "unknown precision"),
    (["train", "digits", "--size", "1"], "size"),
    (["train", "digits", "--from", "MODEL", "--net", "unet(16)", "--steps", "1"], "same --net"),
    (["sample", "nothing"], "unknown model"),
    (["sample", "MODEL", "--out", "a.xyz"], "cannot write"),
    (["sample", "MODEL", "-n", "100000"], "folder"),
    (["sample", "MODEL", "--trajectory", "a.mp4"], "gif"),
    (["sample", "MODEL", "--sampler", "heun(eta=1)"], "takes no eta"),
    (["sample", "MODEL", "--out", "/proc/a/b.png", "--steps", "1"], "cannot write"),
    (["refine", "MODEL", "nowhere"], "no picture at"),
    (["corrupt", "gaussian(0.1..1)", "."], "range"),
    (["corrupt", "noise(1)", "."], "unknown corruption"),
    (["refine", "MODEL", ".", "--level", "99"], "outside"),
    (["denoise", "MODEL", ".", "--level", "1"], "no pictures"),
    (["denoise", "MODEL", ".", "--level", "strong"], "no number"),
    (["denoise", "MODEL", "x", "--added", "0.1"], "No such option"),
    (["refine", "MODEL", "x", "--added", "0.1", "--strict=1"], "strict"),
    (["train", "digits", "--epochs", "inf"], "epochs"),
    (["train", "digits", "--seed", "1" + "0" * 30], "seed"),
    (["sample", "MODEL", "-n", "1" + "0" * 30], "n"),
    (["info", "a" * 300], "File name too long|unknown model"),
    (["info", "."], "no model"),
    (["info", "nothing"], "unknown model"),
    (["refine", "MODEL", "x.png", "--compare", "--out", "."], "--compare"),
    (["train", "digits", "--corruption", "nowhere:Fade(0.1)"], "cannot import nowhere"),
    (["train", "digits", "--binarise", "sometimes"], "unknown binarisation"),
    (["train", "digits", "--augment", "twice"], "unknown augmentation"),
    (["inpaint", "MODEL", ".", "--mask", "middle"], "no mask"),
    (["corrupt", "erasure(0.5)", "."], "inpaint"),
    (["verify", "--density", "circles"], "unknown density"),
    (["verify", "--sigma", "0"], "sigma"),
    (["verify", "--out", "figure"], "name it with"),
    (["likelihood", "MODEL", "--orders", "2"], "leave it out"),
    (["sample", "MODEL", "--sampler", "heun(churn=1e999)"], "\\^"),
    (["likelihood", "MODEL", "--data", "digits"], "1/512"),
]


@pytest.mark.parametrize(("arguments", "word"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_bad_input_is_one_sentence_and_leaves_nothing(command, monkeypatch, model, tmp_path, arguments, word):
    monkeypatch.chdir(tmp_path)
    text = command(*[str(model) if a == "MODEL" else a for a in arguments], code=2)
    assert re.search(word, text), text
    assert list(tmp_path.iterdir()) == []


def test_interrupted_training_saves_and_says_how_to_resume(command, monkeypatch, tmp_path, own, request):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((9, 8, 8), np.uint8))
    process = subprocess.Popen(
        [*PROGRAM, "train", "x.npy", *own, "--net", "dense(4)", "--steps", "1000000", "--out", "my run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    request.addfinalizer(process.kill)  # should the test fail, it would run for days
    for line in process.stdout:
        if line.startswith("about"):
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    assert (tmp_path / "my run" / "state.safetensors").is_file()
    _, *again = shlex.split(text.partition("go on with: ")[2])
    assert "wrote my run/model.safetensors" in command(*again, "--steps", 30)
    forget("fading:Fade")


def test_changing_a_run_is_refused(command, tmp_path):
    out = ("--out", tmp_path / "run")
    command("train", "digits", "--net", "dense(8)", "--steps", 2, "--batch", 8, *out)
    assert "cannot change" in command("train", "--resume", "--batch", 9, *out, code=2)
    assert "--resume" in command("train", "digits", "--steps", 2, *out, code=2)


def test_real_training_on_mnist(command, tmp_path, data_root):
    small = ("--net", "unet(8, 16)", "--batch", 64, "--steps", 60, "--every", 60, "--lr", 0.01)
    command("train", "mnist", "--data-root", data_root, *small, "--out", tmp_path / "run")
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    row = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    assert 0.03 < float(row["valid_floor"]) < 0.08
    assert float(row["valid_loss"]) < 0.4

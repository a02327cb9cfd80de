import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import dae_sampler
from dae_sampler import DenoisingAutoencoder, InputError, Recipe, Run, fit, sample

TRAIN = [sys.executable, "-m", "dae_sampler", "train"]
SHORT = ["x.npy", "--steps", "60", "--every", "10", "--batch", "16", "--net", "dense(16)", "--precision", "float32"]


@pytest.fixture
def array(tmp_path, monkeypatch):
    """The current folder, with images in x.npy."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).integers(256, size=(200, 8, 8), dtype=np.uint8))
    return tmp_path


def test_run_survives_being_killed(command, array):
    tmp_path = array
    command("train", *SHORT, "--out", "whole", "--quiet")
    for kill in range(2):
        begin = ["--resume"] if (tmp_path / "run" / "config.json").is_file() else SHORT
        process = subprocess.Popen([*TRAIN, *begin, "--out", "run", "--quiet"], cwd=tmp_path)
        reached = len(Run(tmp_path / "run").read_metrics())
        while process.poll() is None and len(Run(tmp_path / "run").read_metrics()) < reached + 2:
            time.sleep(0.01)
        time.sleep(0.013 * kill)
        process.kill()
        process.wait()
    command("train", "--resume", "--out", "run", "--quiet")
    weights, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    rows, expected_rows = (Run(tmp_path / name).read_metrics() for name in ("run", "whole"))
    assert [r | {"seconds": ""} for r in rows] == [r | {"seconds": ""} for r in expected_rows]
    files, expected_files = (
        {str(p.relative_to(tmp_path / name)) for p in (tmp_path / name).rglob("*")} for name in ("run", "whole")
    )
    assert files == expected_files


def small():
    torch.manual_seed(0)
    images = (torch.rand(100, 1, 8, 8) * 255).to(torch.uint8)
    return DenoisingAutoencoder("unet(8)", "gaussian(0.05..5)", (1, 8, 8)), images


def on_a_full_disk(*arguments, cwd):
    """Run the command where files cannot grow beyond 4 kB."""
    return subprocess.run(
        [sys.executable, "-m", "dae_sampler", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )


def test_full_disk_leaves_the_last_good_state(command, array):
    tmp_path = array
    command("train", *SHORT, "--steps", "4", "--out", "run", "-q")
    state = (tmp_path / "run" / "state.safetensors").read_bytes()
    names = {p.name for p in (tmp_path / "run").iterdir()}
    end = on_a_full_disk("train", "--resume", "--steps", "8", "--out", "run", cwd=tmp_path)
    assert end.returncode == 2
    assert re.search("^error: cannot write .*: File too large", end.stderr)
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == state
    assert {p.name for p in (tmp_path / "run").iterdir()} == names
    command("train", "--resume", "--steps", "8", "--out", "run", "-q")


@pytest.mark.parametrize("out", ["a.npy", "a.png"])
def test_full_disk_stops_sampling_with_a_sentence(tmp_path, out):
    end = on_a_full_disk("sample", "mnist-paper", "-n", "60", "--steps", "1", "--out", out, cwd=tmp_path)
    assert end.returncode == 2
    assert re.search("^error: cannot write .*: File too large", end.stderr)
    assert not list(tmp_path.iterdir())


def test_second_process_on_a_run_is_refused(tmp_path):
    with Run(tmp_path).lock(), pytest.raises(InputError, match="another process"), Run(tmp_path).lock():
        pass
    with Run(tmp_path).lock():
        pass


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_seed_same_weights_and_images(precision):
    found = []
    for _ in range(2):
        dae, images = small()
        dae.precision = precision
        fit(dae, images, Recipe(steps=5, batch=8, every=5))
        found.append((torch.cat([p.flatten() for p in dae.parameters()]), sample(dae, 3, steps=4)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_nothing_is_unpickled_or_evaluated():
    forbidden = (
        r"import pickle|allow_pickle=True|torch\.(load|save)\b|(?<!\.)\b(eval|exec)\(|os\.system|MAX_IMAGE_PIXELS ="
    )
    for path in Path(dae_sampler.__file__).parent.rglob("*.py"):
        assert not re.search(forbidden, path.read_text()), path


@pytest.mark.parametrize("changes", [{"steps": "abc"}, {"net": 3}, {"extra": 1}, {"batch": None}])
def test_config_edited_by_hand_is_refused_or_ignored(command, tmp_path, changes):
    out = ("--out", tmp_path / "run")
    command("train", "digits", "--steps", 1, "--batch", 4, "--net", "dense(4)", *out)
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert "Traceback" not in command("train", "--resume", *out, code=0 if "extra" in changes else 2)


def test_a_state_without_its_config_is_no_start(command, array):
    command("train", *SHORT, "--out", "run", "--quiet")
    (array / "run" / "config.json").unlink()
    kept = (array / "run" / "state.safetensors").read_bytes()
    assert "give another --out" in command("train", *SHORT, "--out", "run", code=2)
    assert (array / "run" / "state.safetensors").read_bytes() == kept

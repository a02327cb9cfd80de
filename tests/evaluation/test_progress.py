"""The report of a run: a page that needs nothing beside it, whatever state the run is in."""

import base64
import json
import re

import numpy as np
import pytest

from dae_sampler import Run


@pytest.fixture
def run(command, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(256, size=(300, 8, 8), dtype=np.uint8))
    words = ["--net", "dense(4)", "--steps", 8, "--every", 2, "--batch", 4, "--quiet", "--out", tmp_path / "run"]
    command("train", tmp_path / "x.npy", *words)
    return tmp_path / "run"


def test_a_report_is_a_picture_and_a_page_that_needs_nothing_else(command, run, tmp_path):
    found = json.loads(command("report", run, "--out", tmp_path / "out", "--json"))
    assert found["step"] == 8
    assert [each["kind"] for each in found["findings"]][-1] in ("no copies", "copies")
    picture, page = (tmp_path / "out" / f"report.{kind}" for kind in ("png", "html"))
    text = page.read_text()
    assert base64.b64encode(picture.read_bytes()).decode() in text
    assert found["findings"][0]["text"].split("'")[0] in text.replace("&#x27;", "'")
    assert not re.search(r"(src|href)=.(?!data:)|url\(|<script|<link", text)
    assert "dense(4)" in text


def test_a_run_that_still_trains_or_whose_data_is_gone_has_a_report_too(command, run, tmp_path):
    (tmp_path / "x.npy").unlink()
    said = command("report", run)
    assert "Whether samples are copies was not checked" in said
    assert (run / "report.html").is_file()


def test_what_is_no_run_is_refused_and_nothing_written(command, tmp_path):
    assert "holds no run" in command("report", tmp_path, code=2)
    run = Run(tmp_path)
    run.config = {"data": "x"}
    run.begin()
    assert "not validated yet" in command("report", tmp_path, code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_run_on_noisy_pictures_has_a_report(command, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(256, size=(60, 8, 8), dtype=np.uint8))
    words = ["--net", "dense(4)", "--steps", 8, "--every", 2, "--batch", 4, "--quiet", "--out", tmp_path / "run"]
    command("train", tmp_path / "x.npy", "--corruption", "blindspot(1/16)", *words)
    found = json.loads(command("report", tmp_path / "run", "--json"))
    assert found["findings"]
    assert "copies" not in " ".join(each["kind"] for each in found["findings"])


def test_a_model_that_has_learnt_nothing_copies_nothing(command, run):
    """Its samples are blurred, and so near to all images, trained on or held out."""
    assert json.loads(command("report", run, "--json"))["findings"][-1]["kind"] == "no copies"


def test_a_damaged_grid_of_samples_is_named(command, run):
    grid = sorted((run / "samples").iterdir())[0]
    grid.write_bytes(grid.read_bytes()[:60])
    assert f"cannot read {grid}" in command("report", run, code=2)

"""CSV files that say one thing of each picture."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dae_sampler import InputError
from dae_sampler.data.tables import Table
from dae_sampler.data.truth import Truth


def test_values_are_found_by_path_with_or_without_extension_and_by_index(tmp_path):
    path = tmp_path / "levels.csv"
    path.write_text("file,level\na/b.png,0.1\nc.tif,25/255\n3,0.5\nd.png,1\nd.jpg,2\n", encoding="utf-8-sig")
    table = Table(path, "level")
    assert [table[name] for name in ("a/b.png", "a/b", "c", "000003", "d.jpg")] == ["0.1", "0.1", "25/255", "0.5", "2"]
    for name in ("b", "d", "x.png"):
        with pytest.raises(InputError, match=f"no line for {name}"):
            table[name]


@pytest.mark.parametrize("text", ["name,level\na,1\n", "file\na\n", "", "file,level\na,1\na,2\n", "\0"])
def test_other_tables_are_refused(tmp_path, text):
    path = tmp_path / "levels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"levels\.csv"):
        Table(path, "level")


@pytest.mark.parametrize("name", ["", ".", "/", ".."])
def test_a_line_without_a_name_is_no_picture(tmp_path, name):
    (tmp_path / "levels.csv").write_text(f"file,level\n{name},0.1\na.png,0.2\n")
    table = Table(tmp_path / "levels.csv", "level")
    assert table["a"] == "0.2"
    with pytest.raises(InputError, match="no line for b"):
        table["b"]


def test_dots_in_names_are_no_extensions(tmp_path):
    (tmp_path / "levels.csv").write_text("file,level\nscan.png,0.1\nscan.2.png,0.2\n")
    table = Table(tmp_path / "levels.csv", "level")
    assert [table["scan"], table["scan.2"]] == ["0.1", "0.2"]
    with pytest.raises(InputError, match=r"no line for scan\.1"):
        table["scan.1"]


def test_clean_versions_of_names_with_dots_are_theirs(tmp_path):
    for name, value in (("scan.png", 51), ("scan.1.png", 102)):
        Image.new("L", (2, 2), value).save(tmp_path / name)
    truth = Truth(tmp_path)
    for name, value in (("scan", 0.2), ("scan.1", 0.4), ("scan.1.png", 0.4), ("scan.1.tif", 0.4)):
        truth.check([name], {})
        torch.testing.assert_close(truth.of(name, 0, torch.Size((1, 1, 2, 2))), torch.full((1, 1, 2, 2), value))
    with pytest.raises(InputError, match=r"no clean version of scan\.2"):
        truth.check(["scan.2"], {})


def test_clean_versions_are_read_over_the_range_of_the_pictures(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((2, 2), 1000, np.uint16))
    tifffile.imwrite(tmp_path / "b.tif", np.full((2, 2), 2.5, np.float32))
    truth = Truth(tmp_path)
    truth.check(["a", "b"], {"uint16": (0, 4000), "float32": (2.0, 4.0)})
    for name, page in (("a", 0), ("b", 0)):
        torch.testing.assert_close(truth.of(name, page, torch.Size((1, 1, 2, 2))), torch.full((1, 1, 2, 2), 0.25))

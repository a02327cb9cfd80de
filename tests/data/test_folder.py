import os

import pytest
from PIL import Image

from dae_sampler.data import folder as folders
from dae_sampler.data import pictures
from dae_sampler.data.folder import find
from dae_sampler.errors import InputError


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "pictures"
    for name in ("b.png", "a.JPG", "deep/deeper/c.tif"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    return place


def names(folder, **options):
    files, left_out = find(folder, **options)
    return [str(path.relative_to(folder)) for path in files], left_out


def test_pictures_at_any_depth_are_found_in_order(folder):
    assert names(folder) == (["a.JPG", "b.png", "deep/deeper/c.tif"], [])


@pytest.mark.parametrize("suffix", ["avif", "jfif", "jp2", "webp", "jpe", "ppm", "tga", "qoi", "psd", "apng", "dib"])
def test_whatever_pillow_reads_is_a_picture(folder, suffix):
    (folder / f"new.{suffix}").touch()
    assert len(find(folder).files) == 4


def test_heic_is_a_picture_where_its_package_is_installed(folder):
    pytest.importorskip("pillow_heif")
    Image.new("RGB", (16, 12), (200, 90, 9)).save(folder / "new.heic")
    assert folder / "new.heic" in find(folder).files
    assert pictures.read(folder / "new.heic").pixels.shape == (12, 16, 3)


@pytest.mark.parametrize("suffix", ["pdf", "eps", "mpg", "h5", "grib", "wmf", "txt", "npy"])
def test_what_pillow_does_not_read_is_left_out_and_said(folder, suffix):
    for name in ("one", "two"):
        (folder / f"{name}.{suffix}").touch()
    found, left_out = names(folder)
    assert len(found) == 3
    assert left_out == [f"left out 2 files that are not pictures (.{suffix})"]


def test_every_extension_counted_as_a_picture_has_a_reader():
    assert {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"} < (
        folders.readable()
    )
    assert all(Image.registered_extensions()[suffix] in Image.OPEN for suffix in folders.readable())


def test_hidden_files_and_folders_are_left_out_and_said(folder):
    for name in (".ipynb_checkpoints/b.png", ".cache/d.png", "deep/.e.png", ".DS_Store", "._a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / ".dae-sampler-x.png").touch()  # the library's own
    found, left_out = names(folder)
    assert len(found) == 3
    assert sorted(line.split(" (")[0] for line in left_out) == ["left out 2 hidden files", "left out 2 hidden folders"]
    assert ".ipynb_checkpoints" in " ".join(left_out)
    assert "DS_Store" not in " ".join(left_out)


def test_a_hidden_folder_that_is_named_is_read(folder):
    hidden = folder / ".hidden"
    hidden.mkdir()
    (hidden / "a.png").touch()
    assert names(hidden) == (["a.png"], [])


def test_linked_folders_are_left_out_and_linked_files_read(folder, tmp_path):
    (folder / "circle").symlink_to(folder)
    (folder / "d.png").symlink_to(folder / "b.png")
    (folder / "lost.png").symlink_to(tmp_path / "gone.png")
    found, left_out = names(folder)
    assert found == ["a.JPG", "b.png", "d.png", "deep/deeper/c.tif"]
    assert left_out == ["left out 1 linked folder (circle)", "left out 1 broken link (lost.png)"]
    (tmp_path / "link").symlink_to(folder)
    assert len(find(tmp_path / "link").files) == 4  # one that is named is followed


def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.png")
    assert names(folder)[1] == ["left out 1 special file (pipe.png)"]


@pytest.mark.parametrize("wrote", ["metrics.csv", "state.safetensors"])
def test_what_a_training_run_wrote_is_no_data(folder, wrote):
    for name in ("runs/x/samples/1.png", "runs/x/config.json", f"runs/x/{wrote}"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    found, left_out = names(folder)
    assert len(found) == 3
    assert left_out == ["left out 1 training run (runs/x)"]


def test_a_run_in_the_folder_itself_leaves_its_pictures(folder):
    for name in ("config.json", "metrics.csv", "samples/1.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    found, left_out = names(folder)
    assert len(found) == 3
    assert "left out 1 training run (samples)" in left_out


def test_samples_of_a_run_are_read_where_they_are_named(folder):
    for name in ("run/config.json", "run/metrics.csv", "run/samples/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert names(folder / "run" / "samples") == (["1.png"], [])


def test_a_config_alone_makes_no_run(folder):
    (folder / "deep" / "config.json").touch()
    assert len(find(folder).files) == 3


def test_the_folder_of_results_can_be_left_out(folder, monkeypatch):
    found, left_out = names(folder, without=[folder / "deep"])
    assert found == ["a.JPG", "b.png"]
    assert left_out == ["left out 1 output folder (deep)"]
    monkeypatch.chdir(folder)
    assert len(find(folder, without=[type(folder)("deep")]).files) == 2


def test_a_folder_that_cannot_be_opened_is_said(folder, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deeper"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(folders.os, "scandir", scandir)
    monkeypatch.setattr("os.scandir", scandir)
    found, left_out = names(folder)
    assert found == ["a.JPG", "b.png"]
    assert left_out == ["left out 1 unreadable folder (deep/deeper)"]


def test_a_folder_without_pictures_says_what_is_there(tmp_path):
    with pytest.raises(InputError, match="no pictures: give"):
        find(tmp_path)
    (tmp_path / "a.raw").touch()
    with pytest.raises(InputError, match=r"1 file that is not a picture \(\.raw\)"):
        find(tmp_path)

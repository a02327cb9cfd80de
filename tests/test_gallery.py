import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import make_grid

from dae_sampler import files, gallery
from dae_sampler.errors import InputError
from dae_sampler.pixels import to_uint8


def as_read(path):
    return torch.from_numpy(np.array(Image.open(path)))


@pytest.mark.parametrize("extension", [".png", ".bmp", ".pgm", ".tiff", ".PNG", ".jp2"])
def test_lossless_picture_is_a_round_trip(tmp_path, extension):
    pixels = torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8)
    gallery.save_picture(gallery.to_picture(pixels), tmp_path / f"a{extension}")
    assert torch.equal(as_read(tmp_path / f"a{extension}"), pixels[0])


def test_a_picture_has_one_channel_or_three():
    assert gallery.to_picture(torch.rand(3, 4, 4)).mode == "RGB"
    for channels in (2, 4):
        with pytest.raises(InputError, match=r"\.npy"):
            gallery.to_picture(torch.rand(channels, 4, 4))


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.h5"])
def test_a_format_that_cannot_be_written_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"use \.png"):
        gallery.save_picture(gallery.to_picture(torch.rand(1, 4, 4)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_writer_streams_arrays_and_folders(tmp_path):
    x = torch.rand(5, 1, 8, 8)
    for out in (tmp_path / "x.npy", tmp_path / "x", tmp_path / "x.png"):
        with gallery.Writer(out, 5) as writer:
            writer.add(x[:3])
            writer.add(x[3:])
        assert list(writer.paths(["000000"])) == [out / "000000.png" if out.is_dir() else out]
    assert np.array_equal(np.load(tmp_path / "x.npy"), x.numpy())
    written = torch.stack([as_read(tmp_path / "x" / f"{i:06d}.png") for i in range(5)])
    assert torch.equal(written[:, None], to_uint8(x))
    assert torch.equal(as_read(tmp_path / "x.png"), torch.from_numpy(np.array(gallery.grid(x))))


def test_an_array_holds_as_many_images_as_came(tmp_path):
    x = torch.rand(1200, 4, 2, 3)
    with gallery.Writer(tmp_path / "x.npy", 10**6) as writer:
        writer.add(x[:1000])
        writer.add(x[1000:])
    assert np.array_equal(np.load(tmp_path / "x.npy"), x.numpy())


def test_one_image_left_is_not_a_grid(tmp_path):
    with gallery.Writer(tmp_path / "x.png", 2) as writer:
        writer.add(torch.rand(1, 1, 8, 8))
    assert Image.open(tmp_path / "x.png").size == (8, 8)


def test_names_may_lie_in_folders(tmp_path):
    with gallery.Writer(tmp_path / "x", 2) as writer:
        writer.add(torch.rand(2, 3, 8, 8), ["a", "deep/b"])
        writer.add(torch.rand(1, 1, 5, 4), ["c"])
    assert {str(path.relative_to(tmp_path / "x")) for path in tmp_path.rglob("*.png")} == {
        "a.png",
        "deep/b.png",
        "c.png",
    }


@pytest.mark.parametrize("name", ["x.npy", "x.png"])
def test_interrupted_writer_leaves_nothing(tmp_path, name):
    with pytest.raises(ZeroDivisionError), gallery.Writer(tmp_path / name, 5) as writer:
        writer.add(torch.rand(3, 1, 8, 8))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "channels"), [("x.png", 4), ("x", 2), ("x.gif", 16)])
def test_channels_that_no_picture_has_are_named_with_the_cure(tmp_path, name, channels):
    with pytest.raises(InputError, match=r"\.npy"), gallery.Writer(tmp_path / name, 2) as writer:
        writer.add(torch.rand(2, channels, 8, 8))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["x.png", "x.npy"])
def test_images_of_several_sizes_need_a_folder(tmp_path, name):
    with pytest.raises(InputError, match="folder"), gallery.Writer(tmp_path / name, 2) as writer:
        writer.add(torch.rand(1, 1, 8, 8))
        writer.add(torch.rand(1, 1, 8, 9))
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_what_it_cannot_write(tmp_path):
    for name, n in (("a.xyz", 1), ("a.pdf", 1), ("a.png", 10**6)):
        with pytest.raises(InputError):
            gallery.Writer(tmp_path / name, n)


def test_many_small_pictures_share_one_sync(tmp_path, monkeypatch):
    syncs = []
    monkeypatch.setattr(files.os, "fsync", lambda handle: syncs.append("file or folder"))
    monkeypatch.setattr(files, "_sync", lambda paths: syncs.append(len(paths)))
    with gallery.Writer(tmp_path / "x", 100) as writer:
        writer.add(torch.rand(100, 1, 8, 8))
    assert syncs == [100, "file or folder"]
    assert len(list((tmp_path / "x").iterdir())) == 100


@pytest.mark.parametrize("name", ["film.gif", "film.webp"])
def test_film_keeps_every_kth_step_and_the_last(tmp_path, name):
    film = gallery.Film(tmp_path / name, every=2)
    for _ in range(5):
        film.add(torch.rand(4, 1, 8, 8))
    film.save(torch.rand(4, 1, 8, 8))
    with Image.open(tmp_path / name) as picture:
        assert picture.n_frames == 4


def test_film_is_an_animation(tmp_path):
    with pytest.raises(InputError, match=r"\.gif"):
        gallery.Film(tmp_path / "film.png", every=1)


@pytest.mark.parametrize("shape", [(64, 1, 28, 28), (5, 3, 9, 14), (1, 1, 60, 60), (7, 1, 56, 56)])
@pytest.mark.parametrize("columns", [0, 3, 8])
def test_grid_is_that_of_torchvision(shape, columns):
    x = torch.randint(256, shape, dtype=torch.uint8)
    theirs = make_grid(x, nrow=columns or round(len(x) ** 0.5), padding=2, pad_value=64)
    picture, factor = gallery.grid(x, columns).convert("RGB"), max(1, 56 // max(shape[-2:]))
    ours = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[:, ::factor, ::factor]
    assert torch.equal(ours, theirs.expand_as(ours))


def test_grid_holds_every_image():
    x = torch.linspace(0, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 64, 64)
    shown = set(np.unique(np.asarray(gallery.grid(x)).ravel()).tolist())
    assert set(to_uint8(x).unique().tolist()) <= shown


def test_pairs_stand_side_by_side():
    before, after = torch.zeros(4, 1, 64, 64), torch.ones(8, 1, 64, 64)
    picture = np.asarray(gallery.pairs(before, after))  # an image and its two versions a row
    assert picture.shape == (4 * 66 + 2, 3 * 66 + 2)
    assert [picture[30, 30 + 66 * i] for i in range(3)] == [0, 255, 255]

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import data
from dae_sampler.errors import InputError


def test_digits_need_no_network():
    train, test = data.load("digits"), data.load("digits", train=False)
    assert train.shape == (1, 8, 8)
    assert len(train) + len(test) == 1797
    assert train.images.max() == 255
    assert (train.name, train.span, train.notes, train.skipped) == ("digits", (0, 255), (), ())


def test_mnist(data_root):
    train, test = (data.load("mnist", root=data_root, train=half) for half in (True, False))
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.images.shape == (10000, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert train.images.float().mean() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_drawings_of_omniglot_are_white_on_black(tmp_path, monkeypatch):
    ink = Image.new("1", (105, 105), 1)
    ink.paste(0, (40, 40, 70, 70))
    monkeypatch.setattr("torchvision.datasets.Omniglot", lambda root, background, download: [(ink, 0)] * 3)
    images = data.load("omniglot", root=tmp_path).images
    assert images.shape == (3, 1, 28, 28)
    assert images[0, 0, 0, 0] == 0
    assert images[0, 0, 14, 14] == 255


def test_size_and_channels_are_converted_and_that_is_said():
    loaded = data.load("digits", size=16, channels=3)
    assert loaded.shape == (3, 16, 16)
    assert loaded.notes == ("the images were resized to 16x16", "the images were made RGB")
    assert data.load("digits", size=(16, 8), fit="pad").shape == (1, 8, 16)


@pytest.mark.parametrize("size", [1, 0, (8, 1)])
def test_a_size_is_two_pixels_or_more(size):
    with pytest.raises(InputError, match="`size`"):
        data.load("digits", size=size)


@pytest.mark.parametrize("channels", [0, -1, 17])
def test_images_have_1_to_16_channels(channels):
    with pytest.raises(InputError, match="`channels`"):
        data.load("digits", channels=channels)


def test_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((4, 8, 8)).astype(np.float32))
    loaded = data.load(tmp_path / "a.npy")
    assert loaded.images.dtype == torch.float32
    assert (loaded.name, loaded.shape, loaded.span) == ("a.npy", (1, 8, 8), (0, 1))


@pytest.mark.parametrize("channels", [2, 4, 16])
def test_arrays_of_other_channels(tmp_path, channels):
    np.save(tmp_path / "a.npy", np.full((4, channels, 20, 20), 9, np.uint8))
    assert data.load(tmp_path / "a.npy").shape == (channels, 20, 20)
    assert data.load(tmp_path / "a.npy", channels=channels, size=8).shape == (channels, 8, 8)
    with pytest.raises(InputError, match=f"{channels} channels"):
        data.load(tmp_path / "a.npy", channels=3)


def test_arrays_keep_type_and_range(tmp_path):
    deep = np.random.default_rng(0).integers(0, 4000, (4, 8, 8)).astype(np.uint16)
    deep.flat[0] = 4000
    np.save(tmp_path / "deep.npy", deep)
    loaded = data.load(tmp_path / "deep.npy", size=16)
    assert loaded.images.dtype == torch.uint16
    assert loaded.span == (0, 4095)
    assert "4095 (white)" in loaded.notes[0]
    assert loaded.notes[1] == "the images were resized to 16x16"
    np.save(tmp_path / "binary.npy", np.eye(8, dtype=np.uint8)[None])
    assert data.load(tmp_path / "binary.npy").span == (0, 1)
    assert data.load(tmp_path / "deep.npy", span=(0, 65535)).span == (0, 65535)


def test_targets_outside_their_range_are_refused(tmp_path):
    np.save(tmp_path / "noisy.npy", np.linspace(-0.3, 1.3, 128).reshape(2, 8, 8))
    with pytest.raises(InputError, match="clip"):
        data.load(tmp_path / "noisy.npy")


@pytest.mark.parametrize("source", ["mnits", "no/such/folder", "no.npy", "setup.cfg"])
def test_what_is_not_there_is_said(source):
    with pytest.raises(InputError):
        data.load(source)


def test_empty_folder_and_plain_file(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("hello")
    for source, word in ((tmp_path / "empty", "no pictures"), (tmp_path / "a.txt", "not a data set")):
        with pytest.raises(InputError, match=word):
            data.load(source)


def test_data_set_that_cannot_be_had_says_where_it_was_sought(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.KMNIST", offline)
    with pytest.raises(InputError, match="`data_root`"):
        data.load("kmnist", root=tmp_path)


def test_a_folder_with_the_name_of_a_data_set_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    Image.new("L", (8, 8), 9).save(tmp_path / "digits" / "a.png")
    assert len(data.load("digits")) > 1000
    assert len(data.load("./digits")) == 1
    monkeypatch.chdir(tmp_path / "digits")
    assert len(data.load(".")) == 1


def test_unknown_ways_to_fit_are_refused():
    with pytest.raises(InputError, match="'squash'"):
        data.load("digits", size=16, fit="squish")

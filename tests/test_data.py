import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler.data import decode as decoding
from dae_sampler.data import named as data
from dae_sampler.errors import InputError


def test_digits_need_no_network():
    train, test = data.load("digits"), data.load("digits", train=False)
    assert train.images.shape[1:] == (1, 8, 8)
    assert len(train.images) + len(test.images) == 1797
    assert train.images.max() == 255


def test_mnist(data_root):
    train, test = (data.load("mnist", root=data_root, train=half) for half in (True, False))
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.images.shape == (10000, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert train.images.float().mean() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_size_and_channels_are_converted():
    assert data.load("digits", size=16, channels=3).images.shape[1:] == (3, 16, 16)


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        place = tmp_path / "pictures" / f"class-{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10), (40 * i, 10, 10)).save(place / f"{i}.png")
    return tmp_path / "pictures"


def test_folder_at_any_depth(folder):
    loaded = data.load(folder)
    assert loaded.images.shape == (6, 3, 10, 12)
    assert sorted(loaded.images[:, 0, 0, 0].tolist()) == [0, 40, 80, 120, 160, 200]
    assert data.load(folder, size=8, channels=1).images.shape == (6, 1, 8, 8)


def test_grey_folder_stays_grey(tmp_path):
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    assert data.load(tmp_path).images.shape == (1, 1, 8, 8)


def test_bad_file_is_skipped_and_named(folder):
    (folder / "bad.png").write_bytes(b"no")
    loaded = data.load(folder)
    assert len(loaded.images) == 6
    assert len(loaded.skipped) == 1
    assert "bad.png" in loaded.skipped[0]
    with pytest.raises(InputError, match=r"bad\.png"):
        data.load(folder, strict=True)


def test_several_sizes_ask_for_one(folder):
    Image.new("RGB", (30, 30)).save(folder / "large.png")
    with pytest.raises(InputError, match="--size"):
        data.load(folder)
    assert len(data.load(folder, size=16).images) == 7


def test_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((4, 8, 8)).astype(np.float32))
    assert data.load(tmp_path / "a.npy").images.dtype == torch.float32


@pytest.mark.parametrize("source", ["mnits", "no/such/folder", "no.npy", "setup.cfg"])
def test_what_is_not_there_is_said(source):
    with pytest.raises(InputError):
        data.load(source)


def test_empty_folder_and_plain_file(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("hello")
    for source, word in ((tmp_path / "empty", "no images"), (tmp_path / "a.txt", "not a data set")):
        with pytest.raises(InputError, match=word):
            data.load(source)


def test_data_set_that_cannot_be_had_says_where_it_was_sought(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.KMNIST", offline)
    with pytest.raises(InputError, match="--data-root"):
        data.load("kmnist", root=tmp_path)


@pytest.fixture
def mapped(monkeypatch):
    monkeypatch.setattr(decoding, "IN_MEMORY", 0)
    monkeypatch.setattr(decoding, "SAVE_EVERY", 2)


def test_a_folder_too_large_for_memory_is_mapped(folder, tmp_path, mapped, monkeypatch):
    (folder / "bad.png").write_bytes(b"no")
    loaded = data.load(folder, root=tmp_path / "cache")
    assert loaded.images.shape == (6, 3, 10, 12)
    assert len(loaded.skipped) == 1
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 1
    monkeypatch.setattr(decoding.images, "read", None)  # no picture is read again
    monkeypatch.setattr(decoding, "_first_size", lambda folder, files: (10, 12))
    assert torch.equal(data.load(folder, root=tmp_path / "cache").images, loaded.images)


def test_an_interrupted_pass_goes_on(folder, tmp_path, mapped, monkeypatch):
    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.load(folder, size=8, root=tmp_path / "cache", on_file=interrupt)
    seen = []
    resumed = data.load(folder, size=8, root=tmp_path / "cache", on_file=lambda done, total: seen.append(done))
    assert seen == [5, 6]
    monkeypatch.setattr(decoding, "IN_MEMORY", 1 << 30)
    assert torch.equal(resumed.images, data.load(folder, size=8).images)


def test_a_changed_folder_is_decoded_anew(folder, tmp_path, mapped):
    before = data.load(folder, root=tmp_path / "cache").images
    Image.new("RGB", (12, 10), (7, 7, 7)).save(folder / "class-0" / "0.png")
    after = data.load(folder, root=tmp_path / "cache").images
    assert not torch.equal(before, after)


def test_a_mapped_grey_folder_stays_grey(tmp_path, mapped):
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    assert data.load(tmp_path, root=tmp_path / "cache").images.shape == (1, 1, 8, 8)


@pytest.mark.parametrize("channels", [3, 1])
def test_rows_of_a_mapped_file_are_those_of_the_array(tmp_path, mapped, channels):
    array = np.random.default_rng(0).integers(256, size=(50, 3, 40, 41), dtype=np.uint8)
    np.save(tmp_path / "images.npy", array)
    images = torch.from_numpy(decoding.mapped(tmp_path / "images.npy")[5:])[:, :channels]
    rows = torch.tensor([44, 0, 7, 7, 30])
    assert np.array_equal(decoding.take(images, rows), array[5:, :channels][rows])


def test_a_folder_with_the_name_of_a_data_set_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    Image.new("L", (8, 8), 9).save(tmp_path / "digits" / "a.png")
    assert len(data.load("digits").images) > 1000
    assert len(data.load("./digits").images) == 1


def test_a_lost_file_of_the_cache_is_made_again(folder, tmp_path, mapped):
    before = data.load(folder, root=tmp_path / "cache").images.clone()
    (place,) = (tmp_path / "cache" / "decoded").iterdir()
    (place / "images.npy").unlink()

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.load(folder, root=tmp_path / "cache", on_file=interrupt)
    assert torch.equal(data.load(folder, root=tmp_path / "cache").images, before)


def test_a_cached_pass_is_strict_when_asked_to_be(folder, tmp_path, mapped):
    (folder / "bad.png").write_bytes(b"no")
    data.load(folder, root=tmp_path / "cache")
    with pytest.raises(InputError, match=r"bad\.png"):
        data.load(folder, root=tmp_path / "cache", strict=True)

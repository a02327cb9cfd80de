"""Random crops of pictures of mixed sizes."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dae_sampler import InputError
from dae_sampler.data import memory
from dae_sampler.data.crops import reflected
from dae_sampler.data.named import load_crops
from dae_sampler.noise import StepNoise

SIZES = [(40, 30), (16, 16), (100, 17), (33, 64)]


@pytest.fixture
def folder(tmp_path):
    """Pictures whose pixels tell where they are: value = 64 x number + something of row and column."""
    (tmp_path / "p").mkdir()
    for i, (width, height) in enumerate(SIZES):
        rows, columns = np.mgrid[:height, :width]
        Image.fromarray((64 * i + (3 * rows + 5 * columns) % 64).astype(np.uint8)).save(tmp_path / "p" / f"{i}.png")
    return tmp_path / "p"


def whole(i):
    width, height = SIZES[i]
    rows, columns = np.mgrid[:height, :width]
    return torch.from_numpy((64 * i + (3 * rows + 5 * columns) % 64).astype(np.uint8))


def is_cut_from(crop, picture):
    side = crop.shape[-1]
    views = picture.unfold(0, side, 1).unfold(1, side, 1)
    return bool((views == crop[0]).all(-1).all(-1).any())


def test_every_crop_is_cut_from_one_picture_and_all_places_are_reached(folder):
    crops = load_crops(folder, 16)
    assert (len(crops), crops.shape) == (4, (1, 0, 0))
    rows, none = crops.split(0)
    assert torch.equal(rows, none)
    seen = {}
    for step in range(60):
        for crop in crops.take(rows, StepNoise(0, step)).x:
            i = int(crop.max()) // 64
            assert is_cut_from(crop, whole(i))
            seen.setdefault(i, set()).add(tuple(crop[0, 0, :2].tolist()))
    assert set(seen) == {0, 1, 2, 3}
    assert len(seen[1]) == 1  # it is as large as a crop
    assert len(seen[3]) > 40


def test_pictures_are_taken_in_proportion_to_their_pixels(folder):
    crops = load_crops(folder, 8)
    counts = torch.bincount(torch.searchsorted(crops.ends, crops.split(0)[0], right=True)).double()
    pixels = torch.tensor([w * h for w, h in SIZES]).double()
    torch.testing.assert_close(counts / counts.sum(), pixels / pixels.sum(), atol=0.03, rtol=0)


def test_without_noise_crops_lie_side_by_side(folder):
    crops = load_crops(folder, 8)
    first, again = (crops.take(crops.split(0)[0]).x for _ in range(2))
    assert torch.equal(first, again)
    rows = torch.searchsorted(crops.ends, crops.split(0)[0], right=True)
    of_last = first[rows == 3]
    assert torch.equal(of_last[0], whole(3)[None, :8, :8])
    assert torch.equal(of_last[-1], whole(3)[None, -8:, -8:])


def test_whole_pictures_are_held_out(folder):
    crops = load_crops(folder, 8)
    training, held_out = crops.split(2)
    of = [set(torch.searchsorted(crops.ends, rows, right=True).tolist()) for rows in (training, held_out)]
    assert of == [{1, 2}, {0, 3}]
    assert len(training) + len(held_out) == crops.ends[-1]


def test_large_pictures_are_validated_on_some_of_their_crops(folder, monkeypatch):
    monkeypatch.setattr("dae_sampler.data.crops.MOST_HELD_OUT", 5)
    crops = load_crops(folder, 8)
    training, held_out = crops.split(2)
    assert len(held_out) == 5
    of = torch.searchsorted(crops.ends, held_out, right=True)
    assert set(of.tolist()) == {0, 3}
    assert not set(of.tolist()) & set(torch.searchsorted(crops.ends, training, right=True).tolist())


def test_small_pictures_are_refused_or_padded_by_reflection(folder):
    with pytest.raises(InputError, match=r"16x16, smaller than the crop of 20: choose `fit` pad"):
        load_crops(folder, 20)
    crops = load_crops(folder, 20, fit="pad")
    assert "2 of 4 pictures are smaller" in " ".join(crops.notes)
    rows = torch.searchsorted(crops.ends, crops.split(0)[0], right=True)
    (padded,) = crops.take(crops.split(0)[0][rows == 1]).x
    expected = np.pad(whole(1).numpy(), ((0, 4), (0, 4)), mode="reflect")
    assert np.array_equal(padded[0].numpy(), expected)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 1)])
def test_reflection_goes_on_as_long_as_it_takes(size):
    image = torch.randint(256, (2, *size), dtype=torch.uint8)
    expected = np.pad(image.numpy(), ((0, 0), (0, 7), (0, 9)), mode="reflect")
    assert np.array_equal(reflected(image, 9, 7).numpy(), expected)


def test_grey_and_colour_mix_and_depth_survives(tmp_path):
    deep = np.arange(400, dtype=np.uint16).reshape(20, 20) * 150
    Image.fromarray(deep).save(tmp_path / "a.tiff")
    colour = np.random.default_rng(0).integers(256, size=(20, 20, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "b.png")
    crops = load_crops(tmp_path, 20)
    x = crops.take(crops.split(0)[0]).x
    assert x.shape == (2, 3, 20, 20)
    assert x.dtype == torch.uint16
    assert np.array_equal(x[0, 1].numpy(), deep)
    assert np.array_equal(x[1].numpy(), np.moveaxis(colour, 2, 0).astype(np.uint16) * 257)


def test_what_does_not_fit_into_memory_is_mapped_and_the_same(folder, tmp_path, monkeypatch):
    expected = load_crops(folder, 8)
    monkeypatch.setattr(memory, "IN_MEMORY", 0)
    for _ in range(2):  # made, then found
        found = load_crops(folder, 8, root=tmp_path / "cache")
        assert found.fingerprint() == expected.fingerprint()
        rows = expected.split(0)[0]
        assert torch.equal(found.take(rows, StepNoise(0, 0)).x, expected.take(rows, StepNoise(0, 0)).x)
        assert not list((tmp_path / "cache").rglob(".dae-sampler-*"))


def test_what_fits_into_memory_is_told_by_sizes_in_pixels_not_in_bytes(tmp_path, monkeypatch):
    (tmp_path / "p").mkdir()
    Image.new("L", (200, 200)).save(tmp_path / "p" / "flat.png")
    assert (tmp_path / "p" / "flat.png").stat().st_size < 1000
    monkeypatch.setattr(memory, "IN_MEMORY", 100_000)  # in colour it has 120,000 values
    load_crops(tmp_path / "p", 8, channels=1, root=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("pixels.bin"))
    load_crops(tmp_path / "p", 8, root=tmp_path / "cache")
    assert len(list((tmp_path / "cache").rglob("pixels.bin"))) == 1


@pytest.mark.parametrize("damage", ["lost", "cut", "no index", "odd index"])
def test_a_damaged_cache_is_made_again(folder, tmp_path, monkeypatch, damage):
    expected = load_crops(folder, 8)
    monkeypatch.setattr(memory, "IN_MEMORY", 0)
    load_crops(folder, 8, root=tmp_path / "cache")
    (pixels,), (index,) = (list((tmp_path / "cache").rglob(name)) for name in ("pixels.bin", "index.json"))
    match damage:
        case "lost":
            pixels.unlink()
        case "cut":
            pixels.write_bytes(pixels.read_bytes()[:-1])
        case "no index":
            index.unlink()
        case _:
            index.write_text('{"shapes": [["x"]], "small": 0, "skipped": []}')
    assert load_crops(folder, 8, root=tmp_path / "cache").fingerprint() == expected.fingerprint()


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_folder_without_a_readable_picture_is_refused(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(memory, "IN_MEMORY", limit)
    (tmp_path / "p").mkdir()
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save(tmp_path / "p" / "deep.png")
    content = (tmp_path / "p" / "deep.png").read_bytes()
    (tmp_path / "p" / "deep.png").write_bytes(content[:60])  # its head is whole
    with pytest.raises(InputError, match="none of the 1 pictures"):
        load_crops(tmp_path / "p", 8, root=tmp_path / "cache")


def test_an_epoch_is_all_places_of_crops(folder, tmp_path, command):
    options = ["--crop", 16, "--epochs", 2, "--batch", 4, "--net", "unet(8)", "--every", 1000, "--out", tmp_path / "r"]
    said = command("train", folder, *options)
    places = int(load_crops(folder, 16).ends[-1])
    assert f"{round(2 * places / 4)} steps of 4" in said


def test_what_is_done_to_pictures_is_said(tmp_path, monkeypatch):
    deep = np.full((20, 20, 3), 999, np.uint16)
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([deep[..., 0]] * 2), photometric="minisblack")
    Image.new("RGB", (20, 20), (200, 0, 0)).save(tmp_path / "colour.png")
    monkeypatch.setattr(memory, "IN_MEMORY", 0)
    for _ in range(2):  # decoded into a file, then read from it
        notes = " ".join(load_crops(tmp_path, 16, channels=1, root=tmp_path / "cache").notes)
        assert "2 pages" in notes
        assert "1 of 2 pictures was made grey" in notes

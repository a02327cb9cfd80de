"""Pictures with partners, and several exposures of one thing."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dae_sampler import InputError
from dae_sampler.data.dataset import Dataset, as_dataset
from dae_sampler.data.exposures import load_exposures
from dae_sampler.data.pairs import as_noisy, load_pairs
from dae_sampler.noise import StepNoise
from dae_sampler.pixels import to_float

RANDOM = np.random.default_rng(0)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    """Clean pictures of several sizes and depths of folder, and their negatives under other extensions."""
    for name, size in {"a": (20, 30), "in/b": (16, 16), "in/deep/c": (25, 18)}.items():
        pixels = RANDOM.integers(0, 256, size, dtype=np.uint8)
        write(tmp_path / "clean" / f"{name}.png", pixels)
        write(tmp_path / "dirty" / f"{name}.bmp", 255 - pixels)
    return tmp_path / "clean", tmp_path / "dirty"


def all_rows(data):
    return data.split(0)[0]


@pytest.mark.parametrize("options", [{"side": 16}, {"size": (12, 8)}])
def test_partners_lie_beside_each_other_and_are_cut_alike(folders, options):
    data = load_pairs(*folders, **options)
    for noise in (None, StepNoise(0, 0), StepNoise(0, 1)):
        batch = data.take(all_rows(data), noise)
        assert batch.x.shape == batch.damaged.shape
        difference = (batch.x.int() + batch.damaged.int() - 255).abs().max()
        assert difference <= (1 if "size" in options else 0)  # resizing rounds
        assert batch.pair[1] is batch.x


def test_pictures_without_a_partner_are_listed(folders):
    write(folders[0] / "only.png", np.zeros((20, 20), np.uint8))
    write(folders[1] / "in" / "alone.png", np.zeros((20, 20), np.uint8))
    data = load_pairs(*folders, 8)
    assert len(data) == 3
    (note,) = data.notes
    assert "left out 2 without a partner" in note
    assert "only.png" in note
    assert "alone.png" in note


def test_patterns_pair_what_the_star_stands_for(tmp_path):
    for name in ("x_1", "x_2", "y_1"):
        shade = RANDOM.integers(50, 200)
        write(tmp_path / "shots" / name[0] / f"{name[2]}_mean.png", np.full((16, 16), shade, np.uint8))
        write(tmp_path / "shots" / name[0] / f"{name[2]}_real.png", np.full((16, 16), shade + 1, np.uint8))
    data = load_pairs(tmp_path / "shots/*/*_mean.png", tmp_path / "shots/*/*_real.png", 16)
    batch = data.take(all_rows(data))
    assert len(data) == 3
    assert (batch.damaged - batch.x == 1).all()
    assert len(load_pairs(tmp_path / "shots/**/*_mean.png", tmp_path / "shots/**/*_real.png", 16)) == 3
    assert len(load_pairs(tmp_path / "shots/x/*_mean.png", tmp_path / "shots/x/*_real.png", 16)) == 2
    with pytest.raises(InputError, match="no picture is called like"):
        load_pairs(tmp_path / "shots/*_mean.png", tmp_path / "shots/*/*_real.png", 16)


def test_partners_of_two_sizes_are_refused(folders):
    write(folders[1] / "a.bmp", np.zeros((20, 31), np.uint8))
    with pytest.raises(InputError, match=r"a.png is 30x20, .*a.bmp is 31x20: partners have one size"):
        load_pairs(*folders, size=(8, 8))


def test_folders_that_have_nothing_in_common_are_refused(folders, tmp_path):
    write(tmp_path / "other" / "z.png", np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match="partners have one name"):
        load_pairs(folders[0], tmp_path / "other", 8)
    with pytest.raises(InputError, match="no folder"):
        load_pairs(folders[0], tmp_path / "nowhere", 8)
    write(folders[1] / "a.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(InputError, match="one name"):
        load_pairs(*folders, 8)


def test_a_partner_that_cannot_be_read_is_an_error(folders):
    (folders[1] / "in" / "b.bmp").write_bytes(b"BM no picture")
    with pytest.raises(InputError, match=r"b\.bmp"):
        load_pairs(*folders, 8)


def test_grey_and_colour_and_two_depths_make_pairs(tmp_path):
    grey = RANDOM.integers(0, 256, (16, 16), dtype=np.uint8)
    write(tmp_path / "clean" / "a.png", grey)
    write(tmp_path / "dirty" / "a.png", np.stack([grey, grey, 255 - grey], 2))
    write(tmp_path / "deep" / "a.png", grey.astype(np.uint16) * 257)
    data = load_pairs(tmp_path / "clean", tmp_path / "dirty", 16)
    x, damaged = data.take(all_rows(data))[:2]
    assert data.shape[0] == 3
    assert torch.equal(x[:, 2], 255 - damaged[:, 2])
    data = load_pairs(tmp_path / "clean", tmp_path / "deep", 16)
    x, damaged = data.take(all_rows(data))[:2]
    torch.testing.assert_close(to_float(x, data.span), to_float(damaged, data.span))


def test_deep_pairs_have_one_range(tmp_path):
    for name, most in (("clean", 3000), ("dirty", 900)):
        write(tmp_path / name / "a.png", np.linspace(0, most, 256).reshape(16, 16).astype(np.uint16))
    data = load_pairs(tmp_path / "clean", tmp_path / "dirty", 16)
    assert data.span == (0, 4095)
    assert data.take(all_rows(data)).damaged.long().max() == 900


def test_two_arrays_are_pairs_by_order(tmp_path):
    images = RANDOM.integers(0, 256, (5, 9, 8), dtype=np.uint8)
    np.save(tmp_path / "clean.npy", images)
    np.save(tmp_path / "dirty.npy", 255 - images)
    data = load_pairs(tmp_path / "clean.npy", tmp_path / "dirty.npy")
    x, damaged = data.take(torch.tensor([3, 1]))[:2]
    assert torch.equal(x, 255 - damaged)
    np.save(tmp_path / "dirty.npy", images[:4])
    with pytest.raises(InputError, match=r"5x1x9x8, .*4x1x9x8: give arrays of one shape"):
        load_pairs(tmp_path / "clean.npy", tmp_path / "dirty.npy")


def test_the_fingerprint_is_that_of_the_pairing():
    images, damaged = torch.randint(256, (2, 70, 1, 4, 4), dtype=torch.uint8)
    alone, paired = as_dataset(images), as_dataset(images, damaged=damaged)
    swapped = as_dataset(images, damaged=damaged.flip(0))
    assert len({data.fingerprint() for data in (alone, paired, swapped)}) == 3


def test_noisy_targets_are_neither_clipped_nor_rounded(tmp_path):
    noisy = RANDOM.normal(0.5, 0.6, (2, 6, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "one.npy", noisy[0])
    np.save(tmp_path / "two.npy", noisy[1])
    data = as_noisy(load_pairs(tmp_path / "one.npy", tmp_path / "two.npy", target="noisy"))
    assert data.span == (0, 1)  # so that the sigma of their noise is not in units of its own extremes
    batch = data.take(torch.arange(6))
    assert np.array_equal(batch.x.numpy(), noisy[0])
    assert np.array_equal(batch.damaged.numpy(), noisy[1])
    assert "taken as noise around 0 (black) to 1 (white)" in data.notes[-1]
    with pytest.raises(InputError, match="clip"):
        load_pairs(tmp_path / "one.npy", tmp_path / "two.npy")
    half = as_dataset(torch.full((1, 1, 2, 2), 1.5), target="noisy")
    assert (half.take(torch.tensor([0])).x == 1.5).all()


def test_the_range_of_other_floats_holds_all_their_values(tmp_path):
    photons = RANDOM.normal(400, 30, (2, 6, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "one.npy", photons[0])
    np.save(tmp_path / "two.npy", photons[1])
    data = as_noisy(load_pairs(tmp_path / "one.npy", tmp_path / "two.npy", target="noisy"))
    assert data.span == (photons.min(), photons.max())


@pytest.fixture
def exposures(tmp_path):
    """Two things in folders, one in a file; pixels tell thing and exposure: 10 x thing + exposure."""
    for thing, count in ((1, 3), (2, 2)):
        for i in range(count):
            write(tmp_path / "e" / f"thing{thing}" / f"{i}.png", np.full((16, 18), 10 * thing + i, np.uint8))
    pages = np.arange(30, 34, dtype=np.uint8)[:, None, None] + np.zeros((4, 16, 18), np.uint8)
    tifffile.imwrite(tmp_path / "e" / "stack.tif", pages, photometric="minisblack")
    write(tmp_path / "e" / "single" / "s.png", np.zeros((16, 18), np.uint8))
    return tmp_path / "e"


@pytest.mark.parametrize("side", [8, None])
def test_each_step_trains_one_exposure_on_another_of_the_same_thing(exposures, side):
    data = load_exposures(exposures, side)
    assert len(data) == 9
    assert "left out 1 with one exposure" in " ".join(data.notes)
    seen = set()
    for step in range(40):
        x, damaged, _ = data.take(all_rows(data), StepNoise(0, step))
        pairs = {tuple(pair) for pair in torch.stack([x[:, 0, 0, 0], damaged[:, 0, 0, 0]], 1).tolist()}
        assert all(a != b and a // 10 == b // 10 for a, b in pairs)
        seen |= pairs
    assert len(seen) == 6 + 2 + 12  # all that there are
    again = data.take(all_rows(data)), data.take(all_rows(data))
    assert torch.equal(again[0].damaged, again[1].damaged)


def test_whole_things_are_held_out(exposures):
    data = load_exposures(exposures)
    training, held_out = (set((data.images[rows, 0, 0, 0] // 10).tolist()) for rows in data.split(2))
    assert training | held_out == {1, 2, 3}
    assert not training & held_out
    one = Dataset(torch.zeros(10, 1, 4, 4), "one", (0, 1), things=torch.zeros(10, dtype=torch.int64))
    assert [len(rows) for rows in one.split(2)] == [8, 2]  # of a single thing, exposures


def test_exposures_keep_their_depth_and_have_one_range(tmp_path):
    deep = RANDOM.integers(0, 1000, (3, 12, 12)).astype(np.uint16)
    (tmp_path / "e").mkdir()
    tifffile.imwrite(tmp_path / "e" / "stack.tif", deep, photometric="minisblack")
    data = load_exposures(tmp_path / "e")
    assert np.array_equal(data.images[:, 0].numpy(), deep)
    assert data.span == (0, 1023)
    assert as_noisy(data).span == (0, 1023)  # no integer leaves it


def test_what_holds_no_exposures_is_refused(exposures, tmp_path):
    with pytest.raises(InputError, match=r"nothing in .* has two exposures"):
        load_exposures(exposures / "single")
    write(exposures / "thing1" / "9.png", np.zeros((16, 16), np.uint8))
    with pytest.raises(InputError, match="differ in size"):
        load_exposures(exposures)
    with pytest.raises(InputError, match="no folder"):
        load_exposures(tmp_path / "nowhere")

import numpy as np
import pytest
import torch

from dae_sampler import data
from dae_sampler.data.dataset import Batch, Dataset, as_dataset
from dae_sampler.errors import InputError
from dae_sampler.pixels import to_float


@pytest.mark.parametrize(
    ("dtype", "span"), [(torch.uint8, (0, 255)), (torch.uint16, (0, 4095)), (torch.float32, (0, 1))]
)
def test_batches_come_in_the_type_of_the_files(dtype, span):
    images = (torch.rand(20, 3, 4, 5) * span[1]).to(dtype)
    dataset = Dataset(images, "mine", span)
    assert (len(dataset), dataset.shape) == (20, (3, 4, 5))
    rows = torch.tensor([19, 0, 3, 3])
    batch = dataset.take(rows)
    assert batch == Batch(batch.x, None, None)
    assert batch.x.dtype == dtype
    assert torch.equal(to_float(batch.x), to_float(images[rows]))


def test_an_unknown_row_is_an_error():
    dataset = as_dataset(torch.rand(3, 1, 4, 4))
    with pytest.raises(IndexError):
        dataset.take(torch.tensor([3]))


def test_tensors_and_arrays_are_data_sets():
    assert as_dataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "mine").name == "mine"
    assert as_dataset(np.zeros((2, 1, 4, 4), np.uint8)).span == (0, 255)
    assert as_dataset(np.ones((2, 1, 4, 4), bool)).span == (0, 1)
    dataset = data.load("digits")
    assert as_dataset(dataset) is dataset
    with pytest.raises(InputError, match="there are none"):
        as_dataset(torch.rand(0, 1, 4, 4))


def test_rounding_beyond_the_range_is_clipped_as_it_is_taken():
    images = torch.tensor([[[[-1e-5, 1.0000001]]]])
    x = as_dataset(images).take(torch.tensor([0])).x
    assert x.flatten().tolist() == [0, 1]
    assert images.min() < 0  # the caller's are as they were


@pytest.mark.parametrize(
    ("low", "high", "cure"), [(0, 255, "divide by 255"), (0, 1.2, "clip"), (-1, 1, r"\(x \+ 1\) / 2")]
)
def test_targets_outside_are_refused_with_a_cure_that_fits(low, high, cure):
    with pytest.raises(InputError, match=cure):
        as_dataset(torch.linspace(low, high, 16).view(1, 1, 4, 4))


def test_the_fingerprint_is_that_of_the_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (500, 1, 8, 8), dtype=np.uint8)
    fingerprints = set()
    for name in ("here.npy", "there.npy"):
        np.save(tmp_path / name, images)
        fingerprints.add(data.load(tmp_path / name).fingerprint())
    fingerprints.add(as_dataset(images).fingerprint())
    assert len(fingerprints) == 1
    others = (
        images[:-1],
        images.view(np.int8) >= 0,
        images.reshape(500, 1, 4, 16),
        images[::-1],
        np.roll(images, 1, 0),
    )
    fingerprints |= {as_dataset(other).fingerprint() for other in others}
    assert len(fingerprints) == 6


def test_the_fingerprint_sees_every_image_of_a_small_set():
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8)
    before = as_dataset(images).fingerprint()
    for row in (0, 31, 63):
        changed = images.clone()
        changed[row, 0, 7, 7] ^= 1
        assert as_dataset(changed).fingerprint() != before

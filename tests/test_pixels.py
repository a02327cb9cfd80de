import numpy as np
import pytest
import torch

from dae_sampler.errors import InputError
from dae_sampler.noise import ImageNoise, StepNoise
from dae_sampler.pixels import as_images, augment, binarise, describe_range, find_range, to_float, to_uint8

OFFSETS = (-2, -1, 0, 1, 2)
BYTE, SHORT, FLOAT = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "span"),
    [
        (BYTE, 3, 200, (0, 255)),
        (BYTE, 0, 0, (0, 255)),
        (BYTE, 0, 1, (0, 1)),
        (SHORT, 0, 65535, (0, 65535)),
        (SHORT, 0, 16384, (0, 65535)),
        (SHORT, 0, 16383, (0, 16383)),
        (SHORT, 7, 4000, (0, 4095)),
        (SHORT, 0, 4096, (0, 8191)),
        (SHORT, 0, 1, (0, 1)),
        (SHORT, 0, 0, (0, 65535)),
        (FLOAT, 0.0, 1.0, (0, 1)),
        (FLOAT, -1.9, 2.9, (0, 1)),
        (FLOAT, 0.0, 0.2, (0, 0.2)),
        (FLOAT, -2.1, 1.0, (-2.1, 1)),
        (FLOAT, 0.0, 812.0, (0, 812)),
        (FLOAT, 0.0, 0.0, (0, 1)),
    ],
)
def test_the_range_follows_from_the_extreme_values(dtype, low, high, span):
    assert find_range(dtype, low, high) == span


def test_a_constant_far_outside_is_black():
    span = find_range(FLOAT, 5.0, 5.0)
    assert to_float(torch.full((1, 1, 2, 2), 5.0), span).tolist() == [[[[0, 0], [0, 0]]]]


def test_only_a_range_other_than_the_full_one_is_told():
    assert describe_range(SHORT, (0, 65535), "a.tif") == describe_range(FLOAT, (0, 1), "a.tif") == ""
    assert describe_range(SHORT, (0, 4095), "a.tif") == "a.tif: values from 0 (black) to 4095 (white)"


def test_bytes_become_floats_as_they_always_did():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_float(x), x.float() / 255)
    assert torch.equal(to_float(x, (0, 255)), x.float() / 255)
    assert torch.equal(to_uint8(to_float(x)), x)


def test_sixteen_bits_have_a_full_range_too():
    x = torch.from_numpy(np.array([[[[0, 65535]]]], np.uint16))
    assert to_float(x).flatten().tolist() == [0, 1]


def test_values_outside_a_range_stay_outside():
    x = torch.from_numpy(np.array([[[[0, 1000, 5095]]]], np.uint16))
    assert to_float(x, (1000, 4095 + 1000)).flatten().tolist() == pytest.approx([-1000 / 4095, 0, 1])
    y = torch.tensor([[[[-0.5, 1.5]]]])
    assert torch.equal(to_float(y), y)


@pytest.mark.parametrize("make", [torch.from_numpy, lambda array: array])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float16, np.float32, np.float64, ">f4", np.longdouble])
def test_images_of_one_meaning_are_accepted(make, dtype):
    array = np.zeros((2, 4, 3, 5), dtype)
    array[0] = 1
    if make is torch.from_numpy and dtype in (">f4", np.longdouble):
        pytest.skip("no tensor has this type")
    x = as_images(make(array))
    assert x.dtype == (torch.uint8 if dtype == np.uint8 else torch.float32)
    assert x.shape == (2, 4, 3, 5)
    assert x[0].eq(1).all()
    assert not x[1].any()


def test_read_only_and_turned_arrays_are_accepted():
    array = np.arange(24, dtype=np.uint8).reshape(1, 1, 4, 6)[..., ::-1]
    array.flags.writeable = False
    assert as_images(array).flatten().tolist() == array.ravel().tolist()


def test_no_images_at_all_are_accepted():
    assert as_images(torch.empty(0, 1, 4, 4), shape=(1, 4, 4), beyond=0).shape == (0, 1, 4, 4)


def test_gradients_pass_through():
    x = torch.rand(1, 1, 2, 2, requires_grad=True)
    as_images(x, beyond=0).sum().backward()
    assert x.grad.eq(1).all()


@pytest.mark.parametrize(
    ("x", "cure"),
    [
        (torch.randint(0, 256, (1, 1, 4, 4)), "give uint8"),
        (np.ones((1, 1, 4, 4), np.int32), "bool"),
        (np.full((1, 1, 4, 4), 4000, np.uint16), "divided by the value of white"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.complex64), "uint8 or floats"),
        (np.zeros((1, 1, 4, 4), complex), "uint8 or floats"),
        (np.zeros((1, 1, 4, 4), "U3"), "uint8 or floats"),
        ([[0.0]], "tensor or an array"),
        (torch.full((1, 1, 4, 4), torch.nan), "not finite"),
        (np.full((1, 1, 4, 4), -np.inf), "not finite"),
        (np.full((1, 1, 4, 4), 1e300), "not finite"),
        (torch.zeros(4, 4), r"x\[None, None\]"),
        (torch.zeros(1, 4, 4), r"x\[None\].*x\[:, None\]"),
        (np.zeros((32, 32, 3)), r"x\[None\]\.transpose\(0, 3, 1, 2\)"),
        (torch.zeros(32, 32, 3), r"x\[None\]\.permute\(0, 3, 1, 2\)"),
        (torch.zeros(2, 32, 32, 3), r"give x\.permute\(0, 3, 1, 2\)"),
        (np.zeros((2, 32, 32, 3)), r"give x\.transpose\(0, 3, 1, 2\)"),
        (torch.zeros(2, 100, 32, 32), "100 channels"),
        (torch.zeros(2, 1, 0, 4), "a pixel or more"),
    ],
)
def test_what_has_several_meanings_is_refused_with_its_cure(x, cure):
    with pytest.raises(InputError, match=cure):
        as_images(x)


def test_another_shape_is_refused_with_both_shapes():
    for found, words in (((2, 1, 8, 8), ("1x8x8", "1x4x4")), ((2, 4, 4, 1), ("4x4x1", "permute(0, 3, 1, 2)"))):
        with pytest.raises(InputError) as error:
            as_images(torch.zeros(found), shape=(1, 4, 4))
        assert all(word in str(error.value) for word in words)
    with pytest.raises(InputError, match=r"x\[:, None\]"):
        as_images(torch.zeros(2, 4, 4), shape=(1, 4, 4))
    with pytest.raises(InputError, match=r"one image give x\[None\]"):
        as_images(torch.zeros(1, 4, 4), shape=(1, 4, 4))


@pytest.mark.parametrize(
    ("low", "high", "beyond", "cure"),
    [
        (0, 255, 1.2, "divide by 255"),
        (0, 200, 0, "divide by 255"),
        (0, 4095, 0, "black is 0 and white is 1"),
        (-1, 1, 0, r"\(x \+ 1\) / 2"),
        (0, 1.3, 0, r"clip them to \[0,1\]"),
        (-0.2, 1.3, 0.1, r"clip them to \[-0.1,1.1\], or raise the `level`"),
    ],
)
def test_floats_outside_are_refused_by_a_cure_that_ruins_nothing(low, high, beyond, cure):
    x = torch.linspace(low, high, 16).view(1, 1, 4, 4)
    with pytest.raises(InputError, match=cure) as error:
        as_images(x, beyond=beyond)
    assert high > 3 or "divide" not in str(error.value)
    assert torch.equal(as_images(x), x)  # any distance is let through where none is asked about


@pytest.mark.parametrize("high", [1.0000001, 1.0009])
def test_rounding_is_tolerated(high):
    x = torch.tensor([[[[-1e-4, high]]]])
    assert torch.equal(as_images(x, beyond=0), x)


def test_binarising_keeps_the_mean_or_cuts_at_a_half():
    x = torch.full((4, 1, 100, 100), 0.3)
    drawn = binarise(x, "dynamic", StepNoise(0, 0))
    assert drawn.unique().tolist() == [0, 1]
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.01)
    assert not binarise(x, "threshold", StepNoise(0, 0)).any()
    with pytest.raises(InputError, match="dynamic"):
        binarise(x, "dynamics", StepNoise(0, 0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_mirrored_images_are_turned_left_to_right_or_as_they_were(dtype):
    x = (torch.rand(100, 3, 4, 5) * 200).to(dtype)
    y = augment(x, "mirror", ImageNoise(0, 0, 100))
    turned, same = ((to_float(y) == other).all((1, 2, 3)) for other in (to_float(x).flip(3), to_float(x)))
    assert (turned ^ same).all()
    assert 30 < turned.sum() < 70


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_shifted_images_move_whole_by_every_small_offset(dtype):
    x = torch.zeros(400, 3, 32, 20, dtype=dtype)
    x[:, :, 16, 10] = torch.tensor([2, 5, 10]).to(dtype)
    y = augment(x, "shift", ImageNoise(0, 0, 400)).float()
    image, row, column = torch.nonzero(y[:, 2], as_tuple=True)
    assert image.tolist() == list(range(400))
    assert set(zip(row.tolist(), column.tolist(), strict=True)) == {(16 + a, 10 + b) for a in OFFSETS for b in OFFSETS}
    assert torch.equal(y[image, :, row, column], x[:, :, 16, 10].float())


def test_shifted_images_repeat_their_edge():
    edge = torch.linspace(0, 1, 32)[:, None].expand(400, 3, 32, 20)
    assert (augment(edge, "shift", ImageNoise(1, 0, 400)).diff(dim=2) >= 0).all()  # nothing comes round
    with pytest.raises(InputError, match="mirror"):
        augment(edge, "mirrored", ImageNoise(0, 0, 400))

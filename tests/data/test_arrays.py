import numpy as np
import pytest

from dae_sampler.data.arrays import from_array, load_array
from dae_sampler.errors import InputError

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "as_images"),
    [
        ((5, 8, 9), (5, 1, 8, 9)),
        ((5, 1, 8, 9), (5, 1, 8, 9)),
        ((5, 3, 8, 9), (5, 3, 8, 9)),
        ((5, 8, 9, 1), (5, 1, 8, 9)),
        ((5, 8, 9, 3), (5, 3, 8, 9)),
        ((5, 8, 9, 4), (5, 4, 8, 9)),
        ((5, 5, 8, 9), (5, 5, 8, 9)),
        ((5, 16, 20, 20), (5, 16, 20, 20)),
        ((5, 20, 20, 16), (5, 16, 20, 20)),
        ((5, 3, 8, 3), (5, 3, 8, 3)),
        ((500, 2, 2), (500, 1, 2, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64, bool])
def test_arrays_of_every_layout(shape, as_images, dtype):
    array = (GENERATOR.random(shape) * np.array(1 if dtype in (np.float64, bool) else 250)).astype(dtype)
    array.flat[0] = 1
    pixels = from_array(array).pixels
    assert pixels.shape == as_images
    assert pixels.dtype == {np.float64: np.float32, bool: np.uint8}.get(dtype, dtype)
    assert pixels.sum(dtype=float) == pytest.approx(array.sum(dtype=float) * (255 if dtype is bool else 1), rel=1e-5)
    last = array.ndim == 4 and shape[1] != as_images[1]
    assert pixels[-1, -1, -1, -2] == pytest.approx(
        (array[-1, -1, -2, -1] if last else array[(-1, -1, -1, -2)[-array.ndim :]]) * (255 if dtype is bool else 1)
    )


@pytest.mark.parametrize(
    ("values", "dtype", "span", "is_told"),
    [
        ((0, 128, 255), np.uint8, (0, 255), False),
        ((0, 1, 1), np.uint8, (0, 1), True),
        ((0, 1, 0), bool, (0, 255), False),
        ((0, 7, 4000), np.uint16, (0, 4095), True),
        ((0, 7, 4000), ">u2", (0, 4095), True),
        ((0, 7, 40000), np.uint16, (0, 65535), False),
        ((0, 7, 255), np.int64, (0, 255), True),
        ((0, 1, 1), np.int8, (0, 1), True),
        ((0, 0.3, 1), np.float16, (0, 1), False),
        ((-0.4, 0.3, 1.4), np.float32, (0, 1), False),
        ((-1000, 0, 3095), np.float64, (-1000, 3095), True),
    ],
)
def test_the_range_is_that_of_the_whole_array_and_told_where_it_is_no_usual_one(values, dtype, span, is_told):
    array = np.array(values, dtype)[:, None, None].repeat(8, 1).repeat(8, 2)
    stack = from_array(array, "a.npy")
    assert stack.span == span
    told = f"a.npy: values from {span[0]} (black) to {span[1]} (white)"
    assert stack.notes == ["a.npy is taken as 3 grey pictures: save x[None] if it is one in colour"] + is_told * [told]


@pytest.mark.parametrize("values", [(-1000, 0, 3095), (0, 1, 65536)])
def test_integers_that_are_no_pixels_are_refused(values):
    array = np.array(values)[:, None, None].repeat(8, 1).repeat(8, 2)
    with pytest.raises(InputError, match=rf"{values[0]} to {values[-1]}.*astype\('float32'\)"):
        from_array(array)


def test_a_range_that_is_given_holds():
    assert from_array(np.full((4, 8, 8), 4000, np.uint16), span=(0, 65535)).span == (0, 65535)
    assert from_array(np.full((4, 8, 8), 300.0), span=(0, 1000), beyond=0).notes == []
    with pytest.raises(InputError, match="clip"):
        from_array(np.full((4, 8, 8), 1300.0), span=(0, 1000), beyond=0.2)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.full((2, 8, 8), np.nan), "finite"),
        (np.full((2, 8, 8), np.inf), "finite"),
        (np.full((2, 8, 8), 1e200), "finite"),
        (np.full((2, 8, 8), -0.5), "clip"),
        (np.linspace(0, 1.2, 128).reshape(2, 8, 8), "clip"),
        (np.linspace(-1, 1, 128).reshape(2, 8, 8), r"\(x \+ 1\) / 2"),
        (np.full((2, 8, 8), 70000), "65535"),
        (np.zeros((8, 8)), "images are"),
        (np.zeros(()), "images are"),
        (np.zeros((0, 8, 8)), "images are"),
        (np.zeros((2, 0, 8)), "images are"),
        (np.zeros((2, 100, 32, 32)), "1 to 16 channels"),
        (np.zeros((2, 8, 8), complex), "complex"),
        (np.zeros((2, 8, 8), "U3"), "<U3"),
        (np.zeros((2, 8, 8), object), "object"),
        (np.zeros((32, 32, 3), np.uint8), r"x\[None\]"),
        (np.zeros((32, 48, 4)), r"x\[None\]"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array, word):
    with pytest.raises(InputError, match=word):
        from_array(array, "a.npy", beyond=0)


def test_rounding_is_tolerated_and_never_divided_by_255():
    assert from_array(np.linspace(0, 1.0000001, 64).reshape(1, 8, 8), beyond=0).span == (0, 1)


def test_three_grey_pictures_may_be_one_in_colour():
    assert "x[None]" in from_array(np.zeros((3, 32, 32), np.uint8), "a.npy").notes[0]
    assert from_array(np.zeros((3, 1, 32, 32), np.uint8), "a.npy").notes == []


def test_the_range_of_bytes_is_found_without_reading_a_large_file():
    class Counted(np.ndarray):
        looks = 0

        def max(self, *arguments, **options):
            Counted.looks += 1
            return super().max(*arguments, **options)

    array = np.full((10_000, 2, 2), 9, np.uint8).view(Counted)
    from_array(array)
    assert Counted.looks == 1


def test_nothing_is_ever_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", np.array([{"a": 1}], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InputError, match="as a numpy array"):
            load_array(tmp_path / name)


def test_files_are_mapped(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8), np.uint8))
    array = load_array(tmp_path / "a.npy")
    assert isinstance(array, np.memmap)
    assert isinstance(from_array(array).pixels, np.memmap)
    array[0] = 1  # stays in memory
    assert not np.load(tmp_path / "a.npy").any()


def test_archive_of_arrays(tmp_path):
    np.savez(tmp_path / "one.npz", whatever=np.zeros((2, 8, 8)))
    np.savez(tmp_path / "two.npz", images=np.zeros((3, 8, 8)), labels=np.zeros(3))
    np.savez(tmp_path / "unclear.npz", a=np.zeros((3, 8, 8)), b=np.zeros(3))
    assert len(load_array(tmp_path / "one.npz")) == 2
    assert len(load_array(tmp_path / "two.npz")) == 3
    with pytest.raises(InputError, match="a, b"):
        load_array(tmp_path / "unclear.npz")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"hello", b"PK\x03\x04"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npy"):
        load_array(tmp_path / "a.npy")

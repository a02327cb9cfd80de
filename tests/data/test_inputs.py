import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import files
from dae_sampler.data import inputs as reading
from dae_sampler.data import workers
from dae_sampler.data.inputs import open_inputs
from dae_sampler.errors import InputError

SHAPE = (1, 8, 8)
RAMP = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)


def gradient(mode="L", size=(8, 8)):
    ramp = np.linspace(0, 255, size[0] * size[1]).astype(np.uint8).reshape(size[::-1])
    return Image.fromarray(ramp).convert(mode)


def read(source, shape, size=64, **options):
    """Everything at once."""
    inputs = open_inputs(source, shape, **options)
    batches = list(inputs.batches(size))
    return inputs, torch.cat([x for x, _ in batches]), [name for _, names in batches for name in names]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 5, 9)])
def test_every_mode_of_picture_becomes_the_models_shape(tmp_path, mode, shape):
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "F") else "a.png")
    if mode == "I;16":
        picture = Image.fromarray(RAMP.astype(np.uint16) * 257)
    elif mode == "F":
        picture = Image.fromarray(RAMP.astype(np.float32) / 255)
    else:
        picture = gradient(mode)
    picture.save(path)
    _, images, names = read(path, shape)
    assert names == ["a"]
    assert images.shape == (1, *shape)
    assert images.dtype == (torch.float32 if mode in ("I;16", "F") else torch.uint8)
    if shape == SHAPE and mode not in ("1", "CMYK"):
        x = images if images.dtype == torch.uint8 else images * 255
        assert (x[0, 0].float() - torch.from_numpy(RAMP).float()).abs().max() <= 1


def test_a_folder_keeps_names_at_any_depth_and_says_what_it_changed(tmp_path):
    (tmp_path / "deep").mkdir()
    gradient().save(tmp_path / "a.png")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.jpg")
    gradient(size=(16, 9)).save(tmp_path / "deep" / "b.png")
    gradient("RGB").save(tmp_path / "deep" / "grey.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    inputs, images, names = read(tmp_path, SHAPE)
    assert names == ["a.jpg", "a.png", "deep/b", "deep/grey"]
    assert inputs.count == 5
    assert len(images) == 4
    assert inputs.notes == [
        "left out 1 file that is not a picture (.txt)",
        "1 of 4 pictures was cropped and resized to 8x8",
        "1 of 4 pictures was made grey",
    ]
    assert len(inputs.skipped) == 1
    assert "broken.png" in inputs.skipped[0]
    with pytest.raises(InputError, match=r"broken\.png"):
        read(tmp_path, SHAPE, strict=True)


def test_pictures_may_keep_their_sizes_and_colours(tmp_path):
    for i, (size, mode) in enumerate((((8, 9), "L"), ((8, 9), "L"), ((9, 8), "L"), ((9, 8), "RGB"), ((9, 8), "RGB"))):
        Image.new(mode, size, "red" if mode == "RGB" else i).save(tmp_path / f"{i}.png")
    inputs = open_inputs(tmp_path, None)
    batches = [(tuple(x.shape), names) for x, names in inputs.batches(4)]
    assert batches == [((2, 1, 9, 8), ["0", "1"]), ((1, 1, 8, 9), ["2"]), ((2, 3, 8, 9), ["3", "4"])]
    assert inputs.notes == []
    assert [len(x) for x, _ in inputs.batches(1)] == 5 * [1]


def test_batches_come_in_order_whatever_their_size_and_the_number_of_threads(tmp_path, monkeypatch):
    for i in range(20):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i:02}.png")
    monkeypatch.setattr(workers, "WORTH_A_THREAD", 0)
    monkeypatch.setattr(workers, "_cores", lambda: 4)
    for size in (1, 3, 20, 64):
        _, images, _ = read(tmp_path, SHAPE, size)
        assert images[:, 0, 0, 0].tolist() == list(range(20))


def test_only_a_few_pictures_are_read_ahead(tmp_path, monkeypatch):
    for i in range(100):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i:02}.png")
    monkeypatch.setattr(workers, "WORTH_A_THREAD", 0)
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    opened, real = [], reading.pictures.read
    monkeypatch.setattr(reading.pictures, "read", lambda *arguments: opened.append(arguments) or real(*arguments))
    batches = open_inputs(tmp_path, SHAPE).batches(4)
    next(batches)
    assert len(opened) <= 12
    batches.close()


def test_pictures_of_another_size_can_be_refused_with_both_sizes(tmp_path):
    gradient(size=(16, 9)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is 16x9, the model takes 8x8: set `resize`"):
        read(tmp_path, SHAPE, fit=None)
    for fit in ("crop", "pad", "squash"):
        assert read(tmp_path, SHAPE, fit=fit)[1].shape == (1, *SHAPE)


def test_a_model_of_other_channels_takes_no_pictures(tmp_path):
    gradient().save(tmp_path / "a.png")
    with pytest.raises(InputError, match="1 channels"):
        read(tmp_path, (4, 8, 8))


def test_a_single_picture_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    for source in (tmp_path / "a.png", tmp_path):
        with pytest.raises(InputError, match=r"a\.png"):
            read(source, SHAPE)
    (tmp_path / "b.png").write_bytes(b"no")
    with pytest.raises(InputError, match="none of the 2 pictures"):
        read(tmp_path, SHAPE)
    with pytest.raises(InputError, match="no picture at"):
        read(tmp_path / "c.png", SHAPE)
    with pytest.raises(InputError, match="'white'"):
        read(tmp_path, SHAPE, over="whit")


@pytest.fixture
def microscope(tmp_path):
    """12 bits in 16, in some pictures fewer."""
    folder = tmp_path / "microscope"
    folder.mkdir()
    for i, top in enumerate((100, 4095, 2000)):
        Image.fromarray((RAMP * (top / 255)).astype(np.uint16)).save(folder / f"{i}.tif")
    return folder


def test_the_range_is_found_over_all_files_and_said_at_once(microscope):
    inputs = open_inputs(microscope, SHAPE)
    assert inputs.span == (0, 4095)
    assert inputs.notes == [f"the 16-bit pictures in {microscope}: values from 0 (black) to 4095 (white)"]
    _, images, _ = read(microscope, SHAPE)
    assert images.amax((1, 2, 3)).tolist() == pytest.approx([100 / 4095, 1, 2000 / 4095])
    for span in ((0, 65535), (0, 1000)):
        inputs, images, _ = read(microscope, SHAPE, span=span)
        assert images.max().item() == pytest.approx(4095 / span[1])  # not clipped
        assert (inputs.span, inputs.notes) == (span, [])


def test_each_type_of_a_mixed_folder_has_its_own_range(microscope):
    gradient().save(microscope / "a.png")
    inputs, images, _ = read(microscope, SHAPE)
    assert images.dtype == torch.float32
    assert images.amax((1, 2, 3)).tolist() == pytest.approx([100 / 4095, 1, 2000 / 4095, 1])
    assert "8-bit and 16-bit" in inputs.notes[-1]


def test_a_range_is_used_on_whatever_is_given(tmp_path):
    gradient().save(tmp_path / "a.png")
    _, images, _ = read(tmp_path, SHAPE, span=(0, 1000))
    assert images.max().item() == pytest.approx(0.255)
    _, images, _ = read(tmp_path, SHAPE, span=(0, 255))
    assert images.dtype == torch.uint8


def test_a_picture_of_only_0_and_1_is_told_of(tmp_path):
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "a.png")
    inputs, _, _ = read(tmp_path, SHAPE)
    assert "0..1" in inputs.notes[0]
    inputs, images, _ = read(tmp_path, SHAPE, span=(0, 1))
    assert images.unique().tolist() == [0, 1]
    assert inputs.notes == []


def test_noisy_floats_are_let_through_as_far_as_noise_goes(tmp_path):
    noisy = np.linspace(-1, 2, 64).reshape(1, 8, 8).astype(np.float32)
    np.save(tmp_path / "a.npy", noisy)
    Image.fromarray(noisy[0]).save(tmp_path / "a.tif")
    for name in ("a.npy", "a.tif"):
        _, images, _ = read(tmp_path / name, SHAPE, beyond=1.5)
        assert images.min() == -1
        with pytest.raises(InputError, match="raise the `level`"):
            read(tmp_path / name, SHAPE, beyond=0.5)
        with pytest.raises(InputError, match="clip"):
            read(tmp_path / name, SHAPE)


def test_arrays(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    inputs, images, names = read(tmp_path / "a.npy", (3, 8, 8), 4)
    assert torch.equal(images, torch.from_numpy(array).permute(0, 3, 1, 2))
    assert names == [f"{i:06d}" for i in range(10)]
    assert (inputs.count, inputs.files, inputs.notes) == (10, [tmp_path / "a.npy"], [])
    inputs, images, _ = read(tmp_path / "a.npy", (1, 5, 9))
    assert images.shape == (10, 1, 5, 9)
    assert inputs.notes == ["the images were brought from 3x8x8 to the model's 1x5x9 (CxHxW)"]
    with pytest.raises(InputError, match="5x9"):
        read(tmp_path / "a.npy", (3, 9, 5), fit=None)


def test_arrays_of_more_bits_and_of_more_channels(tmp_path):
    array = np.arange(2 * 5 * 64, dtype=np.uint16).reshape(2, 5, 8, 8)
    np.save(tmp_path / "a.npy", array)
    inputs, images, _ = read(tmp_path / "a.npy", (5, 8, 8))
    assert inputs.span == (0, 1023)
    assert torch.allclose(images, torch.from_numpy(array.astype(np.float32)) / 1023)
    assert read(tmp_path / "a.npy", None, span=(0, 639))[1].max() == 1


def test_noisy_arrays_are_not_resized(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((2, 16, 16)))
    assert read(tmp_path / "a.npy", SHAPE)[1].shape == (2, *SHAPE)
    with pytest.raises(InputError, match="averages their noise"):
        open_inputs(tmp_path / "a.npy", SHAPE, beyond=1.5)


def test_a_large_array_is_neither_read_nor_named_at_once(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=(10**8, 1, 8, 8))  # a hole
    array[0] = 9
    del array
    inputs = open_inputs(tmp_path / "a.npy", SHAPE)
    x, names = next(inputs.batches(100))
    assert (x.shape, names[-1]) == ((100, *SHAPE), "000099")
    assert (inputs.count, next(iter(inputs.names))) == (10**8, "000000")


def test_one_picture_as_an_array_is_refused_with_its_cure(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"x\[None\]"):
        open_inputs(tmp_path / "a.npy", (3, 32, 32))


def test_what_is_written_inside_is_not_read(tmp_path):
    gradient().save(tmp_path / "a.png")
    (tmp_path / "denoised").mkdir()
    gradient().save(tmp_path / "denoised" / "a.png")
    inputs = open_inputs(tmp_path, SHAPE, without=[tmp_path / "denoised"])
    assert inputs.names == ["a"]
    assert inputs.notes == ["left out 1 output folder (denoised)"]
    files.check_apart(inputs.files, [tmp_path / "denoised" / "a.png"])
    with pytest.raises(InputError, match="destroy"):
        files.check_apart(inputs.files, [tmp_path / "a.png"])


def test_remarks_are_said_once_with_how_many_they_hold_for(tmp_path):
    for i in range(3):
        gradient().save(tmp_path / f"{i}.tif", save_all=True, append_images=[gradient()])
    inputs, images, _ = read(tmp_path, SHAPE)
    assert len(images) == 3
    assert inputs.notes == [f"{tmp_path / '0.tif'} holds 2 pages, of which the first is read (as for 2 more)"]
    assert len(list(inputs.batches(1))) == 3  # a second time, and nothing is said twice
    assert len(inputs.notes) == 1

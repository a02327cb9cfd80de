import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import make_grid

from dae_sampler.data import pictures as images
from dae_sampler.errors import InputError
from dae_sampler.noise import ImageNoise

SHAPE = (1, 8, 8)
OFFSETS = (-2, -1, 0, 1, 2)


def gradient(mode="L", size=(8, 8)):
    ramp = np.linspace(0, 255, size[0] * size[1]).astype(np.uint8).reshape(size[::-1])
    return Image.fromarray(ramp).convert(mode)


@pytest.mark.parametrize("extension", [".png", ".bmp", ".pgm", ".tiff"])
def test_lossless_picture_is_a_round_trip(tmp_path, extension):
    pixels = torch.randint(0, 256, SHAPE, dtype=torch.uint8)
    images.save_picture(images.to_picture(pixels), tmp_path / f"a{extension}")
    assert torch.equal(images.load(tmp_path / f"a{extension}", SHAPE).images[0], pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 5, 9)])
def test_every_mode_of_picture_becomes_the_models_shape(tmp_path, mode, shape):
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "F") else "a.png")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(gradient()).astype(np.uint16) * 257)
    elif mode == "F":
        picture = Image.fromarray(np.asarray(gradient()).astype(np.float32) / 255)
    else:
        picture = gradient(mode)
    picture.save(path)
    loaded = images.load(path, shape).images
    assert loaded.shape == (1, *shape)
    assert loaded.dtype == torch.uint8
    if shape == SHAPE and mode not in ("1", "CMYK"):
        assert (loaded[0, 0].int() - torch.from_numpy(np.array(gradient())).int()).abs().max() <= 1


def test_transparency_is_laid_over_black(tmp_path):
    Image.new("RGBA", (8, 8), (200, 200, 200, 128)).save(tmp_path / "a.png")
    assert images.load(tmp_path / "a.png", SHAPE).images.unique().tolist() == [100]


def test_rotation_tag_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    gradient().save(tmp_path / "a.png", exif=exif)
    turned = torch.from_numpy(np.array(gradient().rotate(180)))
    assert torch.equal(images.load(tmp_path / "a.png", SHAPE).images[0, 0], turned)


def test_folder_keeps_names_at_any_depth_and_says_what_it_changed(tmp_path):
    (tmp_path / "deep").mkdir()
    gradient().save(tmp_path / "a.png")
    gradient("RGB").save(tmp_path / "a.jpg")
    gradient(size=(16, 9)).save(tmp_path / "deep" / "b.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    loaded = images.load(tmp_path, SHAPE)
    assert loaded.names == ["a.jpg", "a.png", "deep/b"]
    assert len(loaded.images) == 3
    notes = " ".join(loaded.notes)
    assert len(loaded.skipped) == 1
    assert "broken.png" in loaded.skipped[0]
    assert "1 of 3 pictures were resized" in notes
    assert "made grey" in notes
    with pytest.raises(InputError, match=r"broken\.png"):
        images.load(tmp_path, SHAPE, strict=True)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"hello"])
def test_unreadable_pictures_are_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png"):
        images.load(tmp_path / "a.png", SHAPE)


def test_decompression_bombs_are_refused(tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="exceeds limit"):
        images.load(tmp_path / "a.png", SHAPE)


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 1, 8, 8), (5, 8, 8, 1), (5, 3, 8, 8), (5, 8, 8, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, bool])
def test_arrays_of_every_layout(shape, dtype):
    array = (np.random.default_rng(0).random(shape) * (255 if dtype == np.uint8 else 1)).astype(dtype)
    loaded = images.from_array(array)
    assert loaded.shape in ((5, 1, 8, 8), (5, 3, 8, 8))
    expected = array.astype(np.float64).sum() / (255 if dtype == np.uint8 else 1)
    assert images.to_float(loaded).double().sum().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.full((2, 8, 8), np.nan), "finite"),
        (np.full((2, 8, 8), np.inf), "finite"),
        (np.full((2, 8, 8), 200.0), "divide by 255"),
        (np.full((2, 8, 8), -0.5), "scale"),
        (np.full((2, 8, 8), 7), "divide by 255"),
        (np.zeros((8, 8)), "images are"),
        (np.zeros((0, 8, 8)), "images are"),
        (np.zeros((2, 5, 8, 8)), "images are"),
        (np.zeros((2, 8, 8), complex), "complex"),
        (np.zeros((2, 8, 8), "U3"), "holds"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array, word):
    with pytest.raises(InputError, match=word):
        images.from_array(array)


def test_noisy_floats_are_let_through_as_far_as_noise_goes(tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(-1, 2, 64).reshape(1, 8, 8))
    assert images.load(tmp_path / "a.npy", SHAPE, beyond=1.5).images.min() == -1
    with pytest.raises(InputError):
        images.load(tmp_path / "a.npy", SHAPE, beyond=0.5)


def test_nothing_is_ever_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="allow_pickle"):
        images.load(tmp_path / "a.npy", SHAPE)


def test_archive_of_arrays(tmp_path):
    np.savez(tmp_path / "one.npz", whatever=np.zeros((2, 8, 8)))
    np.savez(tmp_path / "two.npz", images=np.zeros((3, 8, 8)), labels=np.zeros(3))
    np.savez(tmp_path / "unclear.npz", a=np.zeros((3, 8, 8)), b=np.zeros(3))
    assert len(images.load(tmp_path / "one.npz", SHAPE).images) == 2
    assert len(images.load(tmp_path / "two.npz", SHAPE).images) == 3
    with pytest.raises(InputError, match="a, b"):
        images.load(tmp_path / "unclear.npz", SHAPE)


def test_writer_streams_arrays_and_folders(tmp_path):
    x = torch.rand(5, 1, 8, 8)
    for out in (tmp_path / "x.npy", tmp_path / "x", tmp_path / "x.png"):
        with images.Writer(out, 5) as writer:
            writer.add(x[:3])
            writer.add(x[3:])
    assert np.array_equal(np.load(tmp_path / "x.npy"), x.numpy())
    assert torch.equal(images.load(tmp_path / "x", SHAPE).images, images.to_uint8(x))
    assert (tmp_path / "x.png").is_file()


@pytest.mark.parametrize("name", ["x.npy", "x.png"])
def test_interrupted_writer_leaves_nothing(tmp_path, name):
    with pytest.raises(ZeroDivisionError), images.Writer(tmp_path / name, 5) as writer:
        writer.add(torch.rand(3, 1, 8, 8))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_what_it_cannot_write(tmp_path):
    for name, n in (("a.xyz", 1), ("a.png", 10**6)):
        with pytest.raises(InputError):
            images.Writer(tmp_path / name, n)


@pytest.mark.parametrize("name", ["film.gif", "film.webp"])
def test_film_keeps_every_kth_step_and_the_last(tmp_path, name):
    film = images.Film(tmp_path / name, every=2)
    for _ in range(5):
        film.add(torch.rand(4, 1, 8, 8))
    film.save(torch.rand(4, 1, 8, 8))
    with Image.open(tmp_path / name) as picture:
        assert picture.n_frames == 4


@pytest.mark.parametrize("shape", [(64, 1, 28, 28), (5, 3, 9, 14), (1, 1, 60, 60), (7, 1, 56, 56)])
@pytest.mark.parametrize("columns", [0, 3, 8])
def test_grid_is_that_of_torchvision(shape, columns):
    x = torch.randint(256, shape, dtype=torch.uint8)
    theirs = make_grid(x, nrow=columns or round(len(x) ** 0.5), padding=2, pad_value=64)
    picture, factor = images.grid(x, columns).convert("RGB"), max(1, 56 // max(shape[-2:]))
    ours = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[:, ::factor, ::factor]
    assert torch.equal(ours, theirs.expand_as(ours))


def test_grid_holds_every_image():
    x = torch.linspace(0, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 64, 64)
    shown = set(np.unique(np.asarray(images.grid(x)).ravel()).tolist())
    assert set(images.to_uint8(x).unique().tolist()) <= shown


def test_mirrored_images_are_turned_left_to_right_or_as_they_were():
    x = torch.rand(100, 3, 4, 5)
    y = images.augment(x, "mirror", ImageNoise(0, 0, 100))
    turned, same = ((y == other).all((1, 2, 3)) for other in (x.flip(3), x))
    assert (turned ^ same).all()
    assert 30 < turned.sum() < 70


def test_shifted_images_move_whole_by_every_small_offset():
    x = torch.zeros(400, 3, 32, 20)
    x[:, :, 16, 10] = torch.tensor([0.2, 0.5, 1.0])
    y = images.augment(x, "shift", ImageNoise(0, 0, 400))
    image, row, column = torch.nonzero(y[:, 2], as_tuple=True)
    assert image.tolist() == list(range(400))
    assert set(zip(row.tolist(), column.tolist(), strict=True)) == {(16 + a, 10 + b) for a in OFFSETS for b in OFFSETS}
    assert torch.equal(y[image, :, row, column], x[:, :, 16, 10])
    edge = torch.linspace(0, 1, 32)[:, None].expand(400, 3, 32, 20)
    assert (images.augment(edge, "shift", ImageNoise(1, 0, 400)).diff(dim=2) >= 0).all()  # nothing comes round

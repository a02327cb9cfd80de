import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps, TiffImagePlugin

from dae_sampler.data import pictures
from dae_sampler.data.masks import load_mask
from dae_sampler.data.pictures import bring_to, change_of, header, read, size_of
from dae_sampler.errors import InputError

RAMP = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
COLOUR = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def saved(tmp_path, picture, name="a.png", **options):
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def white_is_zero(tmp_path, stored, name):
    """A TIFF of these stored values, uncompressed, in which the least is white."""
    height, width = stored.shape
    data = stored.astype("<" + stored.dtype.str[1:]).tobytes()
    bits = 8 * stored.itemsize
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 0), (273, 8 + 2 + 9 * 12 + 4), (277, 1)]
    tags += [(278, height), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (tmp_path / name).write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data)
    return tmp_path / name


def test_grey_pictures_are_grey_whatever_their_file_is(tmp_path):
    for mode in ("L", "P", "RGB", "RGBA", "LA"):
        pixels = read(saved(tmp_path, Image.fromarray(RAMP).convert(mode))).pixels
        assert np.array_equal(pixels[..., 0], RAMP), mode
        assert pixels.shape == (8, 8, 1)
    in_colour = read(saved(tmp_path, Image.fromarray(RAMP).convert("CMYK"), "a.jpg"))
    assert in_colour.pixels.shape == (8, 8, 1)


def test_one_tinted_pixel_makes_a_picture_colour(tmp_path):
    pixels = np.dstack(3 * [RAMP])
    pixels[7, 7, 2] ^= 1
    for mode in ("RGB", "RGBA"):
        assert np.array_equal(read(saved(tmp_path, Image.fromarray(pixels).convert(mode))).pixels, pixels)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(tmp_path, mode):
    flat = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    name = "a.jpg" if mode != "LAB" else "a.tif"
    picture = Image.fromarray(flat).convert(mode) if mode != "LAB" else Image.new("LAB", (8, 8), (140, 160, 170))
    pixels = read(saved(tmp_path, picture, name)).pixels
    assert pixels.shape == (8, 8, 3)
    if mode != "LAB":
        assert np.abs(pixels.astype(int) - flat).max() < 8


def test_one_bit_is_black_and_white(tmp_path):
    pixels = read(saved(tmp_path, Image.fromarray(RAMP > 100))).pixels
    assert np.array_equal(pixels[..., 0], (RAMP > 100) * np.uint8(255))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_stay_sixteen(tmp_path, name):
    deep = RAMP.astype(np.uint16) * 257
    path = saved(tmp_path, deep, name)
    assert header(path).dtype == "uint16"
    pixels = read(path).pixels
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels[..., 0], deep)


def test_integers_of_32_bits_are_read_as_16_where_they_fit(tmp_path):
    path = saved(tmp_path, RAMP.astype(np.int32) * 100, "a.tif")
    assert np.array_equal(read(path).pixels[..., 0], RAMP.astype(np.uint16) * 100)
    for wrong in (RAMP.astype(np.int32) * 1000, RAMP.astype(np.int32) - 3):
        with pytest.raises(InputError, match="32-bit floats"):
            read(saved(tmp_path, wrong, "a.tif"))


def test_floats_stay_floats(tmp_path):
    values = RAMP.astype(np.float32) / 100 - 1
    path = saved(tmp_path, values, "a.tif")
    assert header(path).dtype == "float32"
    assert np.array_equal(read(path).pixels[..., 0], values)
    values[3, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        read(saved(tmp_path, values, "a.tif"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_least_is_white_is_obeyed(tmp_path, dtype):
    stored = RAMP.astype(dtype) * (257 if dtype == np.uint16 else 1)
    path = white_is_zero(tmp_path, stored, "a.tif")
    assert Image.open(path).tag_v2[262] == 0
    assert np.array_equal(read(path).pixels[..., 0], np.iinfo(dtype).max - stored)


def test_least_is_white_is_obeyed_in_compressed_and_turned_files(tmp_path):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[262], info[274] = 0, 3
    stored = RAMP.astype(np.uint16) * 257
    path = saved(tmp_path, stored, "a.tif", tiffinfo=info, compression="tiff_lzw")
    assert np.array_equal(read(path).pixels[..., 0], 65535 - stored[::-1, ::-1])


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_rotation_tag_is_obeyed(tmp_path, mode):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(RAMP[:5].astype(np.uint16) * 257 if mode == "I;16" else RAMP[:5])
    pixels = read(saved(tmp_path, picture if mode == "I;16" else picture.convert(mode), exif=exif)).pixels
    turned = np.rot90(RAMP[:5], -1)
    assert np.array_equal(pixels[..., 0] // (257 if mode == "I;16" else 1), turned)


def deep_colour_png(path):
    """A picture of three 16-bit channels, which Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.tobytes() for row in (COLOUR.astype(">u2") * 257))
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


def deep_colour_ppm(path):
    path.write_bytes(b"P6 8 8 65535\n" + (COLOUR.astype(">u2") * 257).tobytes())


def deep_colour_tiff(path):
    tifffile.imwrite(path, COLOUR.astype(np.uint16) * 257, photometric="rgb")


def float_colour_tiff(path):
    tifffile.imwrite(path, COLOUR.astype(np.float32) / 255, photometric="rgb")


@pytest.mark.parametrize("write", [deep_colour_png, deep_colour_ppm, deep_colour_tiff, float_colour_tiff])
def test_colour_of_more_than_8_bits_is_read_in_full_depth(tmp_path, write):
    path = tmp_path / f"a.{write.__name__.rpartition('_')[2][:4]}"
    write(path)
    picture, head = read(path), header(path)
    white = 1 if write is float_colour_tiff else 65535
    assert np.array_equal((picture.pixels.astype(np.float64) / white * 255).round(), COLOUR)
    assert picture.remarks == {}
    assert (head.dtype, head.pixels) == (picture.pixels.dtype.name, 64)
    assert size_of(path) == (8, 8)


def test_an_open_file_is_left_to_pillow_which_cuts_and_that_is_said(tmp_path):
    deep_colour_png(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as file:
        picture = read(file)
    assert np.array_equal(picture.pixels, COLOUR)
    assert "of which 8 are read" in picture.remarks["cut"]
    assert read(saved(tmp_path, COLOUR)).remarks == {}


def test_deep_transparency_is_laid_over_a_background(tmp_path):
    samples = np.dstack([COLOUR.astype(np.uint16) * 257, np.full((8, 8), 65535 // 3, np.uint16)])
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["unassalpha"])
    black, white = (read(tmp_path / "a.tif", over).pixels.astype(int) for over in ("black", "white"))
    assert np.abs(black - COLOUR * (257 / 3)).max() <= 1
    assert np.abs(white - black - 65535 * 2 / 3).max() <= 1


@pytest.mark.parametrize(("over", "value"), [("black", 100), ("white", 227)])
def test_transparency_is_laid_over_a_background(tmp_path, over, value):
    path = saved(tmp_path, Image.new("RGBA", (8, 8), (200, 200, 200, 128)))
    picture = read(path, over)
    assert np.unique(picture.pixels).tolist() == [value]
    assert picture.remarks == {}


def drawing(colour, size=(8, 8)):
    """Some strokes of this grey on transparent ground."""
    pixels = np.zeros((*size, 2), np.uint8)
    pixels[..., 0] = colour
    pixels[2:5, 3, 1] = 255
    return Image.fromarray(pixels, "LA")


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_a_drawing_that_its_background_hides_is_said(tmp_path, mode):
    picture = drawing(0) if mode != "P" else drawing(0).convert("RGBA").quantize(4)
    path = saved(tmp_path, picture if mode == "P" else picture.convert(mode))
    assert f"{path} is blank once its transparency is laid over black: lay it over white" in read(path).remarks["blank"]
    found = read(path, "white")
    assert found.remarks == {}
    assert found.pixels.min() == 0
    assert "lay it over black" in read(saved(tmp_path, drawing(255)), "white").remarks["blank"]


def test_an_opaque_black_picture_is_no_fault(tmp_path):
    assert read(saved(tmp_path, Image.new("RGBA", (8, 8), (0, 0, 0, 255)))).remarks == {}
    empty = read(saved(tmp_path, Image.new("RGBA", (8, 8), (9, 9, 9, 0)))).remarks
    assert "wholly transparent" in empty["empty"]


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_pages_after_the_first_are_left_out_and_said(tmp_path, name):
    pages = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP), Image.fromarray(RAMP.T.copy())]
    lossless = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path, pages[0], name, save_all=True, append_images=pages[1:], **lossless)
    picture = read(path)
    assert np.array_equal(picture.pixels[..., 0], RAMP)
    assert picture.remarks == {"pages": f"{path} holds 3 pages, of which the first is read"}


def test_previews_and_layers_are_no_pages(tmp_path):
    pages = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1])]
    path = saved(tmp_path, pages[0], "a.mpo", save_all=True, append_images=pages[1:])
    assert Image.open(path).n_frames == 2
    assert read(path).remarks == {}


@pytest.mark.parametrize("suffix", [".jfif", ".avif", ".jp2", ".tga", ".dib"])
def test_less_common_files_are_read(tmp_path, suffix):
    pixels = read(saved(tmp_path, Image.fromarray(COLOUR).resize((32, 32)), f"a{suffix}")).pixels
    assert pixels.shape == (32, 32, 3)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"hello"])
def test_unreadable_pictures_are_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    assert header(tmp_path / "a.png") is None
    with pytest.raises(InputError, match=r"a\.png"):
        read(tmp_path / "a.png")


def test_a_truncated_picture_is_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(COLOUR).resize((99, 99)))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"a\.png"):
        read(path)


def test_decompression_bombs_are_refused_also_by_many_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    good = saved(tmp_path, RAMP)
    bombs = [
        saved(tmp_path, Image.new("1", (side, side)), f"{side}.png") for side in (12, 99)
    ]  # warned of, and refused

    def refused(path):
        try:
            read(path)
        except InputError as error:
            return "exceeds the limit" in str(error)
        return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(refused, [good, *bombs] * 30)) == [False, True, True] * 30


@pytest.mark.parametrize("size", [(5, 9), (16, 16), (8, 3), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bits_are_cropped_and_resized_as_pillow_does(size, channels):
    pixels = COLOUR if channels == 3 else RAMP[..., None]
    theirs = ImageOps.fit(Image.fromarray(pixels.squeeze()), size, Image.Resampling.BICUBIC)
    ours = bring_to(pixels, (channels, size[1], size[0]))
    assert ours.flags.c_contiguous
    assert np.array_equal(ours, np.asarray(theirs).reshape(size[1], size[0], channels).transpose(2, 0, 1))


@pytest.mark.parametrize("fit", pictures.FITS)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deeper_pixels_are_resized_alike(fit, dtype):
    scale = 257.0 if dtype == np.uint16 else 1 / 255
    smooth = np.asarray(Image.fromarray(COLOUR).resize((40, 30), Image.Resampling.BILINEAR))
    deep = bring_to((smooth * scale).astype(dtype), (3, 16, 12), fit)
    assert deep.dtype == dtype
    assert np.abs(deep / scale - bring_to(smooth, (3, 16, 12), fit)).max() < 1.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_resizing_stays_within_the_values(dtype):
    edge = np.zeros((9, 9, 5), dtype)
    edge[:, 4:] = 200
    for fit in pictures.FITS:
        resized = bring_to(edge, (5, 13, 17), fit)
        assert resized.min() >= 0
        assert resized.max() <= (255 if dtype == np.uint8 else 200)
        assert resized.shape == (5, 13, 17)


def test_padding_keeps_the_whole_picture_and_repeats_its_edge():
    wide = np.zeros((4, 8, 1), np.uint8)
    wide[0], wide[-1], wide[:, 0], wide[1:3, 0] = 10, 20, 30, 40
    padded = bring_to(wide, (1, 8, 8), "pad")[0]
    assert np.array_equal(padded[2:6], wide[..., 0])
    assert (padded[:3] == wide[0, :, 0]).all()
    assert (padded[5:] == wide[-1, :, 0]).all()
    assert bring_to(wide[:, :1], (1, 3, 9), "pad").shape == (1, 3, 9)  # one pixel wide


def test_squashing_keeps_the_whole_picture():
    halves = np.repeat(np.array([0, 255], np.uint8), 50)[None, :, None].repeat(20, 0)
    squashed = bring_to(halves, (1, 10, 10), "squash")[0]
    assert (squashed[:, :4] < 10).all()
    assert (squashed[:, 6:] > 245).all()


def test_what_changes_is_said():
    wide = np.zeros((200, 300, 3), np.uint8)
    assert change_of(wide, (3, 200, 300), "crop") == []
    assert change_of(wide, (1, 32, 32), "crop") == ["cropped and resized to 32x32"]
    assert change_of(wide, (1, 32, 32), "pad") == ["resized and padded to 32x32"]
    assert change_of(wide, (1, 32, 64), "squash") == ["squashed to 64x32"]
    assert change_of(wide, (3, 20, 30), "crop") == ["resized to 30x20"]


def test_channels_are_converted_between_grey_and_colour_only():
    assert np.array_equal(bring_to(RAMP[..., None], (3, 8, 8)), np.stack(3 * [RAMP]))
    luma = np.asarray(Image.fromarray(COLOUR).convert("L"))
    assert np.array_equal(bring_to(COLOUR, (1, 8, 8))[0], luma)
    assert np.abs(bring_to(COLOUR.astype(np.float32), (1, 8, 8))[0] - luma).max() < 1
    deep = bring_to(COLOUR.astype(np.uint16) * 257, (1, 8, 8))
    assert deep.dtype == np.uint16
    assert np.abs(deep[0] / 257 - luma).max() < 1
    for found, wanted in ((4, 3), (1, 4), (3, 2)):
        with pytest.raises(InputError, match=f"{found} channels"):
            bring_to(np.zeros((8, 8, found), np.uint8), (wanted, 8, 8))


def test_unknown_ways_are_refused_with_the_nearest():
    with pytest.raises(InputError, match="'crop'"):
        pictures.check_options("cropp", "black")
    with pytest.raises(InputError, match="'white'"):
        pictures.check_options(None, "whit")


@pytest.mark.parametrize(("mask", "hidden"), [("left", 32), ("right", 48), ("top", 40), ("bottom", 40)])
def test_a_half_is_hidden(mask, hidden):
    keep = load_mask(mask, (3, 8, 10))
    assert keep.dtype == torch.bool
    assert (~keep).sum() == hidden if mask in ("top", "bottom") else 40


@pytest.mark.parametrize("scale", [1, 255, 65535])
def test_a_mask_hides_where_it_is_white_whatever_its_depth(tmp_path, scale):
    white = np.zeros((8, 10), np.uint16 if scale > 255 else np.uint8)
    white[2:4, 5:7] = scale
    keep = load_mask(saved(tmp_path, white), (1, 8, 10))
    assert torch.equal(~keep, torch.from_numpy(white > 0))


def test_a_drawn_mask_hides_from_a_half_on(tmp_path):
    keep = load_mask(saved(tmp_path, RAMP), (1, 8, 8))
    assert torch.equal(keep, torch.from_numpy(RAMP) < 128)


@pytest.mark.parametrize("size", [(16, 8), (8, 16), (4, 4), (80, 80)])
def test_a_mask_of_another_size_is_refused_and_not_cropped(tmp_path, size):
    mask = np.zeros(size[::-1], np.uint8)
    mask[:, -2:] = 255
    with pytest.raises(InputError, match=f"{size[0]}x{size[1]}, the images are 8x8"):
        load_mask(saved(tmp_path, mask), (1, 8, 8))


def test_a_mask_that_hides_nothing_or_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="hides nothing"):
        load_mask(saved(tmp_path, np.zeros((8, 8), np.uint8)), (1, 8, 8))
    with pytest.raises(InputError, match="left, right, top, bottom"):
        load_mask("lefft", (1, 8, 8))

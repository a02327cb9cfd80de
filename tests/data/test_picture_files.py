import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from dae_sampler.data.files import default_suffix, enlarged, read_file, tags, write_like
from dae_sampler.errors import InputError

tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 13, 21
TYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]
DATA = os.environ.get("DAE_SAMPLER_DATA")


def noise(shape, dtype="uint8", high=None):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return RNG.normal(0.5, 1, shape).astype(dtype)
    info = np.iinfo(dtype)
    return RNG.integers(info.min, high or info.max, shape, dtype=dtype, endpoint=True)


def same(a, b):
    """Two files that are one picture."""
    assert len(a.pages) == len(b.pages)
    for one, other in zip(a.pages, b.pages, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    for one, other in zip(a.alpha, b.alpha, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    assert (a.as_rgb, a.binary, a.grey_as_rgb) == (b.as_rgb, b.binary, b.grey_as_rgb)
    if a.format == b.format:
        assert a.metadata.resolution == b.metadata.resolution
    elif a.metadata.dpi:
        assert a.metadata.dpi == pytest.approx(b.metadata.dpi, rel=1e-3)
    for name in ("icc", "exif", "xmp", "text", "durations", "loop", "white"):
        assert getattr(a.metadata, name) == getattr(b.metadata, name), name


def round_trip(path, name=None, noted=(), floats=True):
    """Read, write and read again; returns both."""
    a = read_file(path)
    assert set(a.notes) == set(noted), a.notes
    out = path.with_name(name or f"out{path.suffix}")
    wide = [page.astype(np.float64) for page in a.pages] if floats else a.pages
    assert write_like(a, wide, out) == {}
    b = read_file(out)
    same(a, b)
    if a.stored and b.stored:
        assert a.stored == b.stored
    return a, b


def tiff(tmp_path, data, **options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, **options)
    return path


# TIFF


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("order", "<>")
def test_tiffs_of_every_type_come_back(tmp_path, dtype, order):
    data = noise((HEIGHT, WIDTH), dtype)
    a, _ = round_trip(tiff(tmp_path, data, byteorder=order))
    np.testing.assert_array_equal(a.pages[0][..., 0], data)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), data)


@pytest.mark.parametrize("compression", ["none", "lzw", "zlib", "deflate", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", False), ("uint16", True), ("float32", True)])
def test_lossless_compression_is_kept(tmp_path, compression, dtype, predictor):
    data = noise((HEIGHT, WIDTH, 3), dtype)
    predictor = predictor and compression not in ("none", "packbits")
    kept = {"photometric": "rgb", "compression": compression, "predictor": predictor}
    a, _ = round_trip(tiff(tmp_path, data, byteorder=">", **kept))
    np.testing.assert_array_equal(a.pages[0], data)
    with tifffile.TiffFile(tmp_path / "out.tif") as out, tifffile.TiffFile(tmp_path / "a.tif") as before:
        assert out.pages[0].compression == before.pages[0].compression
        assert out.pages[0].predictor == before.pages[0].predictor
        assert out.byteorder == ">"


@pytest.mark.parametrize(
    ("shape", "options", "channels", "alpha"),
    [
        ((HEIGHT, WIDTH, 3), {"photometric": "rgb"}, 3, False),
        ((3, HEIGHT, WIDTH), {"photometric": "rgb", "planarconfig": "separate"}, 3, False),
        ((HEIGHT, WIDTH, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, 3, True),
        ((HEIGHT, WIDTH, 4), {"photometric": "rgb", "extrasamples": ["assocalpha"]}, 3, True),
        ((HEIGHT, WIDTH, 4), {"photometric": "rgb", "extrasamples": ["unspecified"]}, 4, False),
        ((HEIGHT, WIDTH, 5), {"photometric": "rgb", "extrasamples": ["unspecified", "unassalpha"]}, 4, True),
        ((HEIGHT, WIDTH, 5), {"photometric": "rgb", "extrasamples": ["unassalpha", "unspecified"]}, 4, True),
        ((5, HEIGHT, WIDTH), {"photometric": "rgb", "planarconfig": "separate", "extrasamples": [2, 0]}, 4, True),
        ((HEIGHT, WIDTH, 2), {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [2]}, 1, True),
        ((HEIGHT, WIDTH, 7), {"photometric": "minisblack", "planarconfig": "contig"}, 7, False),
        ((7, HEIGHT, WIDTH), {"photometric": "minisblack", "planarconfig": "separate"}, 7, False),
        ((HEIGHT, WIDTH), {"photometric": "miniswhite"}, 1, False),
        ((HEIGHT, WIDTH, 2), {"photometric": "miniswhite", "planarconfig": "contig", "extrasamples": [2]}, 1, True),
        ((48, 64), {"tile": (16, 32)}, 1, False),
        ((1, 1), {}, 1, False),
        ((1, 9), {}, 1, False),
        ((9, 1, 3), {"photometric": "rgb"}, 3, False),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_channels_and_alpha_come_back(tmp_path, shape, options, channels, alpha, dtype):
    data = noise(shape, dtype)
    a, _ = round_trip(tiff(tmp_path, data, **options))
    assert a.pages[0].shape[2] == channels
    assert (a.alpha[0] is not None) == alpha
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), data)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_is_least_is_inverted_and_written_as_it_was(tmp_path, dtype):
    data = noise((HEIGHT, WIDTH), dtype)
    a, _ = round_trip(tiff(tmp_path, data, photometric="miniswhite"))
    np.testing.assert_array_equal(a.pages[0][..., 0], np.iinfo(dtype).max - data)
    with tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.pages[0].photometric == 0


def test_a_negative_of_floats_stays_one(tmp_path):
    data = noise((HEIGHT, WIDTH)).astype(np.float32) / 255
    round_trip(tiff(tmp_path, data, photometric="miniswhite"))
    with tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.pages[0].photometric == 0
        np.testing.assert_array_equal(out.asarray(), data)


def test_compressed_values_of_twelve_bits_keep_their_white(tmp_path):
    data = noise((HEIGHT, WIDTH), "uint16", 4095)
    try:
        path = tiff(tmp_path, data, bitspersample=12, compression="deflate")
    except (ValueError, NotImplementedError) as error:
        pytest.skip(f"tifffile does not write these: {error}")
    _, b = round_trip(path, noted=["compression"])
    np.testing.assert_array_equal(b.pages[0][..., 0], data)
    with tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.pages[0].bitspersample == 12


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_one_bit_stays_one_bit(tmp_path, photometric):
    data = noise((HEIGHT, WIDTH)) > 99
    a, _ = round_trip(tiff(tmp_path, data, photometric=photometric))
    assert a.binary == [True]
    assert set(np.unique(a.pages[0])) == {0, 255}
    assert (a.pages[0][..., 0] == 255).sum() == (data.sum() if photometric == "minisblack" else (~data).sum())
    assert tifffile.imread(tmp_path / "out.tif").dtype == bool


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_twelve_bits(tmp_path, photometric):
    data = noise((HEIGHT, WIDTH), "uint16", 4095)
    loose, _ = round_trip(tiff(tmp_path, data, photometric="minisblack"))
    packed, _ = round_trip(tiff(tmp_path, data, bitspersample=12, photometric=photometric))
    expected = data if photometric == "minisblack" else 4095 - data
    np.testing.assert_array_equal(packed.pages[0][..., 0], expected)
    np.testing.assert_array_equal(loose.pages[0][..., 0], data)
    write_like(packed, [np.full((HEIGHT, WIDTH, 1), 1e6, np.float32)], tmp_path / "white.tif")
    assert (read_file(tmp_path / "white.tif").pages[0] == 4095).all()


def test_grey_kept_as_rgb_is_one_channel_and_written_as_three(tmp_path):
    data = np.repeat(noise((HEIGHT, WIDTH, 1), "uint16"), 3, axis=2)
    a, _ = round_trip(tiff(tmp_path, data, photometric="rgb"))
    assert a.grey_as_rgb
    assert a.pages[0].shape == (HEIGHT, WIDTH, 1)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), data)


def test_pages_of_different_sizes_and_types(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for shape, dtype in (((5, 7), "uint8"), ((9, 4, 3), "uint16"), ((5, 7), "uint8"), ((3, 3), "float32")):
            kind = "rgb" if len(shape) == 3 else "minisblack"
            writer.write(noise(shape, dtype), photometric=kind, metadata=None, description=f"page {shape}")
    a, _ = round_trip(path)
    assert [page.shape for page in a.pages] == [(5, 7, 1), (9, 4, 3), (5, 7, 1), (3, 3, 1)]
    assert [page.dtype.name for page in a.pages] == ["uint8", "uint16", "uint8", "float32"]


def test_a_stack_is_pages_not_channels(tmp_path):
    a, _ = round_trip(tiff(tmp_path, noise((3, HEIGHT, WIDTH), "uint16"), photometric="minisblack"))
    assert [page.shape for page in a.pages] == [(HEIGHT, WIDTH, 1)] * 3


@pytest.mark.parametrize(
    ("axes", "shape", "options", "pages", "channels"),
    [
        ("TZCYX", (2, 2, 3, HEIGHT, WIDTH), {"imagej": True}, 4, 3),
        ("ZYX", (4, HEIGHT, WIDTH), {"imagej": True}, 4, 1),
        ("CYX", (2, HEIGHT, WIDTH), {"imagej": True, "byteorder": ">"}, 1, 2),
        ("TYXS", (2, HEIGHT, WIDTH, 3), {"imagej": True}, 2, 3),
        ("TCZYX", (2, 3, 2, HEIGHT, WIDTH), {"ome": True}, 4, 3),
        ("ZCYX", (2, 3, HEIGHT, WIDTH), {"ome": True, "compression": "zlib"}, 2, 3),
        ("ZYXS", (2, HEIGHT, WIDTH, 3), {"ome": True, "photometric": "rgb"}, 2, 3),
        ("CYX", (3, HEIGHT, WIDTH), {"photometric": "minisblack"}, 1, 3),
        ("CYX", (20, HEIGHT, WIDTH), {"photometric": "minisblack"}, 20, 1),
        ("QYX", (3, HEIGHT, WIDTH), {"photometric": "minisblack", "bigtiff": True}, 3, 1),
    ],
)
def test_stacks_know_channels_from_pages(tmp_path, axes, shape, options, pages, channels):
    data = noise(shape, "uint16")
    path = tiff(tmp_path, data, metadata={"axes": axes}, resolution=(2.5, 5), **options)
    a, _ = round_trip(path)
    assert (len(a.pages), a.pages[0].shape[2]) == (pages, channels)
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.series[0].axes == before.series[0].axes
        assert out.series[0].kind == before.series[0].kind
        assert out.pages[0].description == before.pages[0].description
        np.testing.assert_array_equal(out.asarray(), data)


def test_an_imagej_stack_keeps_its_labels_and_lies_as_imagej_wants_it(tmp_path):
    data = noise((3, HEIGHT, WIDTH), "uint16")
    meta = {"axes": "ZYX", "Labels": ["a", "b", "c"], "Info": "x", "spacing": 2.0, "unit": "um"}
    path = tiff(tmp_path, data, imagej=True, metadata=meta)
    round_trip(path)
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.imagej_metadata == before.imagej_metadata
        offsets = [page.dataoffsets[0] for page in out.pages]
    assert np.diff(offsets).tolist() == [data[0].nbytes] * 2


@pytest.mark.parametrize("options", [{"imagej": True, "metadata": {"axes": "ZCYX"}}, {"photometric": "minisblack"}])
def test_a_stack_without_tags_for_each_page(tmp_path, options):
    data = noise((3, 2, HEIGHT, WIDTH), "float32")
    path = tiff(tmp_path, data, truncate=True, **options)
    a = read_file(path)
    assert len(a.pages) == (3 if "imagej" in options else 6)
    write_like(a, a.pages, tmp_path / "out.tif")
    same(a, read_file(tmp_path / "out.tif"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), data)


def test_tags_come_back_with_exif_and_gps(tmp_path):
    path = tmp_path / "a.tif"
    exif = Image.Exif()
    exif[270], exif[271], exif[305], exif[315], exif[306] = "täxt", "Maker", "Soft", "Artist", "2024:01:01 00:00:00"
    exif.get_ifd(34665).update({33434: 0.01, 36867: "2024:01:01 00:00:00", 37500: b"maker note" * 9})
    exif.get_ifd(34853).update({1: "N", 2: (1.0, 2.0, 3.0)})
    photograph = path.with_suffix(".jpg")
    Image.fromarray(noise((HEIGHT, WIDTH, 3))).save(photograph, exif=exif, icc_profile=ICC, dpi=(300, 150))
    a = read_file(photograph)
    write_like(a, a.pages, path)
    a, _ = round_trip(path)
    assert a.metadata.icc == ICC
    assert a.metadata.dpi == (300, 150)
    with Image.open(photograph) as before, Image.open(tmp_path / "out.tif") as out:
        for which in (34665, 34853):
            assert dict(out.getexif().get_ifd(which)) == dict(before.getexif().get_ifd(which)) != {}
    assert write_like(a, a.pages, tmp_path / "out.png") == {}
    png = read_file(tmp_path / "out.png")
    assert png.metadata.exif == a.metadata.exif
    assert png.metadata.icc == ICC
    with Image.open(tmp_path / "out.png") as out:
        assert out.getexif()[271] == "Maker"
        assert out.getexif().get_ifd(34853)[1] == "N"


def test_more_than_4_gb_becomes_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("dae_sampler.data.files.tiff_out._CLASSIC", 100)
    a = read_file(tiff(tmp_path, noise((3, HEIGHT, WIDTH), "uint16"), imagej=True, metadata={"axes": "CYX"}))
    write_like(a, a.pages, tmp_path / "out.tif")
    b = read_file(tmp_path / "out.tif")
    same(a, b)
    assert (a.stored.layout.big, b.stored.layout.big) == (False, True)
    assert a.stored.planes == b.stored.planes


def test_a_stack_turned_upright_with_alpha(tmp_path):
    data = noise((4, HEIGHT, WIDTH), "uint16")
    kept = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    path = tiff(tmp_path, data, resolution=(300, 150), **kept)
    _, [page] = tags.read_chain(path.open("rb"))
    tags.relink(path, [page.tags | {tags.ORIENTATION: tags.Tag(3, 1, b"\x08\0")}])
    a, b = round_trip(path)
    np.testing.assert_array_equal(a.pages[0], np.rot90(np.moveaxis(data[:3], 0, 2)))
    np.testing.assert_array_equal(a.alpha[0], np.rot90(data[3]))
    assert (a.metadata.dpi, b.metadata.dpi) == ((150, 300), (150, 300))


def test_private_tags_come_back(tmp_path):
    private = [(65100, 12, 3, (1.5, 2.5, 3.5), True), (65101, 2, 0, "words", True), (65102, 1, 300, bytes(300), True)]
    path = tiff(tmp_path, noise((2, HEIGHT, WIDTH)), extratags=private, photometric="minisblack", byteorder=">")
    round_trip(path)
    with tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.pages[0].tags[65100].value == (1.5, 2.5, 3.5)
        assert out.pages[0].tags[65101].value == "words"
        assert out.pages[0].software == "tifffile.py"
        assert 65100 not in out.pages[1].tags


def test_what_a_tiff_keeps_otherwise_is_said(tmp_path):
    colours = noise((3, 256), "uint16") // 257 * 257
    index = noise((HEIGHT, WIDTH))
    path = tiff(tmp_path, index, photometric="palette", colormap=colours)
    a = read_file(path)
    assert set(a.notes) == {"palette"}
    np.testing.assert_array_equal(a.pages[0], (colours.T // 257)[index].astype(np.uint8))
    write_like(a, a.pages, tmp_path / "out.tif")
    same(a, read_file(tmp_path / "out.tif"))
    Image.fromarray(noise((HEIGHT, WIDTH, 3))).quantize(2).save(tmp_path / "few.png", bits=1)
    Image.open(tmp_path / "few.png").save(tmp_path / "few.tif")
    np.testing.assert_array_equal(read_file(tmp_path / "few.tif").pages[0], read_file(tmp_path / "few.png").pages[0])
    ramp = np.repeat(np.arange(256, dtype=np.uint16)[None] * 257, 3, axis=0)
    assert read_file(tiff(tmp_path, index, photometric="palette", colormap=ramp)).pages[0].shape[2] == 1
    jpeg = read_file(tiff(tmp_path, noise((16, 32, 3)), photometric="rgb", compression="jpeg"))
    assert set(jpeg.notes) == {"compression"}
    write_like(jpeg, jpeg.pages, tmp_path / "out.tif")
    same(jpeg, read_file(tmp_path / "out.tif"))
    with tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.pages[0].compression == 8


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_inks_become_rgb(tmp_path, dtype):
    top = np.iinfo(dtype).max
    inks = np.zeros((2, 2, 4), dtype)
    inks[0, 0], inks[0, 1], inks[1, 0] = (0, top, top, 0), (0, 0, 0, top), (top, 0, 0, 0)
    a = read_file(tiff(tmp_path, inks, photometric="separated"))
    assert set(a.notes) == {"colours"}
    assert a.pages[0].tolist() == [[[top, 0, 0], [0, 0, 0]], [[0, top, top], [top, top, top]]]
    write_like(a, a.pages, tmp_path / "out.tif")
    same(a, read_file(tmp_path / "out.tif"))


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_lab_and_plain_ycbcr_become_rgb(mode, tmp_path):
    red = Image.new("RGB", (8, 8), (200, 40, 30))
    path = tmp_path / "red.tif"
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        ImageCms.applyTransform(red, ImageCms.buildTransform(*profiles, "RGB", "LAB")).save(path)
    elif int(PIL.__version__.partition(".")[0]) < 13:
        pytest.skip("Pillow before 13 cannot read the YCbCr that it wrote")
    else:
        red.convert(mode).save(path)
    a = read_file(path)
    assert np.abs(a.pages[0].astype(int) - (200, 40, 30)).max() <= 3
    write_like(a, a.pages, tmp_path / "out.tif")
    same(a, read_file(tmp_path / "out.tif"))


def test_fax_pages_and_thumbnails(tmp_path):
    bits = noise((HEIGHT, WIDTH)) > 99
    Image.fromarray(bits).save(tmp_path / "fax.tif", compression="group4")
    a = read_file(tmp_path / "fax.tif")
    assert a.binary == [True]
    np.testing.assert_array_equal(a.pages[0][..., 0] > 0, bits)
    write_like(a, a.pages, tmp_path / "out.tif")
    same(a, read_file(tmp_path / "out.tif"))
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(noise((32, 32)), metadata=None)
        writer.write(noise((8, 8)), subfiletype=1, metadata=None)
    b = read_file(tmp_path / "b.tif")
    assert len(b.pages) == 1
    assert set(b.notes) == {"copies"}


# PNG


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples, depth, colour, chunks=(), interlaced=False):
    """A PNG made without the code under test, unfiltered."""
    height, width = samples.shape[:2]
    dtype = ">u2" if depth == 16 else "u1"
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    parts = [samples[y::dy, x::dx] for y, dy, x, dx in (passes if interlaced else [(0, 1, 0, 1)])]
    rows = b"".join(b"\0" + row.astype(dtype).tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *(chunk(*c) for c in chunks), chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("colour", "count"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_pngs_of_8_and_16_bits(tmp_path, colour, count, depth, interlaced):
    data = noise((HEIGHT, WIDTH, count), f"uint{depth}")
    path = tmp_path / "a.png"
    path.write_bytes(png(data, depth, colour, interlaced=interlaced))
    a, _ = round_trip(path)
    channels = count - (count in (2, 4))
    np.testing.assert_array_equal(a.pages[0], data[..., :channels])
    if count in (2, 4):
        np.testing.assert_array_equal(a.alpha[0], data[..., -1])
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "out.png").read_bytes()), data.squeeze())
    round_trip(path, "out.tif")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 140), st.integers(1, 9), st.sampled_from([1, 3]), st.sampled_from([8, 16]), st.integers(0, 2**32))
def test_pngs_of_any_size_are_read_by_others(tmp_path, height, width, channels, depth, seed):
    data = np.random.default_rng(seed).integers(0, 2**depth, (height, width, channels), dtype=f"uint{depth}")
    path = tmp_path / "a.png"
    path.write_bytes(png(data, depth, 0 if channels == 1 else 2))
    a = read_file(path)
    write_like(a, a.pages, tmp_path / "out.png")
    expected = data if not a.grey_as_rgb else a.pages[0].repeat(3, axis=2)
    found = imagecodecs.png_decode((tmp_path / "out.png").read_bytes())
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize(("colour", "key"), [(0, [7]), (2, [7, 8, 9])])
def test_a_transparent_colour_of_16_bits_is_alpha(tmp_path, colour, key):
    data = noise((HEIGHT, WIDTH, len(key)), "uint16")
    data[3, 4] = key
    path = tmp_path / "a.png"
    path.write_bytes(png(data, 16, colour, [(b"tRNS", np.array(key, ">u2").tobytes())]))
    a, _ = round_trip(path)
    assert a.alpha[0].dtype == np.uint16
    assert np.argwhere(a.alpha[0] == 0).tolist() == [[3, 4]]


def test_the_chunks_of_a_png_come_back(tmp_path):
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6" a="b"/></x:xmpmeta>'
    extra = [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"sBIT", bytes([12, 12, 12])),
        (b"iCCP", b"name\0\0" + zlib.compress(ICC)),
        (b"pHYs", struct.pack(">IIB", 11811, 5906, 1)),
        (b"tEXt", b"Title\0caf\xe9"),
        (b"iTXt", b"Author\0\0\0\0\0" + "Ω".encode()),
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"long" * 99)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        (b"eXIf", exif.tobytes()[6:]),
        (b"tIME", bytes(7)),
        (b"bKGD", bytes(6)),
    ]
    data = noise((HEIGHT, WIDTH, 3), "uint16")
    path = tmp_path / "a.png"
    path.write_bytes(png(data, 16, 2, extra))
    a, b = round_trip(path)
    np.testing.assert_array_equal(a.pages[0], np.rot90(data, -1))
    assert a.metadata.text == {"Title": "café", "Author": "Ω", "Comment": "long" * 99}
    assert a.metadata.icc == ICC
    assert b"Orientation" not in a.metadata.xmp
    assert a.metadata.resolution == (5906, 11811, "metre")
    assert a.metadata.chunks == b.metadata.chunks
    assert {name for name, _ in b.metadata.chunks} == {name for name, _ in extra} - {b"eXIf", b"bKGD"}
    with Image.open(tmp_path / "out.png") as out:
        assert dict(out.getexif()) == {271: "Maker"}
        assert out.info["gamma"] == 0.45455


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA"])
def test_pngs_of_pillow(tmp_path, mode):
    path = tmp_path / "a.png"
    Image.fromarray(noise((HEIGHT, WIDTH, 4))).convert(mode).save(path, dpi=(300, 300), icc_profile=ICC)
    round_trip(path)
    with Image.open(tmp_path / "out.png") as out:
        assert out.mode == mode
    round_trip(path, "out.tif")


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_are_expanded(tmp_path, transparent):
    picture = Image.fromarray(noise((HEIGHT, WIDTH, 3))).quantize(16)
    path = tmp_path / "a.png"
    picture.save(path, **({"transparency": 3} if transparent else {}))
    a, _ = round_trip_of_palette(path)
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(a.pages[0], expected)
    assert (a.alpha[0] is not None) == transparent


def round_trip_of_palette(path):
    a = read_file(path)
    assert set(a.notes) == {"palette"}
    write_like(a, a.pages, path.with_name("out.png"))
    b = read_file(path.with_name("out.png"))
    same(a, b)
    return a, b


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_all_frames_of_an_animation_are_pages(tmp_path, suffix):
    frames = [Image.fromarray(noise((HEIGHT, WIDTH, 3))).quantize(32).convert("RGB") for _ in range(3)]
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    durations = [100, 50, 200]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=2, **options)
    a = read_file(path)
    assert (len(a.pages), a.metadata.durations, a.metadata.loop, a.lossy) == (
        3,
        durations,
        2 + (suffix == ".gif") * 0,
        False,
    )
    for page, frame in zip(a.pages, frames, strict=True):
        np.testing.assert_array_equal(page, np.asarray(frame))
    for other in (".png", ".webp"):
        assert write_like(a, a.pages, tmp_path / f"out{other}") == {}
        same(a, read_file(tmp_path / f"out{other}"))
    assert default_suffix(a) == (".webp" if suffix == ".webp" else ".png")
    assert "long each page" in write_like(a, a.pages, tmp_path / "out.tif")["lost"]
    assert len(read_file(tmp_path / "out.tif").pages) == 3
    with pytest.raises(InputError, match=r"cannot write pictures as .gif"):
        write_like(a, a.pages, tmp_path / "out.gif")


def test_pictures_of_an_animation_may_be_equal(tmp_path):
    frames = [Image.fromarray(noise((HEIGHT, WIDTH, 3))) for _ in range(3)]
    path = tmp_path / "a.png"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[10, 20, 30])
    a = read_file(path)
    write_like(a, [a.pages[1]] * 3, tmp_path / "out.png")
    b = read_file(tmp_path / "out.png")
    assert (len(b.pages), b.metadata.durations) == (3, [10, 20, 30])
    a.pages[2] = a.pages[2][:5]
    assert default_suffix(a) == ".tif"


@pytest.mark.parametrize("form", [b' tiff:Orientation="6"', b"><tiff:Orientation>6</tiff:Orientation"])
def test_xmp_turns_where_exif_does_not(tmp_path, form):
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<rdf:Description" + form + b"></rdf:Description>"
    data = noise((HEIGHT, WIDTH, 3))
    path = tmp_path / "a.png"
    path.write_bytes(png(data, 8, 2, [(b"iTXt", xmp)]))
    a, _ = round_trip(path)
    np.testing.assert_array_equal(a.pages[0], np.rot90(data, -1))


# orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_pictures_are_upright_and_say_no_more_how_to_turn_them(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274], exif[282], exif[283], exif[271] = orientation, 300.0, 150.0, "Maker"
    exif.get_ifd(34665).update({40962: WIDTH, 40963: HEIGHT})
    data = noise((HEIGHT, WIDTH, 3))
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.fromarray(data).save(path, exif=exif, **options)
    if suffix == ".tif":  # Pillow writes no directory of EXIF there
        exif.endian = "<"
        _, inner = tags.read_block(exif.tobytes()[6:])
        _, [page] = tags.read_chain(path.open("rb"))
        tags.relink(path, [page.tags | {tags.EXIF: inner[tags.EXIF]}])
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    a = read_file(path)
    np.testing.assert_array_equal(a.pages[0], expected)
    write_like(a, a.pages, tmp_path / f"out{suffix}")
    b = read_file(tmp_path / f"out{suffix}")
    if suffix != ".jpg":
        same(a, b)
    with Image.open(tmp_path / f"out{suffix}") as out:
        found = out.getexif()
        assert 274 not in found
        assert found[271] == "Maker"
        assert (found[282], found[283]) == ((150, 300) if orientation >= 5 else (300, 150))
        inner = found.get_ifd(34665)
        assert (inner[40962], inner[40963]) == (expected.shape[1], expected.shape[0])


def test_the_thumbnail_of_a_photograph_is_left_out_and_its_maker_note_stays(tmp_path):
    small = io.BytesIO()
    Image.new("RGB", (4, 4)).save(small, "JPEG")
    note = b"offset 120" * 5
    first = struct.pack("<H", 2) + struct.pack("<HHII", 274, 3, 1, 3) + struct.pack("<HHII", 34665, 4, 1, 38)
    inner = struct.pack("<H", 1) + struct.pack("<HHII", 37500, 7, len(note), 60) + bytes(4)
    second = struct.pack("<H", 2) + struct.pack("<HHIIHHIII", 513, 4, 1, 200, 514, 4, 1, 99, 0)
    block = b"II*\0\x08\0\0\0" + first + struct.pack("<I", 110) + inner.ljust(22) + note + second
    block = block.ljust(200) + small.getvalue()
    path = tmp_path / "a.jpg"
    Image.fromarray(noise((HEIGHT, WIDTH, 3))).save(path, exif=b"Exif\0\0" + block)
    a = read_file(path)
    for suffix in (".jpg", ".png", ".tif"):
        write_like(a, a.pages, tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as out:
            assert out.getexif().get_ifd(34665)[37500] == note
            assert not out.getexif().get_ifd(1)


# other formats


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg(tmp_path, mode):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[271] = "Maker"
    smooth = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    picture = Image.merge("RGB", [Image.fromarray(smooth), Image.fromarray(smooth[::-1]), Image.fromarray(smooth)])
    xmp = b"<x:xmpmeta/>"
    picture.convert(mode).save(path, dpi=(300, 150), icc_profile=ICC, exif=exif, comment="words", xmp=xmp)
    a = read_file(path)
    assert a.lossy
    assert (a.metadata.icc, a.metadata.text, a.metadata.xmp) == (ICC, {"Comment": "words"}, xmp)
    assert default_suffix(a) == ".png"
    assert write_like(a, a.pages, tmp_path / "out.png") == {}
    same(a, read_file(tmp_path / "out.png"))
    assert write_like(a, a.pages, tmp_path / "out.jpg") == {}
    b = read_file(tmp_path / "out.jpg")
    assert np.abs(b.pages[0].astype(int) - a.pages[0]).max() <= 6
    b.pages = a.pages
    same(a, b)
    with Image.open(tmp_path / "out.jpg") as out:
        assert out.mode == mode
        assert mode == "L" or {layer[1:3] for layer in out.layer} == {(1, 1)}


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_the_resolution_of_a_jpeg_comes_back_in_its_unit(tmp_path, unit):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise((HEIGHT, WIDTH))).save(path)
    data = bytearray(path.read_bytes())
    data[13:18] = struct.pack(">BHH", unit, 118, 59)
    path.write_bytes(data)
    a = read_file(path)
    for suffix in (".jpg", ".tif", ".png"):
        write_like(a, a.pages, tmp_path / f"out{suffix}")
        b = read_file(tmp_path / f"out{suffix}")
        if unit:
            assert b.metadata.dpi == pytest.approx(a.metadata.dpi, rel=1e-3)
        if suffix == ".jpg":
            assert a.metadata.resolution == b.metadata.resolution


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        pair.split()
        for pair in (".bmp 1", ".bmp L", ".bmp RGB", ".ppm 1", ".ppm L", ".ppm RGB", ".webp RGB", ".webp RGBA")
    ],
)
def test_other_formats_without_loss(tmp_path, suffix, mode):
    path = tmp_path / f"a{suffix}"
    options = {".webp": {"lossless": True, "exact": True, "icc_profile": ICC}, ".bmp": {"dpi": (300, 150)}}
    Image.fromarray(noise((HEIGHT, WIDTH, 4))).convert(mode).save(path, **options.get(suffix, {}))
    a, _ = round_trip(path)
    assert default_suffix(a) == suffix
    with Image.open(path) as before, Image.open(tmp_path / f"out{suffix}") as out:
        assert out.mode == before.mode
    round_trip(path, "out.png")
    round_trip(path, "out.tif")


@pytest.mark.parametrize(("kind", "white"), [(5, 4095), (6, 4095), (6, 65535), (5, 65535), (5, 31), (6, 200)])
def test_ppm_of_any_depth(tmp_path, kind, white):
    dtype = "uint16" if white > 255 else "uint8"
    data = noise((HEIGHT, WIDTH, 3 if kind == 6 else 1), dtype, white)
    path = tmp_path / "a.ppm"
    path.write_bytes(
        f"P{kind}\n# word\n{WIDTH} {HEIGHT}\n{white}\n".encode() + data.astype(f">u{data.itemsize}").tobytes()
    )
    before = path.read_bytes()
    a, _ = round_trip(path)
    most = np.iinfo(dtype).max
    np.testing.assert_array_equal(a.pages[0], np.rint(data * (most / white)))  # white is white
    write_like(a, [page.astype(np.float32) for page in a.pages], tmp_path / "b.ppm")
    assert (tmp_path / "b.ppm").read_bytes() == before.replace(b"# word\n", b"")
    assert a.metadata.white == (white if white not in (255, 65535) else None)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut off"):
        read_file(path)


def test_webp_and_avif_with_loss(tmp_path):
    picture = Image.fromarray(noise((HEIGHT, WIDTH, 3)))
    picture.save(tmp_path / "a.webp", quality=80)
    assert read_file(tmp_path / "a.webp").lossy
    if "AVIF" in Image.SAVE:
        picture.save(tmp_path / "a.avif", icc_profile=ICC)
        a = read_file(tmp_path / "a.avif")
        assert (a.lossy, default_suffix(a)) == (True, ".png")
        write_like(a, a.pages, tmp_path / "out.avif")
        assert read_file(tmp_path / "out.avif").metadata.icc == ICC
        (tmp_path / "deep.avif").write_bytes(
            imagecodecs.avif_encode(noise((32, 32, 3), "uint16", 1023), bitspersample=10)
        )
        assert set(read_file(tmp_path / "deep.avif").notes) == {"cut"}


def test_jpeg_2000_of_16_bits(tmp_path):
    data = noise((64, 64, 3), "uint16")
    path = tmp_path / "a.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(data, level=0, reversible=True))
    a = read_file(path)
    np.testing.assert_array_equal(a.pages[0], data)
    assert not a.notes
    assert default_suffix(a) == ".png"


def test_heic_is_read_or_its_package_named(tmp_path):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x1cftypheic" + bytes(100))
    try:
        import pillow_heif
    except ImportError:
        with pytest.raises(InputError, match=r"dae-sampler\[heic\]"):
            read_file(path)
        return
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    pillow_heif.from_pillow(Image.new("RGB", (64, 32), (200, 40, 30))).save(path, exif=exif.tobytes())
    a = read_file(path)
    assert a.pages[0].shape == (64, 32, 3)
    assert (a.lossy, default_suffix(a)) == (True, ".png")
    write_like(a, a.pages, tmp_path / "out.png")
    same(a, read_file(tmp_path / "out.png"))


# what is refused


@pytest.mark.parametrize(
    ("data", "options", "suffix", "match"),
    [
        (noise((4, 4), "uint16"), {}, ".jpg", "16 bits.*out.png"),
        (noise((4, 4), "float32"), {}, ".png", "float32.*out.tif"),
        (noise((3, 4, 4)), {"photometric": "minisblack"}, ".png", "several pages.*out.tif"),
        (noise((4, 4, 4)), {"photometric": "rgb", "extrasamples": [2]}, ".jpg", "transparency.*out.png"),
        (noise((4, 4, 5)), {"photometric": "minisblack", "planarconfig": "contig"}, ".png", "5 channels.*out.tif"),
        (noise((1, 20000)), {}, ".webp", "more than 16,383 pixels"),
        (noise((4, 4)), {}, ".xyz", "cannot write pictures as .xyz"),
        (noise((4, 4)), {}, "", "cannot write pictures as"),
    ],
)
def test_a_format_that_cannot_hold_it_is_refused(tmp_path, data, options, suffix, match):
    a = read_file(tiff(tmp_path, data, **options))
    with pytest.raises(InputError, match=match):
        write_like(a, a.pages, tmp_path / f"out{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert default_suffix(a) == ".tif"


def test_pages_of_another_number_or_shape_are_refused(tmp_path):
    a = read_file(tiff(tmp_path, noise((4, 4))))
    page = a.pages[0]
    for pages in ([], [page, page], [page[..., 0]], [page.repeat(2, axis=2)], [page[:0]]):
        with pytest.raises(InputError):
            write_like(a, pages, tmp_path / "out.tif")
    with pytest.raises(InputError, match="not finite"):
        write_like(a, [np.full((4, 4, 1), np.nan)], tmp_path / "out.tif")
    write_like(a, [page.repeat(3, axis=2) * [1.0, 0.5, 0]], tmp_path / "out.tif")
    assert read_file(tmp_path / "out.tif").pages[0].shape == (4, 4, 3)
    write_like(a, [np.float32([[[-5], [2.5], [3.5], [300]]])], tmp_path / "out.tif")
    assert read_file(tmp_path / "out.tif").pages[0].ravel().tolist() == [0, 2, 4, 255]


def test_large_pictures_need_a_word(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = noise((HEIGHT, WIDTH, 3))
    for name in ("a.tif", "a.png", "a.jpg", "a.bmp", "a.webp", "a.ppm"):
        path = tmp_path / name
        Image.fromarray(data).save(path)
        with pytest.raises(InputError, match="`large`"):
            read_file(path)
        if name == "a.webp":  # Pillow itself refuses more than twice its limit
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
        assert read_file(path, large=True).pages[0].shape == data.shape


def test_values_that_are_not_finite_and_types_without_meaning(tmp_path):
    data = noise((4, 4), "float32")
    data[1, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        read_file(tiff(tmp_path, data))
    for dtype in ("complex64", "uint64"):
        with pytest.raises(InputError):
            read_file(tiff(tmp_path, np.ones((4, 4), dtype)))


def test_lzw_without_imagecodecs_names_it(tmp_path):
    path = tiff(tmp_path, noise((HEIGHT, WIDTH), "uint16"), compression="lzw")
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, noise((HEIGHT, WIDTH), "uint16"), compression="zlib", predictor=True)
    program = f"""
import sys
sys.modules["imagecodecs"] = None
from dae_sampler.data.files import read_file, write_like
a = read_file({str(plain)!r})
write_like(a, a.pages, {str(tmp_path / "out.tif")!r})
try:
    read_file({str(path)!r})
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("InputError")
    assert "dae-sampler[codecs]" in done.stdout
    assert not done.stderr
    same(read_file(plain), read_file(tmp_path / "out.tif"))


def examples(tmp_path):
    """One small file of each kind."""
    rgb = noise((HEIGHT, WIDTH, 3))
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    exif.get_ifd(34665).update({33434: 0.01})
    for name in ("a.png", "a.jpg", "a.bmp", "a.webp", "a.gif", "a.ppm", "exif.tif", "a.jp2"):
        extra = {"exif": exif} if name in ("a.png", "a.jpg", "a.webp", "exif.tif") else {}
        Image.fromarray(rgb).save(tmp_path / name, **extra)
    (tmp_path / "deep.png").write_bytes(png(noise((HEIGHT, WIDTH, 4), "uint16"), 16, 6))
    (tmp_path / "deep.ppm").write_bytes(b"P6 5 5 4095\n" + bytes(150))
    for name, options in (("lzw", {"compression": "lzw"}), ("jpg", {"compression": "jpeg"}), ("raw", {})):
        tifffile.imwrite(tmp_path / f"{name}.tif", rgb, photometric="rgb", **options)
    tifffile.imwrite(tmp_path / "j.tif", noise((4, 9, 9), "uint16"), imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "o.tif", noise((4, 9, 9), "uint16"), ome=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "b.tif", noise((4, 9, 9)), bigtiff=True, byteorder=">", photometric="minisblack")
    tifffile.imwrite(tmp_path / "t.tif", noise((40, 40)), tile=(16, 16), compression="zlib")
    return sorted(tmp_path.iterdir())


def sentence(path, **options):
    """Why a file is refused, which is one sentence; empty if it is read."""
    try:
        assert read_file(path, **options).pages[0].nbytes <= 10**6
    except InputError as error:
        return str(error)
    return ""


def test_cut_and_damaged_files_are_one_sentence(tmp_path):
    random = np.random.default_rng(1)
    read = 0
    for path in examples(tmp_path):
        data = path.read_bytes()
        assert read_file(path).pages
        broken = tmp_path / f"broken{path.suffix}"
        cuts = {*range(0, min(len(data), 40), 5), *random.integers(0, len(data), 9).tolist(), len(data) - 1}
        versions = [data[:cut] for cut in sorted(cuts)]
        for _ in range(9):
            flipped = bytearray(data)
            for place in random.integers(0, min(len(data), 400), 3):
                flipped[place] = random.integers(256)
            versions.append(bytes(flipped))
        for version in versions:
            broken.write_bytes(version)
            why = sentence(broken)
            read += not why
            assert not why or str(broken) in why
            assert "\n" not in why
    assert read < 200  # damage to a pixel or a text is not seen


@pytest.mark.parametrize("code", [256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339])
def test_absurd_tags_are_one_sentence(tmp_path, code):
    tiled = 322 <= code <= 325
    options = {"tile": (16, 16)} if tiled else {}
    path = tiff(tmp_path, noise((32, 32)), compression="zlib", predictor=True, metadata=None, software=False, **options)
    for value in (0, 1, 7, 2**31, 2**32 - 1):
        data = bytearray(path.read_bytes())
        (first,) = struct.unpack("<I", data[4:8])
        (count,) = struct.unpack("<H", data[first : first + 2])
        for place in range(first + 2, first + 2 + 12 * count, 12):
            if struct.unpack("<H", data[place : place + 2])[0] == code:
                data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, value)
        path.write_bytes(data)
        assert "\n" not in sentence(path) + sentence(path, large=True)


def test_tags_that_lie_are_not_believed(tmp_path):
    entry = struct.pack("<HHII", 65000, 1, 4000, 8)
    data = b"II*\0" + struct.pack("<I", 5000) + bytes(4992) + struct.pack("<H", 2000) + entry * 2000 + bytes(4)
    (tmp_path / "overlap.tif").write_bytes(data)
    circle = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 256, 3, 1, 1) + struct.pack("<I", 8)
    (tmp_path / "circle.tif").write_bytes(circle)
    tiff(tmp_path, noise((4, 4)), description="ImageJ=1\nimages=1000000000\nslices=1000000000\n", metadata=None)
    (tmp_path / "a.tif").rename(tmp_path / "many.tif")
    tiff(tmp_path, noise((4, 4)), description='{"shape": [100000000000, 4, 4]}', metadata=None)
    ome = '<OME><Pixels DimensionOrder="XYCZT" SizeC="9999999" SizeZ="9999999" SizeT="1"/></OME>'
    (tmp_path / "a.tif").rename(tmp_path / "shape.tif")
    tiff(tmp_path, noise((4, 4)), description=ome, metadata=None)
    for name, good in (("overlap", False), ("circle", False), ("many", True), ("shape", True), ("a", True)):
        if good:
            assert len(read_file(tmp_path / f"{name}.tif").pages) == 1
        else:
            with pytest.raises(InputError):
                read_file(tmp_path / f"{name}.tif")


def test_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("words")
    (tmp_path / "b.png").touch()
    (tmp_path / "c.nef").write_bytes(b"II*\0" + bytes(50))
    for path in (tmp_path, tmp_path / "none.png", *tmp_path.iterdir()):
        with pytest.raises(InputError):
            read_file(path)


# real pictures


@pytest.mark.skipif(not DATA, reason="DAE_SAMPLER_DATA names no folder")
@pytest.mark.parametrize(
    "pattern", ["astronomy/*_1.png", "camera-noise/*_real.JPG", "photos/kodak24/*", "documents/dirty/*"]
)
def test_real_pictures_come_back(tmp_path, pattern):
    path = sorted(Path(DATA).glob(pattern))[0]
    a = read_file(path)
    for suffix in {default_suffix(a), ".tif"}:
        write_like(a, [page.astype(np.float32) for page in a.pages], tmp_path / f"out{suffix}")
        same(a, read_file(tmp_path / f"out{suffix}"))


def test_an_enlarged_picture_keeps_its_size_in_inches_and_on_the_earth(tmp_path):
    Image.new("L", (8, 6), 9).save(tmp_path / "a.png", dpi=(300, 300))
    a = read_file(tmp_path / "a.png")
    write_like(enlarged(a, 2), [a.pages[0].repeat(2, 0).repeat(2, 1)], tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").info["dpi"] == pytest.approx((600, 600), abs=0.1)
    scale, tie = (0.5, 0.5, 0.0), (1.0, 1.0, 0.0, 100.0, 200.0, 0.0)
    tags = [(33550, "d", 3, scale, True), (33922, "d", 6, tie, True)]
    size = '<OME><Pixels SizeX="8" SizeY="6" PhysicalSizeX="0.5" PhysicalSizeY="2"/></OME>'
    path = tiff(tmp_path, np.zeros((6, 8), np.uint8), extratags=tags, description=size, metadata=None)
    a = read_file(path)
    write_like(enlarged(a, 2), [a.pages[0].repeat(2, 0).repeat(2, 1)], tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found = file.pages[0].tags
        assert found[33550].value == (0.25, 0.25, 0.0)
        assert found[33922].value == (2.0, 2.0, 0.0, 100.0, 200.0, 0.0)
        assert 'SizeX="16" SizeY="12" PhysicalSizeX="0.25" PhysicalSizeY="1"' in found["ImageDescription"].value


def test_a_transparent_colour_of_one_bit_is_alpha(tmp_path):
    bits = noise((HEIGHT, WIDTH)) > 99
    Image.fromarray(bits).save(tmp_path / "a.png", transparency=0)
    a, _ = round_trip(tmp_path / "a.png")
    np.testing.assert_array_equal(a.pages[0][..., 0] == 255, bits)
    np.testing.assert_array_equal(a.alpha[0] == 255, bits)

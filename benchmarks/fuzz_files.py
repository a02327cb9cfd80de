"""Files for benchmarks/fuzz.py: good ones to damage, and TIFF, PNG and CSV files that are odd from the start."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from dae_sampler import DenoisingAutoencoder, save

ODD = [
    "",
    "-1",
    "0",
    "1",
    "3",
    "1e-9",
    "0.5",
    "nan",
    "inf",
    "1" + "0" * 25,
    "x",
    "..",
    "a/b",
    "\udcff",
    "é",
    "--",
    "%s",
    ".",
    "~x",
    "~x/y",
]
MODELS = {
    "model": ("dense(8)", "gaussian(0.02..20)", (1, 8, 8)),
    "any": ("unet(8)", "gaussian(0.01..0.5)", (1, None, None)),
    "colour": ("unet(8)", "gaussian(0.01..0.5)", (3, None, None)),
    "pairs": ("unet(8)", "given", (1, None, None)),
    "erasing": ("dense(8)", "erasure(0..1)", (1, 8, 8)),
    "counts": ("unet(8)", "gaussian(0.01..0.5)", (1, None, None)),
}
RANGES = {"counts": (350.0, 650.0)}
"""Of the values that models read, where those are not the usual ones."""


def mutate(content: bytes, draw: random.Random) -> bytes:
    """The content with a few bytes flipped, cut, doubled or replaced."""
    out = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        at = draw.randrange(len(out) + 1)
        kind = draw.randrange(5)
        if kind == 0 and out:
            out[min(at, len(out) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del out[at:]
        elif kind == 2:
            out[at:at] = draw.randbytes(draw.randrange(1, 9))
        elif kind == 3:
            out[at : at + 4] = draw.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
        else:
            del out[at : at + draw.randrange(1, 64)]
    return bytes(out)


def mutate_text(text: str, draw: random.Random) -> str:
    """The text with characters dropped, doubled or swapped for odd ones."""
    letters = list(text)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(letters) + 1)
        odd = ["", "(", ")", ",", "..", "+", "=", "-", "'", "/", "9" * 30, "e", ":", "é", "\0", "\n"]
        letters[at : at + draw.randrange(2)] = draw.choice(odd)
    return "".join(letters)


def seeds(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """Good files to damage: models by name; pictures and arrays."""
    folder.mkdir()
    models, pictures = {name: folder / f"{name}.safetensors" for name in MODELS}, []
    for name, (net, corruption, shape) in MODELS.items():
        dae = DenoisingAutoencoder(net, corruption, shape)
        dae.card = replace(dae.card, range=RANGES.get(name))
        save(dae, models[name])
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for name in ("a.png", "a.jpg", "a.gif", "a.bmp", "a.tiff", "a.webp", "a.ppm"):
        Image.fromarray(pixels).save(folder / name)
        pictures.append(folder / name)
    deep = pixels.astype(np.uint16) * 257
    tifffile.imwrite(folder / "stack.tif", deep, imagej=True, photometric="minisblack", metadata={"axes": "ZYX"})
    ome = {"ome": True, "metadata": {"axes": "CYX"}, "photometric": "minisblack"}
    tifffile.imwrite(folder / "ome.tif", deep, **ome, compression="zlib", predictor=True)
    tifffile.imwrite(folder / "tiled.tif", np.tile(deep, (4, 4, 1)), tile=(16, 16), planarconfig="separate")
    (folder / "deep.png").write_bytes(png(7, 9, 16, 2, deep.astype(">u2").tobytes()))
    np.save(folder / "a.npy", pixels[None, :, :, 0])
    np.savez_compressed(folder / "a.npz", images=pixels[None], y=np.array([1]))
    more = ["stack.tif", "ome.tif", "tiled.tif", "deep.png", "a.npy", "a.npz"]
    return models, [*pictures, *(folder / name for name in more)]


def damaged_card(path: Path, draw: random.Random) -> bytes:
    """A model file with something odd in place of one field of its card."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["dae_sampler"])
    key = draw.choice(list(facts))
    odd = [None, -1, 10**30, 1e308, [], {}, "x" * 5000, [1, 8], {"sample": {"sampler": []}}]
    facts[key] = draw.choice([*odd, [0, 0], [5, -5], ["a", "a"], mutate_text(str(facts[key]), draw)])
    header["__metadata__"]["dae_sampler"] = json.dumps(facts)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def odd_tiff(draw: random.Random) -> bytes:
    """A TIFF file of any byte order, depth, layout and number of pages, mostly with something absurd in its tags."""
    order, big = draw.choice("<>"), draw.random() < 0.2
    offset, entry, size = ("Q", "HHQ", 8) if big else ("I", "HHI", 4)
    out = bytearray(b"II" if order == "<" else b"MM")
    out += struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8)))
    link = len(out) - size
    for page in range(draw.choice([1, 1, 1, 2, 4])):
        tags, pixels = _page(draw)
        at = len(out)
        out += pixels
        tags[273] = (4, [at]) if 322 not in tags else (4, [])
        if 322 in tags:
            tags[324], tags[325] = (4, [at]), tags.pop(279)
        for _ in range(draw.choice([0, 0, 1, 1, 3])):  # something absurd
            code = draw.choice([*tags, 330, 34665, 32997, 50838, 270, draw.randrange(65536)])
            kind = draw.choice([0, 1, 2, 3, 3, 4, 5, 11, 12, 16, 77])
            tags[code] = (
                kind,
                [draw.choice([0, 1, 2, 3, 8, 255, 65535, 2**31, 2**32 - 1]) for _ in range(draw.randrange(4))],
            )
        here = len(out)
        out[link : link + size] = struct.pack(order + offset, here)
        values, place = b"", here + (8 if big else 2) + len(tags) * (4 + 2 * size) + size
        entries = b""
        for code, (kind, numbers) in sorted(tags.items()):
            form = {1: "B", 3: "H", 4: "I", 5: "I", 16: "Q"}.get(kind, "B")
            most = 256 ** struct.calcsize(form)
            data = b"".join(struct.pack(order + form, number % most) for number in numbers)
            count = draw.choice([0, 2**20, 2**32 - 1]) if draw.random() < 0.02 else len(numbers)
            entries += struct.pack(order + entry, code, kind, count)
            if len(data) <= size:
                entries += data.ljust(size, b"\0")
            else:
                entries += struct.pack(order + offset, place + len(values))
                values += data
        out += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
        link = len(out)
        again = here if page and draw.random() < 0.05 else 0  # a chain that bites its tail
        out += struct.pack(order + offset, again) + values
    return bytes(out) if draw.random() < 0.8 else mutate(bytes(out), draw)


def _page(draw: random.Random) -> tuple[dict[int, tuple[int, list[int]]], bytes]:
    """Tags and pixels of one page, of any depth and layout."""
    width, height = draw.choice([1, 7, 8, 16]), draw.choice([1, 8, 9, 17])
    bits = draw.choice([1, 2, 3, 4, 6, 8, 8, 8, 10, 12, 14, 16, 16, 16, 17, 24, 32, 32, 64])
    samples, planar = draw.choice([1, 1, 1, 2, 3, 3, 4, 5, 16]), draw.choice([1, 1, 2])
    row = -(-width * bits * (1 if planar == 2 else samples) // 8)
    pixels = draw.randbytes(row * height * (samples if planar == 2 else 1))
    if bits in (32, 64) and draw.random() < 0.5:
        kind = {32: "<f4", 64: "<f8"}[bits]
        odd = draw.choice([0.5, 1e-40, np.nan, np.inf, 1e30, -1.0])
        pixels = np.full(len(pixels) // (bits // 8), odd, kind).tobytes()
    compression = draw.choice([1, 1, 1, 8, 8, 32773, 5, 7, 2, 34925, 50000, 99])
    pixels = zlib.compress(pixels) if compression == 8 else pixels
    form = draw.choice([1, 1, 2, 3, 3, 4, 6]) if bits >= 16 else draw.choice([1, 1, 1, 2])
    photometric = draw.choice([0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 32803])
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [compression])}
    tags |= {262: (3, [photometric]), 277: (3, [samples]), 278: (4, [height]), 279: (4, [len(pixels)])}
    tags |= {284: (3, [planar]), 339: (3, [form] * samples), 274: (3, [draw.choice([1, 1, 3, 6, 8, 9])])}
    if draw.random() < 0.3:
        tags[338] = (3, [draw.randrange(4) for _ in range(draw.randrange(1, 4))])
    if draw.random() < 0.2:
        tags[317] = (3, [draw.choice([1, 2, 3, 9])])
    if photometric == 3:
        tags[320] = (3, [draw.randrange(65536) for _ in range(3 * 2 ** min(bits, 8))])
    if draw.random() < 0.15:
        tags[322] = tags[323] = (4, [draw.choice([0, 1, 16, 16, 2**20])])
    return tags, pixels


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG, its sum right."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, bits: int, colour: int, pixels: bytes, more: bytes = b"", interlaced: int = 0
) -> bytes:
    """A PNG of these pixels."""
    row = -(-len(pixels) // height)
    lines = b"".join(b"\0" + pixels[i * row : (i + 1) * row] for i in range(height))
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    parts = chunk(b"IHDR", head), more, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def odd_png(draw: random.Random) -> bytes:
    """A PNG with right sums, of any depth and kind, whose header, pixels or further chunks need not fit together."""
    bits, colour = draw.choice([1, 2, 4, 8, 16, 16, 16, 3, 32]), draw.choice([0, 0, 2, 2, 3, 4, 6, 1, 7])
    width, height = draw.choice([1, 7, 8]), draw.choice([1, 8, 9])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    row = -(-width * bits * channels // 8)
    more = chunk(b"PLTE", draw.randbytes(3 * draw.choice([0, 1, 2, 256, 300]))) if colour == 3 else b""
    kinds = [b"tRNS", b"gAMA", b"iCCP", b"eXIf", b"pHYs", b"acTL", b"fcTL", b"tEXt", b"zTXt", b"iTXt", b"sBIT", b"IHDR"]
    for _ in range(draw.choice([0, 1, 1, 2])):
        squeezed = b"a\0\0" + zlib.compress(bytes(draw.choice([10, 10**6, 10**8]))) if draw.random() < 0.1 else b""
        more += chunk(draw.choice(kinds), squeezed or draw.randbytes(draw.choice([0, 1, 4, 6, 8, 9, 13, 26, 40])))
    huge = draw.random() < 0.05
    pixels = draw.randbytes(draw.choice([row * height, row * height, row * height - 1, height]))
    size = (draw.choice([0, 2**31 - 1, 40000]), 30000) if huge else (width, height)
    if huge:
        height = 1
    made = png(width, height, bits, colour, pixels or b"\0", more, draw.choice([0, 0, 0, 1]))
    if huge:
        made = made[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)) + made[33:]
    return made if draw.random() < 0.8 else mutate(made, draw)


def odd_array(draw: random.Random) -> np.ndarray:
    """An array of any type, shape and values."""
    shape = draw.choice(
        [(2, 8, 8), (2, 1, 8, 8), (2, 8, 8, 3), (1, 16, 8, 8), (0, 8, 8), (8, 8), (2,), (1, 1, 1), (1, 7, 13)]
    )
    kind = draw.choice(["u1", "u2", "i2", "i8", "f2", "f4", "f8", "?", "c8"])
    values = [0, 1, 0.5, 255, 65535, -1, 1e-40, 1e30]
    values = [*values, np.nan, np.inf] if np.dtype(kind).kind in "fc" else [0, 1, 255, -1]
    with np.errstate(all="ignore"):
        made = np.array([draw.choice(values) for _ in range(int(np.prod(shape)))]).reshape(shape)
        constant = np.full(shape, draw.choice(values))
        return draw.choice([made, constant]).astype(kind)


def odd_table(draw: random.Random, column: str, names: list[str]) -> bytes:
    """A CSV of ``column`` by file, with lines lost, doubled, odd, or not text at all."""
    values = [*ODD, "0.1", "25/255", "0.2", "a", "b", '"', ",", "1,2"]
    rows = [f"{name},{draw.choice(['0.1', '0.1', draw.choice(values)])}" for name in names if draw.random() < 0.9]
    rows += [draw.choice(rows)] if rows and draw.random() < 0.1 else []
    header = draw.choice(
        [f"file,{column}", f"file,{column}", f"file,{column}", column, "", f"file;{column}", f"\ufefffile,{column}"]
    )
    encoding, errors = draw.choice([("utf-8", "surrogateescape"), ("utf-8", "surrogateescape"), ("utf-16", "replace")])
    content = "\n".join([header, *rows]).encode(encoding, errors)
    return content if draw.random() < 0.7 else mutate(content, draw)


def encoded(array: np.ndarray, kind: str) -> bytes:
    """An array as the content of an ``.npy`` or ``.npz`` file."""
    file = io.BytesIO()
    if kind == ".npy":
        np.save(file, array)
    else:
        np.savez(file, images=array, y=np.arange(len(array) if array.ndim else 1))
    return file.getvalue()

"""Give the commands damaged files and odd options: each must end in success or in one sentence.

    python benchmarks/fuzz.py [--inputs 3000] [--seed 0]

A traceback, more than 10 seconds, or a file that a refused command leaves behind is a failure. The exit code is 1 if
there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder, cli, save

LIMIT = 10
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
]
SPECS = [
    "gaussian(0.5)",
    "gaussian(0.02..20)",
    "masking(0.1)+gaussian(0.1..1)",
    "salt-pepper(0..1)",
    "erasure(0..1)",
    "os:path(1)",
    "heun(churn=0.1)",
    "unet",
    "dense(4)",
]
RESTORE = ["--sampler", "--steps", "--level", "--corruption", "--out", "--trajectory", "--strict", "--compare"]
RESTORE += ["--batch", "--over"]
OPTIONS = {
    "train": [
        "--corruption",
        "--net",
        "--loss",
        "--lr",
        "--weight-decay",
        "--ema",
        "--every",
        "--patience",
        "--size",
        "--fit",
        "--over",
        "--channels",
        "--binarise",
        "--augment",
        "--data-root",
        "--seed",
        "--device",
        "--precision",
        "--from",
        "--epochs",
        "--batch",
        "--resume",
    ],
    "sample": [
        "-n",
        "--sampler",
        "--steps",
        "--corruption",
        "--out",
        "--trajectory",
        "--every",
        "--seed",
        "--device",
    ],
    "refine": [*RESTORE, "--added"],
    "denoise": RESTORE,
    "inpaint": ["--mask", "-n", "--sampler", "--steps", "--out", "--compare", "--seed"],
    "verify": ["--density", "--sigma", "--points", "--net", "--out", "--seed"],
    "likelihood": ["--data", "--draws", "--orders", "--json"],
    "corrupt": ["--out", "--seed", "--strict"],
    "info": ["--json"],
}
SHORT = ["--steps", "1", "--batch", "2", "--net", "dense(4)", "--out", "run"]
USUAL = {
    "train": SHORT,
    "sample": ["--steps", "2", "-n", "2"],
    "denoise": ["--level", "0.5"],
    "inpaint": ["--mask", "right", "--steps", "2"],
    "verify": SHORT[:2],
    "likelihood": ["--data", "digits"],
}
"""What each command is given before the odd options, so that it does not end at what is missing."""
FLAGS = {"--resume", "--strict", "--compare", "--json"}


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
        letters[at : at + draw.randrange(2)] = draw.choice(
            ["", "(", ")", ",", "..", "+", "=", "-", "9" * 30, "e", ":", "é", "\0"]
        )
    return "".join(letters)


def seeds(folder: Path) -> tuple[list[Path], list[Path]]:
    """Good files to damage: models; pictures and arrays."""
    folder.mkdir()
    model, pictures = folder / "model.safetensors", []
    save(DenoisingAutoencoder("dense(8)", "gaussian(0.02..20)", (1, 8, 8)), model)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for name in ("a.png", "a.jpg", "a.gif", "a.bmp", "a.tiff", "a.webp", "a.ppm"):
        Image.fromarray(pixels).save(folder / name)
        pictures.append(folder / name)
    np.save(folder / "a.npy", pixels[None, :, :, 0])
    np.savez_compressed(folder / "a.npz", images=pixels[None])
    return [model], [*pictures, folder / "a.npy", folder / "a.npz"]


def damaged_card(path: Path, draw: random.Random) -> bytes:
    """A model file with something odd in place of one field of its card."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["dae_sampler"])
    key = draw.choice(list(facts))
    odd = [
        None,
        -1,
        10**30,
        1e308,
        [],
        {},
        "x" * 5000,
        [1, 8],
        {"sample": {"sampler": []}},
        mutate_text(str(facts[key]), draw),
    ]
    facts[key] = draw.choice(odd)
    header["__metadata__"]["dae_sampler"] = json.dumps(facts)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def arguments_for(draw: random.Random, models: list[Path], pictures: list[Path]) -> list[str]:
    """A command line with a damaged model, a damaged picture or array, or odd options."""
    kind = draw.choice(["model", "card", "picture", "data", "options", "options"])
    model = models[0]
    if kind in ("model", "card"):
        bad = Path("../bad.safetensors")
        bad.write_bytes(mutate(model.read_bytes(), draw) if kind == "model" else damaged_card(model, draw))
        return draw.choice([["info", str(bad)], ["sample", str(bad), "-n", "1", "--steps", "1", "--out", "out.png"]])
    if kind in ("picture", "data"):
        good = draw.choice(pictures)
        bad = Path(f"../bad{good.suffix}")
        bad.write_bytes(mutate(good.read_bytes(), draw))
        if kind == "data":
            folder = Path("../bad-folder")
            folder.mkdir(exist_ok=True)
            (folder / bad.name).write_bytes(bad.read_bytes())
            source = folder if good.suffix not in (".npy", ".npz") else bad
            return [
                "train",
                str(source),
                "--steps",
                "1",
                "--batch",
                "2",
                "--net",
                "dense(4)",
                "--out",
                "run",
                "--size",
                "8",
            ]
        method = draw.choice(["refine", "denoise", "corrupt"])
        first = "masking(0.5)" if method == "corrupt" else str(model)
        return [method, first, str(bad), "--out", "out", *USUAL.get(method, [])]
    return odd_options(draw, model, pictures[0])


def odd_options(draw: random.Random, model: Path, picture: Path) -> list[str]:
    """A command with up to four options, most of them odd."""
    command = draw.choice(list(OPTIONS))
    texts = [*ODD, *(mutate_text(spec, draw) for spec in SPECS), draw.choice(SPECS)]
    first = {"train": "digits", "corrupt": mutate_text("gaussian(0.5)", draw)}.get(command, str(model))
    words = [command, draw.choice([first, first, first, draw.choice(texts)])]
    words += [str(picture)] if command in ("refine", "denoise", "corrupt", "inpaint") else []
    words += USUAL.get(command, [])
    for option in draw.sample(OPTIONS[command], draw.randrange(min(4, len(OPTIONS[command])))):
        words += [option] if option in FLAGS else [option, draw.choice(texts)]
    return words


def attempt(words: list[str]) -> tuple[int | None, str]:
    """Run the command in an empty folder; returns its exit code, and what went wrong, if anything."""
    out, code = io.TextIOWrapper(io.BytesIO(), errors="backslashreplace"), None
    sys.argv = ["dae-sampler", *(word.replace("\0", "") for word in words)]  # no system passes a NUL to a process
    signal.alarm(LIMIT)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            cli.main()
    except SystemExit as end:
        code = end.code
    except TimeoutError:
        return code, f"took more than {LIMIT} s"
    except BaseException:
        return code, traceback.format_exc()
    finally:
        signal.alarm(0)
    left = [str(p) for p in Path.cwd().rglob("*")]
    if code not in (0, 2):
        return code, f"exit code {code}"
    return code, f"left behind: {left}" if code == 2 and left else ""


def main() -> int:
    """Parse, try, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, failures, refused, began = random.Random(options.seed), 0, 0, time.monotonic()

    def too_long(number: int, frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        models, pictures = seeds(Path(folder) / "good")
        for i in range(options.inputs):
            place = Path(folder) / "here" / str(i)
            place.mkdir(parents=True)
            os.chdir(place)
            words = arguments_for(draw, models, pictures)
            code, wrong = attempt(words)
            refused += code == 2
            if wrong:
                failures += 1
                print(f"input {i}: {words}\n{wrong}", file=sys.stderr)
        os.chdir("/")
    seconds = time.monotonic() - began
    print(f"{options.inputs} inputs in {seconds:.0f} s, {refused} refused with a sentence: {failures} failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())

"""Command lines for benchmarks/fuzz.py: a function for each area, which makes odd files and returns the words."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_files import (
    ODD,
    damaged_card,
    encoded,
    mutate,
    mutate_text,
    odd_array,
    odd_png,
    odd_table,
    odd_tiff,
)
from PIL import Image

from dae_sampler import cli, load

SPECS = ["gaussian(0.5)", "gaussian(0.02..20)", "masking(0.1)+gaussian(0.1..1)", "salt-pepper(0..1)", "erasure(0..1)"]
SPECS += ["os:path(1)", "heun(churn=0.1)", "unet", "dense(4)", "dpm(eta=1)", "iterate(eta=0.5)", "consistency", "given"]
SPECS += [
    "blindspot(0.02)",
    "renoise(0.1)",
    "jpeg(10..90)",
    "poisson(2..50)",
    "blur(0.5..2)",
    "poisson-gaussian(2.1, 8)",
]
WRITE = ["--out", "--compare", "--strict", "--over", "--quiet"]
COMPUTE = ["--corruption", "--net", "--seed", "--device", "--precision"]
RESTORE = [*WRITE, *COMPUTE, "--sampler", "--steps", "--batch", "--trajectory", "--every"]
LEVEL = ["--level", "--label", "--guidance", "--resize", "--large"]
OPTIONS = {
    "train": [
        "--steps",
        "--batch",
        "--optimizer",
        "--lr",
        "--weight-decay",
        "--l1",
        "--ema",
        "--seed",
        "--every",
        "--patience",
        "--binarise",
        "--augment",
        "--label-dropout",
        "--damaged",
        "--exposures",
        "--target",
        "--corruption",
        "--net",
        "--loss",
        "--epochs",
        "--from",
        "--labels",
        "--size",
        "--crop",
        "--fit",
        "--channels",
        "--over",
        "--data-root",
        "--strict",
        "--device",
        "--precision",
        "--out",
        "--resume",
    ],
    "distil": [
        "--data",
        "--labels",
        "--steps",
        "--batch",
        "--lr",
        "--out",
        "--resume",
        "--every",
        "--seed",
        "--device",
        "--precision",
    ],
    "sample": [*COMPUTE, "-n", "--sampler", "--steps", "--label", "--guidance", "--size", "--out", "--trajectory"],
    "refine": [*RESTORE, *LEVEL, "--added"],
    "denoise": [*RESTORE, *LEVEL, "--strength", "--noise", "--error", "--truth"],
    "restore": [*RESTORE, "--operator", "--noise", "--simulate", "--samples"],
    "inpaint": [*WRITE, *COMPUTE, "--mask", "-n", "--sampler", "--steps", "--label", "--resize"],
    "corrupt": ["--out", "--seed", "--strict", "--over"],
    "encode": [*COMPUTE, "--out", "--level", "--stage", "--pool", "--batch", "--over", "--strict"],
    "anomaly": [*COMPUTE, "--good", "--map", "--out", "--false-alarms", "--over", "--strict", "--json"],
    "evaluate": [*COMPUTE, "--data", "--test", "-n", "--level", "--features", "--report", "--json", "--sampler"],
    "likelihood": ["--data", "--draws", "--orders", "--json", "-n"],
    "verify": ["--density", "--sigma", "--points", "--net", "--out", "--seed"],
    "info": ["--json"],
    "report": ["--out", "--corruption", "--net", "--json"],
    "export": ["--corruption", "--net", "--json"],
}
FLAGS = {"--resume", "--strict", "--compare", "--json", "--quiet", "--exposures", "--resize", "--large"}
FLAGS |= {"--error", "--simulate", "--map"}
SHORT = ["--steps", "1", "--batch", "2", "--net", "dense(4)", "--out", "run"]
CROPS = ["--crop", "8", "--steps", "1", "--batch", "2", "--net", "unet(8)", "--out", "run"]
USUAL = {
    "train": SHORT,
    "distil": [*SHORT[:4], "--out", "run", "--data", "digits"],
    "sample": ["--steps", "2", "-n", "2"],
    "denoise": ["--level", "0.3", "--steps", "1"],
    "refine": ["--steps", "1"],
    "restore": ["--operator", "blur(1)", "--steps", "1"],
    "inpaint": ["--mask", "right", "--steps", "2"],
    "verify": SHORT[:2],
    "likelihood": ["--data", "digits", "-n", "4"],
    "evaluate": ["-n", "4", "--steps", "1", "--features", "flat:pixels"],
}
"""What each command is given before the odd options, so that it does not end at what is missing."""
PICTURES = ("refine", "denoise", "restore", "inpaint", "corrupt", "encode", "anomaly")
OPERATORS = [
    "blur(1.5)",
    "downsample(2)",
    "motion(9, 30)",
    "grey",
    "mask('left')",
    "mask('MASK')",
    "blur(1)+downsample(2)",
]
HUB = ["hf:a/b", "hf:a/b@main", "hf:", "hf:a", "hf:a/b/c", "hf:../x", "hf:a/..", "hf:/etc/passwd", "hf:a/b@", "HF:a/b"]


class World:
    """Good files, a place for bad ones, and the web page."""

    def __init__(self, models: dict[str, Path], pictures: list[Path], bad: Path) -> None:
        self.models, self.pictures, self.bad = models, pictures, bad
        self.model = models["model"]
        (models["model"].parent / "flat.py").write_text("def pixels(images):\n    return images.flatten(1)\n")
        sys.path.insert(0, str(models["model"].parent))
        self.run = models["model"].parent / "run"
        self._trained()
        self.page: Any = None

    def _trained(self) -> None:
        """A run to damage, of labelled pictures."""
        folder = self.run.parent / "classes"
        for i in range(24):
            (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 10 * i).save(folder / "ab"[i % 2] / f"{i}.png")
        words = ["train", str(folder), "--labels", "auto", "--steps", "4", "--every", "2", "--batch", "2"]
        sys.argv = ["dae-sampler", *words, "--net", "unet(8)", "--out", str(self.run), "--quiet"]
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise
        self.models["labels"] = self.run / "model.safetensors"

    def clear(self) -> None:
        """Remove the bad files of the input before."""
        shutil.rmtree(self.bad, ignore_errors=True)
        self.bad.mkdir()

    def put(self, name: str, content: bytes) -> str:
        """A bad file."""
        path = self.bad / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def visit(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, str]:
        """What the page answers to a request: 0 or 2, and what went wrong."""
        from dae_sampler.web import exhibit, server

        if self.page is None:
            shown = ("model", "any", "colour", "pairs", "erasing")
            exhibits = [exhibit.Exhibit(name, load(self.models[name], "cpu")) for name in shown]
            self.page = server._application(exhibits, "localhost", 0)
        sent: list[dict[str, Any]] = []

        async def answer() -> None:
            waiting = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> dict[str, Any]:
                if waiting:
                    return waiting.pop()
                await asyncio.sleep(3600)
                raise AssertionError

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1"}
            scope |= {"method": "POST" if body else "GET", "path": path, "raw_path": path.encode(errors="replace")}
            scope |= {"query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("localhost", 80)}
            await self.page(scope | {"scheme": "http", "root_path": ""}, receive, send)

        try:
            asyncio.run(asyncio.wait_for(answer(), 10))
        except TimeoutError:
            return 1, "took more than 10 s"
        except BaseException:
            return 1, traceback.format_exc(limit=-6)
        status = sent[0]["status"]
        text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        wrong = status >= 500 or "Something went wrong" in text or "Traceback" in text
        return 0 if status == 200 and '"error"' not in text else 2, f"{status} {text[:500]}" if wrong else ""


def bad_models(draw: random.Random, world: World) -> list[str]:
    """A damaged model or card."""
    model = draw.choice(list(world.models.values()))
    damaged = mutate(model.read_bytes(), draw) if draw.random() < 0.4 else damaged_card(model, draw)
    bad = world.put("bad.safetensors", damaged)
    words = [
        ["info", bad],
        ["sample", bad, "-n", "1", "--steps", "1", "--out", "out.png"],
        ["distil", bad, *USUAL["distil"]],
    ]
    words += [["encode", bad, str(world.pictures[0])], ["anomaly", bad, str(world.pictures[0])]]
    words += [["denoise", bad, str(world.pictures[0]), "--steps", "1"], ["evaluate", bad, *USUAL["evaluate"]]]
    words += [["train", "digits", *SHORT, "--from", bad], ["export", bad, "out.onnx"]]
    return draw.choice(words)


def _used(draw: random.Random, world: World, bad: str) -> list[str]:
    """A command that reads a picture, an array or a folder of them."""
    one = draw.choice([name for name in world.models if name != "labels"])
    model = str(world.models[one])
    bare = {"pairs": [], "erasing": []}.get(one, ["--level", "0.3"])
    truth = ["--truth", bad] if draw.random() < 0.3 else []
    good = str(draw.choice(world.pictures))
    resize = ["--resize"] if draw.random() < 0.3 else []
    table = f"out{draw.choice(['.npz', '.csv'])}"
    out = ["--out", draw.choice(["out", "out", "out.png", "out.tif", "out.npy"])]
    return draw.choice(
        [
            ["denoise", model, bad, *out, "--steps", "1", *bare, *truth, *resize],
            ["denoise", model, bad, *out, "--steps", "1", *draw.choice([[], ["--error"], ["--compare"]])],
            ["denoise", model, good, *out, "--steps", "1", *bare, "--truth", bad],
            ["refine", model, bad, *out, "--steps", "1", *draw.choice([[], ["--compare"]])],
            ["restore", model, bad, *out, "--steps", "1", "--operator", "blur(1)", *draw.choice([[], ["--simulate"]])],
            ["inpaint", model, bad, *out, "--steps", "1", "--mask", "left", *resize],
            ["inpaint", model, good, *out, "--steps", "1", "--mask", bad],
            ["corrupt", draw.choice(["masking(0.5)", "gaussian(0.1)", "jpeg(30)"]), bad, *out],
            ["encode", model, bad, "--out", table],
            ["anomaly", model, bad],
            ["anomaly", model, good, "--good", bad],
            ["evaluate", model, *USUAL["evaluate"], "--data", bad, "--test", bad],
            ["train", bad, *SHORT, "--size", "8"],
            ["train", bad, *CROPS, "--fit", "pad"],
            ["train", bad, "--exposures", *CROPS, "--fit", "pad"],
            ["train", bad, "--damaged", draw.choice([bad, good]), *SHORT, "--size", "8"],
            ["train", bad, *SHORT, "--size", "8", "--labels", "auto"],
            ["likelihood", model, "--data", bad, "-n", "2"],
        ]
    )


def _in_folder(draw: random.Random, world: World, suffix: str, content: Callable[[], bytes]) -> str:
    """A bad file by itself, or in a folder beside a good one."""
    if draw.random() < 0.5:
        return world.put(f"bad{suffix}", content())
    for i in range(draw.choice([1, 2, 3])):
        world.put(f"folder/{i}{suffix}", content())
    if draw.random() < 0.5:
        good = draw.choice(world.pictures[:7])
        world.put(f"folder/good{good.suffix}", good.read_bytes())
    return str(world.bad / "folder")


def bad_pictures(draw: random.Random, world: World) -> list[str]:
    """A good picture damaged."""
    good = draw.choice(world.pictures)
    if good.suffix in (".npy", ".npz"):
        return _used(draw, world, world.put(f"bad{good.suffix}", mutate(good.read_bytes(), draw)))
    return _used(draw, world, _in_folder(draw, world, good.suffix, lambda: mutate(good.read_bytes(), draw)))


def tiff(draw: random.Random, world: World) -> list[str]:
    """An odd TIFF file."""
    return _used(draw, world, _in_folder(draw, world, ".tif", lambda: odd_tiff(draw)))


def pngs(draw: random.Random, world: World) -> list[str]:
    """An odd PNG file."""
    return _used(draw, world, _in_folder(draw, world, ".png", lambda: odd_png(draw)))


def arrays(draw: random.Random, world: World) -> list[str]:
    """An array of odd type, shape or values."""
    kind = draw.choice([".npy", ".npz"])
    return _used(draw, world, world.put(f"bad{kind}", encoded(odd_array(draw), kind)))


def _folder(draw: random.Random, world: World, name: str, most: int = 6) -> str:
    """Pictures of a few sizes and depths."""
    for i in range(draw.randrange(most)):
        side = draw.choice([8, 8, 8, 8, 9, 1])
        kind = draw.choice(["uint8", "uint8", "uint8", "uint16"])
        pixels = np.full((side, 8, 3) if draw.random() < 0.2 else (side, 8), draw.choice([0, 7, 255]), kind)
        path = (
            world.bad
            / name
            / draw.choice(["", "", "a", "b"])
            / f"{draw.choice([i, i, i, 0])}{draw.choice(['', '', 'é'])}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8) if pixels.ndim == 3 else pixels).save(path)
    (world.bad / name).mkdir(exist_ok=True)
    return str(world.bad / name)


def pairs(draw: random.Random, world: World) -> list[str]:
    """Pairs that do not match, and patterns that are none."""
    clean, damaged = _folder(draw, world, "clean"), _folder(draw, world, "damaged")
    good = str(draw.choice(world.pictures))
    patterns = [f"{clean}/*.png", f"{clean}/**/*", f"{clean}/*_*.png", f"{clean}/[", "*", good, clean, "nowhere", ""]
    x = clean if draw.random() < 0.6 else draw.choice(patterns)
    y = damaged if draw.random() < 0.6 else draw.choice([*patterns, damaged + "/*.png"])
    if draw.random() < 0.2:
        x, y = (world.put(f"{name}.npy", encoded(odd_array(draw), ".npy")) for name in "xy")
    target = ["--target", draw.choice(["noisy", "clean", "x"])] if draw.random() < 0.4 else []
    how = draw.choice([SHORT, CROPS, [*CROPS, "--fit", "pad"], [*SHORT, "--size", "8"]])
    return draw.choice([["train", x, "--damaged", y, *how, *target], ["train", x, "--exposures", *how]])


def labels(draw: random.Random, world: World) -> list[str]:
    """Labels that do not fit the pictures."""
    folder = str(world.run.parent / "classes") if draw.random() < 0.5 else _folder(draw, world, "pictures", 8)
    names = [path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.png")] + ["0", "lost.png"]
    table = world.put("labels.csv", odd_table(draw, "label", names))
    source = draw.choice([table, table, table, "auto", *ODD])
    array = world.put("a.npz", encoded(odd_array(draw), ".npz"))
    more = draw.choice([[], ["--label-dropout", draw.choice(ODD)], ["--crop", "8"], ["--augment", "mirror"]])
    net = ["--steps", "1", "--batch", "2", "--net", draw.choice(["unet(8)", "dense(4)"]), "--out", "run"]
    model = str(draw.choice(list(world.models.values())))
    label = draw.choice(["a", "b", "c", *ODD])
    guided = ["--label", label, "--guidance", draw.choice(["0", "1", "2", "nan", "1e3", "-1"]), "--steps", "1"]
    picture = str(world.pictures[0])
    return draw.choice(
        [
            ["train", draw.choice([folder, folder, array]), "--labels", source, *net, *more],
            ["sample", model, "-n", "2", *guided, "--label", draw.choice(["a", label])],
            ["denoise", model, picture, *guided, "--resize"],
            ["distil", model, "--data", folder, "--labels", source, *SHORT[:4], "--out", "run"],
        ]
    )


def operators(draw: random.Random, world: World) -> list[str]:
    """Texts of operators, masks, and noise."""
    mask = world.put("mask.png", odd_png(draw)) if draw.random() < 0.5 else str(world.pictures[0])
    text = draw.choice(OPERATORS).replace("MASK", mask)
    text = draw.choice([text, mutate_text(text, draw), mutate_text(text, draw), f"{text}+{draw.choice(OPERATORS)}"])
    model = str(world.models[draw.choice(["model", "any", "colour", "pairs", "labels", "counts"])])
    noise = draw.choice(["0.01", "1/255", "0", "-1", "nan", "inf", "1e9", "1/0", *ODD])
    more = draw.choice(
        [[], ["--simulate"], ["--samples", "2"], ["--compare"], ["--sampler", mutate_text("dpm(eta=1)", draw)]]
    )
    steps = ["--steps", draw.choice(["1", "2"])]
    source = str(draw.choice(world.pictures))
    return ["restore", model, source, "--operator", text, "--noise", noise, *steps, *more]


def noises(draw: random.Random, world: World) -> list[str]:
    """Levels and noise: numbers, fractions, tables and sensors."""
    folder = _folder(draw, world, "pictures", 5)
    names = [path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.png")] + ["0", "1"]
    table = world.put("levels.csv", odd_table(draw, "level", names))
    sensor = draw.choice(["poisson-gaussian(2.1, 8)", "poisson-gaussian(gain=1, read=0)", "poisson-gaussian(0, 0)"])
    level = draw.choice([table, table, "auto", "25/255", "1/0", "1e400", *ODD, mutate_text("25/255", draw)])
    noise = draw.choice([sensor, mutate_text(sensor, draw), mutate_text(sensor, draw), "25/255", *ODD])
    which = draw.choice(
        [["--level", level], ["--level", level], ["--noise", noise], ["--noise", noise, "--level", level]]
    )
    strength = ["--strength", draw.choice(["0.01", "100", "nan", *ODD])] if draw.random() < 0.3 else []
    array = world.put("a.npy", encoded(odd_array(draw), ".npy"))
    source = draw.choice([folder, folder, str(draw.choice(world.pictures)), array])
    command, model = draw.choice(["denoise", "denoise", "refine"]), str(draw.choice(list(world.models.values())))
    which = ["--level", level] if command == "refine" else [*which, *strength, *draw.choice([[], ["--error"]])]
    return [command, model, source, "--steps", "1", *which, *draw.choice([[], ["--resize"]])]


def names(draw: random.Random, world: World) -> list[str]:
    """Names of models in the hub and elsewhere, and places of graphs."""
    name = draw.choice([*HUB, mutate_text(draw.choice(HUB), draw), mutate_text("mnist", draw), "photo", *ODD])
    onnx = draw.choice(["out.onnx", "a/b/out.onnx", "out.txt", "/proc/x.onnx", "/x.onnx", "x" * 300 + ".onnx", *ODD])
    model = draw.choice([name, name, *map(str, world.models.values())])
    picture = str(world.pictures[0])
    words = [["info", name], ["export", model, onnx], ["denoise", name, picture, "--steps", "1", "--level", "0.1"]]
    words += [["train", "digits", *SHORT, "--from", name], ["push", model, draw.choice(HUB)], ["report", name]]
    return draw.choice([*words, ["sample", name, "-n", "1", "--steps", "1"], ["distil", name, *USUAL["distil"]]])


def runs(draw: random.Random, world: World) -> list[str]:
    """A run folder of which a file is damaged or lost."""
    run = world.bad / "run"
    shutil.copytree(world.run, run)
    for path in draw.sample(sorted(p for p in run.rglob("*") if p.is_file()), draw.choice([1, 1, 2])):
        text = path.suffix in (".csv", ".json")
        kind = draw.randrange(4)
        if kind == 0:
            path.unlink()
        elif kind == 1 and text:
            path.write_text(mutate_text(path.read_text(), draw).replace("\0", ""))
        elif kind == 2 and path.suffix == ".json":
            facts = json.loads(path.read_text())
            facts[draw.choice(list(facts))] = draw.choice([None, -1, 10**30, 1e308, [], {}, "x", "nan", True, "../x"])
            path.write_text(json.dumps(facts))
        else:
            path.write_bytes(mutate(path.read_bytes(), draw))
    out = str(run)
    return draw.choice(
        [
            ["report", out, "--out", "report"],
            ["report", out, "--out", "report", "--json"],
            ["train", "--resume", "--out", out, "--steps", "6"],
            ["distil", out, "--data", str(world.run.parent / "classes"), *SHORT[:4], "--out", "run"],
            ["sample", out, "-n", "1", "--steps", "1", "--label", "a"],
            ["info", out],
        ]
    )


def options(draw: random.Random, world: World) -> list[str]:
    """A command with up to four options, most of them odd."""
    command = draw.choice(list(OPTIONS))
    texts = [
        *ODD,
        *(mutate_text(spec, draw) for spec in SPECS),
        draw.choice(SPECS),
        "auto",
        "2",
        "a",
        "out.csv",
        "out.png",
    ]
    model = str(draw.choice(list(world.models.values())))
    first = {"train": "digits", "corrupt": mutate_text("gaussian(0.5)", draw), "report": str(world.run)}.get(
        command, model
    )
    words = [command] if command == "verify" else [command, draw.choice([first, first, first, draw.choice(texts)])]
    words += [str(draw.choice(world.pictures))] if command in PICTURES else []
    words += [draw.choice(["out.onnx", draw.choice(texts)])] if command == "export" else []
    words += ["--out", "report"] if command == "report" else []
    words += USUAL.get(command, [])
    for option in draw.sample(OPTIONS[command], draw.randrange(min(4, len(OPTIONS[command])) + 1)):
        words += [option] if option in FLAGS else [option, draw.choice(texts)]
    return words


def web(draw: random.Random, world: World) -> tuple[str, list[tuple[bytes, bytes]], bytes]:
    """A request to the page."""
    content = draw.choice(
        [
            odd_png(draw),
            odd_tiff(draw),
            draw.choice(world.pictures).read_bytes(),
            mutate(world.pictures[0].read_bytes(), draw),
        ]
    )
    picture = "data:image/png;base64," + base64.b64encode(content).decode()
    odd = [None, -1, 0, 1, 2, 1e9, 1e308, float("nan"), True, [], {}, "", "x", "é", 2**63, picture, 0.5]
    tasks = ["open", "damage", "restore", "inpaint", "sample", "score", "x"]
    facts: dict[str, Any] = {"task": draw.choice(tasks), "model": draw.choice([*world.models, "x"]), "picture": picture}
    fields = {"steps": 1, "n": 2, "seed": 3, "level": 0.3, "damage": "gaussian", "mask": picture, "sampler": "heun"}
    fields |= {"assumed": 0.2, "width": 8, "height": 8}
    facts |= {name: value for name, value in fields.items() if draw.random() < 0.4 or name == "steps"}
    for name in draw.sample([*fields, "task", "model", "picture", "other"], draw.choice([0, 1, 1, 2])):
        facts[name] = draw.choice(odd)
    body = json.dumps(facts).encode()
    body = draw.choice([body, body, body, body, mutate(body, draw), b"[" * 10**5, b"null", b"{}"])
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    if draw.random() < 0.1:
        headers[draw.randrange(2)] = draw.choice([(b"host", b"x" * 300), (b"host", b"[::"), (b"content-type", b"\xff")])
    path = draw.choice(["/work"] * 20 + ["/", "/models", "/../work", "/work/", "/%00", "/é"])
    return path, headers, body if path == "/work" else b""


AREAS: dict[str, Callable[[random.Random, World], Any]] = {
    "models": bad_models, "pictures": bad_pictures, "tiff": tiff, "png": pngs, "arrays": arrays, "pairs": pairs,
    "labels": labels, "operators": operators, "noise": noises, "names": names, "runs": runs, "options": options,
    "web": web,
}  # fmt: skip

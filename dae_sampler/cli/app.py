"""The command line: parse, call, show. torch is imported inside the commands, so that --help need not wait for it."""

from __future__ import annotations

import json
import math
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import __version__, checkpoint
from ..cli.console import Bar, show_skipped
from ..errors import InputError
from ..training.run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from ..dae import DenoisingAutoencoder
    from ..data.pictures import Film, Inputs
    from ..sampling.samplers import State

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)

DEFAULT_CORRUPTION = "gaussian(0.02..20, lognormal(-0.5, 1.2))"

Model = Annotated[str, typer.Argument(help="A shipped model's name (mnist), a .safetensors file, or a run folder.")]
Source = Annotated[Path, typer.Argument(help="A picture, a folder of pictures (any depth), or an .npy/.npz array.")]
Sampler = Annotated[
    str | None,
    typer.Option(
        help="iterate, walk, langevin, euler, heun, dpm, ancestral or reveal, with options as in 'iterate(eta=0.5)', "
        "'heun(churn=0.1)', 'walk(draw=1)', 'reveal(temperature=0.8, means=1)'; default: the model's best."
    ),
]
Steps = Annotated[int | None, typer.Option(min=1, max=100_000, help="Sampling steps; default: the sampler's own.")]
Level = Annotated[float | None, typer.Option(help="Level to start from, such as sigma; default: 0.4 or the nearest.")]
Yours = Annotated[
    str, typer.Option("--corruption", help="For a model of your own corruption: module:Class, to be imported.")
]
Trajectory = Annotated[Path | None, typer.Option(help="Write the way there as an animation: .gif or .webp.")]
Every = Annotated[int, typer.Option(min=1, help="Keep every k-th step of the trajectory.")]
Compare = Annotated[bool, typer.Option("--compare", help="Also write OUT-compare.png: before and after, side by side.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at a picture that cannot be read, instead of skipping it.")
]
Out = Annotated[
    Path | None, typer.Option(help="A folder, a grid (.png) or an array (.npy); by default named after the command.")
]
DataRoot = Annotated[str | None, typer.Option(envvar="DAE_SAMPLER_DATA", help="Where named data sets lie or go.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or bfloat16; auto: bfloat16 where the hardware has it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def main() -> None:
    """Run the command line; bad input ends in one sentence and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # file names need not be text
        stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        code = fail(error.format_message())
    except InputError as error:
        code = fail(str(error))
    except BrokenPipeError:
        code = 0
    except OSError as error:
        code = fail(f"{error.filename or 'the system'}: {error.strerror or error}; check the path and the disk")
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory", str(error)):
            raise
        code = fail("out of memory: lower --batch, the width of the --net, or --size")
    sys.exit(code or 0)


def fail(message: str) -> int:
    """Say what is wrong."""
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"error: {message}")
    return 2


def _version(value: bool) -> None:
    if value:
        console.print(f"dae-sampler {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Denoising autoencoders that generate, restore and score images."""


@app.command(
    epilog="Examples: dae-sampler train mnist | dae-sampler train photos/ --size 32 --steps 20000 | "
    "dae-sampler train mnist --corruption 'gaussian(0.75)' --net 'conv(code=32)' | "
    "dae-sampler train --resume --out runs/mnist"
)
def train(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="A data set's name, a folder of images, or an .npy/.npz file.")] = "",
    corruption: Annotated[
        str,
        typer.Option(
            help="gaussian, salt-pepper, masking, erasure or module:Class at a level or range; chains with +."
        ),
    ] = DEFAULT_CORRUPTION,
    net: Annotated[
        str, typer.Option(help="dense, conv or unet, with arguments: 'dense(128, 64, 28, 64, 128)'.")
    ] = "unet",
    loss: Annotated[str, typer.Option(help="bce, mse or mae.")] = "bce",
    steps: Annotated[int | None, typer.Option(min=1, max=10**9, help="Training steps; default: 2000.")] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0.001, max=1e6, help="Passes over the data, instead of --steps.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=65536, help="Images per step.")] = 384,
    optimizer: Annotated[str, typer.Option(help="muon (with AdamW for vectors) or adamw.")] = "muon",
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 3.4e-3,
    weight_decay: Annotated[float, typer.Option(help="Decoupled weight decay.")] = 0.01,
    ema: Annotated[float, typer.Option(help="Power of the weight average: step t counts like t^ema.")] = 16.0,
    every: Annotated[int, typer.Option(min=1, help="Steps between validations, sample grids and saves.")] = 500,
    patience: Annotated[
        int, typer.Option(min=0, help="Stop after this many validations without progress; 0: never.")
    ] = 0,
    binarise: Annotated[
        str | None,
        typer.Option(help="Make images binary as they are drawn: dynamic or threshold; erasure: dynamic."),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(help="For small data sets: mirror half of the images left to right, or shift each a little."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: a new one in runs/.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; more --steps extend it.")
    ] = False,
    start: Annotated[str | None, typer.Option("--from", help="Start from this model's weights (fine-tune).")] = None,
    size: Annotated[int | None, typer.Option(min=2, max=8192, help="Make the images this many pixels square.")] = None,
    channels: Annotated[int | None, typer.Option(help="1: grey, 3: colour; default: as the images are.")] = None,
    data_root: DataRoot = None,
    strict: Strict = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """Train a denoising autoencoder on images; everything goes to one run folder."""
    from .. import distributed as processes
    from ..corruption import import_own
    from ..device import pick_device
    from ..training import job

    import_own(corruption)
    values = {k: v for k, v in context.params.items() if k in job.Settings.__dataclass_fields__}
    given = {k for k in values if context.get_parameter_source(k).name == "COMMANDLINE"}
    with processes.joined(pick_device(device)):
        console.quiet = quiet or processes.rank() > 0
        run, settings = job.open_run(job.Settings(**values), given, out, resume)
        processes.wait()  # all of them looked before the first of them writes
        raise typer.Exit(job.train(settings, run, console))


@app.command(
    epilog="Examples: dae-sampler sample mnist | dae-sampler sample mnist -n 10000 --out digits.npy | "
    "dae-sampler sample mnist --sampler ancestral --steps 50 --trajectory digits.gif"
)
def sample(
    model: Model,
    n: Annotated[int, typer.Option("-n", min=1, max=10**8, help="How many images.")] = 64,
    sampler: Sampler = None,
    steps: Steps = None,
    corruption: Yours = "",
    out: Annotated[Path, typer.Option(help="A grid (.png), an array (.npy), or a folder.")] = Path("samples.png"),
    trajectory: Trajectory = None,
    every: Every = 1,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """Generate images from noise."""
    from .. import distributed as processes
    from ..data import pictures as images
    from ..device import pick_device
    from ..sampling import tasks as sampling

    with processes.joined(pick_device(device)):
        first_process = processes.rank() == 0
        console.quiet = quiet or not first_process
        film = images.Film(trajectory, every) if trajectory and first_process else None
        with images.Writer(out, n) if first_process else nullcontext() as writer:
            dae = _load(model, corruption, device, precision)
            name, count = sampling.choose(dae, sampler, steps)
            size = sampling.batch_size(dae.shape) * processes.world()
            with _sampling_bar(dae, name, count, n) as bar:
                watch = _watcher(dae, bar, film, count)
                options = {"sampler": name, "steps": count, "seed": seed, "on_step": watch}
                for first in range(0, n, size):
                    some = sampling.sample(dae, min(size, n - first), first=first, **options)
                    if writer:
                        writer.add(some)
                    if film and not first:
                        film.save(some[: max(1, len(processes.share(len(some))))])
    console.print(f"wrote {_listed(out, trajectory)}: {n} images by {name}, {count} steps", markup=False)
    console.print(f"next: dae-sampler sample {model} -n 1000 --out more/ --seed {seed + 1}", markup=False)


@app.command(
    epilog="Examples: dae-sampler refine mnist vae-samples/ --level 0.5 --compare | "
    "dae-sampler refine mnist gan.npy --level 0.5 --added 0.4 | "
    "dae-sampler refine mnist-paper digits.npy --sampler iterate --steps 10"
)
def refine(
    context: typer.Context,
    model: Model,
    source: Source,
    sampler: Sampler = None,
    steps: Steps = None,
    level: Level = None,
    added: Annotated[
        float | None,
        typer.Option(help="Level of the noise that is added; below --level, an image's own faults count as noise too."),
    ] = None,
    corruption: Yours = "",
    out: Out = None,
    compare: Compare = False,
    trajectory: Trajectory = None,
    every: Every = 1,
    strict: Strict = False,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """Add noise to images up to a level and sample down: they move to where the data are dense.

    With --sampler iterate, the paper's refinement: plain iteration, no noise added.
    """
    _restore("refine", **context.params)


@app.command(
    epilog="Examples: dae-sampler denoise mnist scans/ --level 0.5 --compare | "
    "dae-sampler denoise mnist noisy.npy --level 0.8 --steps 1 (the posterior mean: least squared error)"
)
def denoise(
    context: typer.Context,
    model: Model,
    source: Source,
    sampler: Sampler = None,
    steps: Steps = None,
    level: Level = None,
    corruption: Yours = "",
    out: Out = None,
    compare: Compare = False,
    trajectory: Trajectory = None,
    every: Every = 1,
    strict: Strict = False,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """Restore images that are already damaged at --level, adding nothing."""
    _restore("denoise", **context.params)


def _restore(
    method: str,
    *,
    model: str,
    source: Path,
    sampler: str | None,
    steps: int | None,
    level: float | None,
    corruption: str,
    out: Path | None,
    compare: bool,
    trajectory: Path | None,
    every: int,
    strict: bool,
    seed: int,
    device: str,
    precision: str,
    quiet: bool,
    **added: float | None,
) -> None:
    """What refine and denoise have in common: nearly everything."""
    console.quiet = quiet
    from ..data import pictures as images
    from ..sampling import tasks as sampling

    out = _destination(f"{method}d", source, out)
    place = _beside(out) if compare else None
    _spare(source, out, place, trajectory)
    film = images.Film(trajectory, every) if trajectory else None
    dae = _load(model, corruption, device, precision)
    level = sampling.start_level(dae, level)
    choose = sampling.choose if method == "refine" else sampling.choose_restorer
    sampler, steps = choose(dae, sampler, steps)
    inputs = images.load(source, dae.shape, beyond=dae.corruption.overshoot(level), strict=strict)
    _show_notes(inputs)
    n = len(inputs.images)
    with images.Writer(out, n) as writer, _sampling_bar(dae, sampler, steps, n) as bar:
        options = {"level": level, "sampler": sampler, "steps": steps, "seed": seed, **added}
        watch = _watcher(dae, bar, film, steps)
        restored = getattr(sampling, method)(dae, inputs.images, on_step=watch, **options)
        writer.add(restored, inputs.names)
    if film:
        film.save(restored)
    if place:
        images.save_picture(images.pairs(inputs.images, restored), place)
    done = f"{n} images by {sampler} from level {level:g}, {steps} steps"
    console.print(f"wrote {_listed(out, place, trajectory)}: {done}", markup=False)
    higher = min(1.5 * level, dae.corruption.high)
    console.print(f"next, to invent more: dae-sampler {method} {model} {source} --level {higher:g}", markup=False)


@app.command(
    epilog="Examples: dae-sampler corrupt 'gaussian(0.5)' digits/ --out noisy/ | "
    "dae-sampler corrupt 'salt-pepper(0.2)' digits.npy --out noisy.npy"
)
def corrupt(
    corruption: Annotated[str, typer.Argument(help="gaussian, salt-pepper or masking at one level; chains with +.")],
    source: Source,
    out: Out = None,
    strict: Strict = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Damage images, to try out how they are restored. Pictures are clipped to [0,1]; an array (.npy) is not."""
    console.quiet = quiet
    import torch

    from .. import corruption as corruptions
    from ..data import pictures as images
    from ..noise import ImageNoise

    corruptions.import_own(corruption)
    q = corruptions.parse(corruption)
    if q.ranged:
        raise InputError(f"{q} has a range of levels: give one")
    if q.reveals:
        raise InputError(f"{q} tells which pixels are gone, which no picture can: give a mask to inpaint instead")
    inputs = images.load(source, None, strict=strict)
    out = _destination("corrupted", source, out)
    _spare(source, out)
    _show_notes(inputs)
    n = len(inputs.images)
    damaged = q(images.to_float(inputs.images), torch.tensor(q.high), ImageNoise(seed, 0, n))
    with images.Writer(out, n) as writer:
        writer.add(damaged, inputs.names)
    console.print(
        f"wrote {out}: {n} images under {q}; next: dae-sampler denoise MODEL {out} --level {q.high:g}", markup=False
    )


@app.command(
    epilog="Examples: dae-sampler inpaint mnist digit.png --mask right -n 8 | "
    "dae-sampler inpaint mnist-erasure photos/ --mask scratches.png --out filled/"
)
def inpaint(
    model: Model,
    source: Source,
    mask: Annotated[
        str, typer.Option(help="What to fill: left, right, top, bottom, or a picture that is white there.")
    ],
    n: Annotated[int, typer.Option("-n", min=1, max=10_000, help="Completions of each image.")] = 1,
    sampler: Sampler = None,
    steps: Steps = None,
    out: Out = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write OUT-compare.png: a row an image, the damaged one first.")
    ] = False,
    strict: Strict = False,
    corruption: Yours = "",
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """Fill the hidden part of images with what goes with the rest."""
    console.quiet = quiet
    from ..data import pictures as images
    from ..sampling import tasks as sampling

    out = _destination("inpainted", source, out)
    place = _beside(out) if compare else None
    _spare(source, out, place)
    _spare(Path(mask), out, place)
    dae = _load(model, corruption, device, precision)
    sampler, steps = sampling.choose_painter(dae, sampler, steps)
    keep = images.load_mask(mask, dae.shape)
    inputs = images.load(source, dae.shape, strict=strict)
    _show_notes(inputs)
    names = [name if n == 1 else f"{name}-{i + 1}" for name in inputs.names for i in range(n)]
    with images.Writer(out, len(names)) as writer, _sampling_bar(dae, sampler, steps, len(names)) as bar:
        repeated = inputs.images.repeat_interleave(n, 0)
        watch = _watcher(dae, bar, None, steps)
        filled = sampling.inpaint(dae, repeated, keep, sampler=sampler, steps=steps, seed=seed, on_step=watch)
        writer.add(filled, names)
    if place:
        damaged = images.to_float(inputs.images).masked_fill(~keep, 0.5)
        images.save_picture(images.pairs(damaged, filled), place)
    done = f"{len(names)} images by {sampler}, {steps} steps"
    console.print(f"wrote {_listed(out, place)}: {done}", markup=False)
    console.print(f"next: dae-sampler inpaint {model} {source} --mask {mask} -n 8 --compare", markup=False)


@app.command(
    epilog="Examples: dae-sampler evaluate mnist | "
    "dae-sampler evaluate runs/mnist -n 2000 --sampler dpm --steps 10 --json"
)
def evaluate(
    model: Model,
    data: Annotated[str, typer.Option(help="The data set it was trained on.")] = "mnist",
    test: Annotated[str, typer.Option(help="Images to compare with; default: the test half of a named set.")] = "",
    n: Annotated[int, typer.Option("-n", min=1, max=60_000, help="How many images to sample.")] = 10_000,
    sampler: Sampler = None,
    steps: Steps = None,
    features: Annotated[
        str, typer.Option(help="mnist (28x28 grey), inception, or module:function of yours: images to features.")
    ] = "mnist",
    report: Annotated[Path | None, typer.Option(help="Write pictures and curves to this .png, .svg or .pdf.")] = None,
    corruption: Yours = "",
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """Compare samples with real images: Fréchet distance, precision, recall, density, coverage."""
    from .. import distributed as processes
    from .. import figures as plots
    from ..data import pictures as images
    from ..data.named import NAMED
    from ..device import pick_device
    from ..evaluation import metrics
    from ..sampling import tasks as sampling

    if report:
        plots.check(report)
    with processes.joined(pick_device(device)):
        console.quiet = quiet or as_json or processes.rank() > 0
        dae = _load(model, corruption, device, precision)
        name, count = sampling.choose(dae, sampler, steps)
        space = metrics.feature_space(features, dae.shape)
        if not test and data not in NAMED:
            raise InputError(f"{data} has no test half: say what to compare with, by --test")
        train_images = _real(data, data_root, True, dae)
        test_images = _real(test or data, data_root, False, dae)
        with _sampling_bar(dae, name, count, n) as bar:
            found = metrics.evaluate(
                dae,
                train_images,
                test_images,
                space,
                n=n,
                sampler=name,
                steps=count,
                seed=seed,
                on_step=lambda state: bar.advance(),
            )
        if processes.rank() > 0:
            return
    if report:
        plots.save(plots.report(found, images.grid(found.shown, columns=16)), report)
        console.print(f"wrote {report}", markup=False)
    rates = {"nfe": found.evaluations, "images_per_second": n / found.seconds, "ratio": found.ratio}
    if as_json:
        sampling = {"n": n, "sampler": name, "steps": count, "seed": seed}
        both = {"samples": found.samples._asdict(), "floor": found.floor._asdict()}
        rest = {"features": features, "copies": found.copies, "excess_by_level": found.excess}
        typer.echo(json.dumps({**sampling, **both, **rates, **rest}, indent=2))
        return
    table = Table("", *found.samples._fields, box=None, padding=(0, 2, 0, 0))
    for row, scores in ((f"{n} samples", found.samples), (f"{n} training images", found.floor)):
        table.add_row(row, *(f"{value:.3f}" for value in scores))
    console.print(table)
    console.print(
        f"ratio of the distances {found.ratio:.2f}, by {name}, {count} steps: {found.evaluations:.0f} network "
        f"evaluations an image, {n / found.seconds:.0f} images/s\n"
        f"in the feature space {features}; k = {metrics.NEIGHBOURS}\n"
        f"{found.copies:.1%} of the samples are nearer to a training image than all but 1 % of the test images\n"
        f"loss above its floor by level: {', '.join(f'{loss:.4f} at {level:.2g}' for level, loss in found.excess)}",
        markup=False,
    )
    if not report:
        console.print("next: the same with --report report.png, to see samples beside their nearest training images")


@app.command(
    epilog="Examples: dae-sampler likelihood mnist-erasure | dae-sampler likelihood runs/mine --orders 16 -n 1000"
)
def likelihood(
    model: Model,
    data: Annotated[
        str, typer.Option(help="A data set, of which the test half is taken; a folder, an array.")
    ] = "mnist",
    n: Annotated[int | None, typer.Option("-n", min=2, help="How many images, evenly spread; default: all.")] = None,
    draws: Annotated[int, typer.Option(min=1, max=10_000, help="Erased sets (or trace probes) an image.")] = 4,
    orders: Annotated[
        int, typer.Option(min=0, max=10_000, help="Also average over this many whole orders of 16 of the images: slow.")
    ] = 0,
    corruption: Yours = "",
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """How probable a model finds test images: an upper bound on -log p(x), in nats and bits per dimension.

    Binary images under a model of erasure(0..1); 8-bit images under one of Gaussian noise from 1/512 on.
    """
    console.quiet = quiet or as_json
    import torch

    from ..evaluation import likelihood as likelihoods

    dae = _load(model, corruption, device, precision)
    if orders and not dae.corruption.reveals:
        raise InputError("--orders are orders of erased pixels: leave it out, or train with 'erasure(0..1)'")
    test = _real(data, data_root, False, dae)
    x = test[torch.linspace(0, len(test) - 1, min(n or len(test), len(test))).long()]
    found, name = {}, "bound" if dae.corruption.reveals else "flow"
    with Bar(console, name, len(x), "images") as bar:
        if dae.corruption.reveals:
            found["bound"] = likelihoods.bound(dae, x, draws=draws, seed=seed, on_images=bar.advance)
        else:
            found["flow"] = likelihoods.flow(dae, x, probes=draws, seed=seed, on_images=bar.advance)
    if orders:
        few = x[torch.linspace(0, len(x) - 1, min(16, len(x))).long()]
        with Bar(console, "orders", len(few), "images") as bar:
            both = likelihoods.ensemble(dae, few, orders=orders, seed=seed, on_images=bar.advance)
        found |= {f"{orders} orders, of {len(few)}": both[0], f"one order, of {len(few)}": both[1]}
    per_dimension = math.prod(dae.shape) * math.log(2)
    rows = {
        key: {"nats": e.mean, "standard_error": e.standard_error, "bits_per_dimension": e.mean / per_dimension}
        for key, e in found.items()
    }
    if as_json:
        main = {**rows[name], "n": len(x), "draws": draws, "seed": seed, "binarise": dae.info.get("binarise")}
        typer.echo(json.dumps({**main, "estimates": rows}, indent=2))
        return
    table = Table("-log p(x) at most", "nats", "standard error", "bits/dim", box=None, padding=(0, 2, 0, 0))
    for key, row in rows.items():
        table.add_row(key, *(f"{row[k]:.3f}" for k in ("nats", "standard_error", "bits_per_dimension")))
    console.print(table)
    console.print(f"{len(x)} images of {data}; next: dae-sampler sample {model}", markup=False)


@app.command(
    epilog="Examples: dae-sampler verify | dae-sampler verify --density gaussians --sigma 0.05 --sigma 0.2 --json | "
    "dae-sampler verify --density mnist --points 200 --sigma 0.2 --sigma 0.5"
)
def verify(
    density: Annotated[
        str, typer.Option(help="boxes or gaussians in the plane, or a data set, folder or array, as a set of points.")
    ] = "boxes",
    sigma: Annotated[
        list[float] | None, typer.Option(help="Levels to verify at; default: 0.5 to 0.05. Give it again for more.")
    ] = None,
    points: Annotated[int, typer.Option(min=2, max=100_000, help="How many points of a data set to take.")] = 200,
    steps: Annotated[int, typer.Option(min=1, max=10**7, help="Training steps of each model.")] = 8000,
    net: Annotated[str, typer.Option(help="The network; default: dense(256, 256, 256).")] = "dense(256, 256, 256)",
    out: Annotated[Path, typer.Option(help="Picture of a density in the plane, with its fields.")] = Path("verify.png"),
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Hold what a DAE learns by BCE, and by MSE beside it, against densities of which everything is known.

    Does r(x) - x point up the smoothed density, and does iterating it climb?
    """
    console.quiet = quiet or as_json
    from .. import figures as plots
    from ..theory import verify as verification

    sigmas = sorted(sigma or [0.5, 0.3, 0.2, 0.1, 0.07, 0.05], reverse=True)
    if not all(1e-3 <= s <= 100 for s in sigmas):
        raise InputError("--sigma must be from 0.001 to 100")
    plots.check(out)
    truth, shape = verification.density(density, points, Path(data_root) if data_root else None)
    with Bar(console, "training", 2 * steps, "steps") as bar:
        found = verification.verify(truth, shape, sigmas, net, steps, seed, on_step=bar.advance)
    if truth.dim == 2:
        plots.save(plots.fields(truth, found.models["bce"], found.climbed_at, found.climbs["bce"].paths[:, :60]), out)
    if as_json:
        typer.echo(json.dumps({"density": density, "net": net, "steps": steps, "seed": seed} | found.facts(), indent=2))
        return
    table = Table("sigma", box=None, padding=(0, 2, 0, 0))
    for loss in found.models:
        table.add_column(f"{loss}: relative error")
        table.add_column("cosine")
    for i, s in enumerate(sigmas):
        row = [found.agreements[loss][i] for loss in found.models]
        cells = [(f"{a.relative_error:.3f} ± {a.relative_error_interval:.3f}", f"{a.cosine:.4f}") for a in row]
        table.add_row(f"{s:g}", *(cell for pair in cells for cell in pair))
    console.print(table)
    for name, c in found.climbs.items():
        console.print(
            f"iterating {name} at sigma {found.climbed_at:g}: log p rises in {c.rising:.2%} of {c.steps} steps, "
            f"by the bound or more in {c.reaching:.2%}",
            markup=False,
        )
    if found.limit:
        gaps = ", ".join(f"{gap:.4f} at {s:g}" for s, gap in found.limit)
        console.print(f"relative distance between grad log p_sigma and grad log p: {gaps}", markup=False)
    if truth.dim == 2:
        console.print(f"wrote {out}; next: dae-sampler verify --density gaussians", markup=False)


@app.command(epilog="Examples: dae-sampler info mnist | dae-sampler info runs/mnist --json")
def info(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what a model or a run is."""
    facts: dict[str, Any] = {}
    run = Run(Path(model))
    if run.config_file.is_file():
        facts = {"run": {"folder": model, "asked": run.read_config(), "reached": (run.read_metrics() or [{}])[-1]}}
    if not facts or (run.folder / "model.safetensors").is_file():
        path = checkpoint.resolve(model)
        facts["model"] = {"file": str(path), "bytes": path.stat().st_size, **checkpoint.read_metadata(path)}
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for key, value in _flat(facts):
        table.add_row(key, escape(str(value)))
    console.print(table)
    console.print(f"next: dae-sampler sample {model}", markup=False)


def _flat(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _load(model: str, corruption: str, device: str, precision: str) -> DenoisingAutoencoder:
    """The model, after the import of the corruption of theirs that the user named."""
    if corruption:
        from ..corruption import import_own

        import_own(corruption)
    return checkpoint.load(model, device, precision)


def _real(source: str, root: str | None, train: bool, dae: DenoisingAutoencoder) -> Tensor:
    """The images of a data set, brought to the shape of the model's; what could not be read is listed."""
    from ..data import named as data

    channels, height, width = dae.shape
    size = height if height == width else None
    place = Path(root) if root else None
    dataset = data.load(source, root=place, train=train, size=size, channels=channels)
    show_skipped(console, dataset.skipped)
    return dataset.images


def _show_notes(inputs: Inputs) -> None:
    show_skipped(console, inputs.skipped)
    for note in inputs.notes:
        console.print(f"note: {note}", markup=False)


def _listed(*paths: Path | None) -> str:
    return " and ".join(str(p) for p in paths if p)


def _destination(name: str, source: Path, out: Path | None) -> Path:
    """Where images made from ``source`` go: ``out``, or an array or folder of that name."""
    from ..data.pictures import ARRAYS

    return out or Path(name + (".npy" if source.suffix.lower() in ARRAYS else ""))


def _beside(out: Path) -> Path:
    """Where the picture of --compare goes."""
    if not out.name:
        raise InputError(f"--compare writes a picture named after --out, and {out} is no name: give a folder or a file")
    return out.with_name(f"{out.stem}-compare.png")


def _spare(source: Path, *written: Path | None) -> None:
    """Refuse to write over what is read."""
    for path in written:
        if path and path.resolve() in (source.resolve(), source.resolve().parent):
            raise InputError(f"{path} could overwrite the input: choose another place")


def _sampling_bar(dae: DenoisingAutoencoder, sampler: str, steps: int, n: int) -> Bar:
    """Progress through every step of every batch of ``n`` images."""
    from ..distributed import world
    from ..sampling.tasks import batch_size

    total = steps * math.ceil(n / world() / batch_size(dae.shape))
    return Bar(console, sampler, total, "images", n / total)


def _watcher(dae: DenoisingAutoencoder, bar: Bar, film: Film | None, steps: int) -> Callable[[State], None]:
    import torch

    def watch(state: State) -> None:
        bar.advance()
        if not film or bar.done > steps:  # it shows the first batch
            return
        if dae.corruption.reveals:
            film.add(state.x[:, : dae.shape[0]])
        else:  # as the network sees it: clipped, noise is black or white
            film.add(dae.corruption.scale(state.x, torch.tensor(state.level)) / 2 + 0.5)

    return watch

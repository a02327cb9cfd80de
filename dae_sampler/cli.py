"""The command line: parse, call, show. torch is imported inside the commands, so that --help need not wait for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from . import __version__, checkpoint
from .errors import InputError
from .progress import Bar

if TYPE_CHECKING:
    from torch import Tensor

    from .dae import DenoisingAutoencoder
    from .samplers import State

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)

DEFAULT_CORRUPTION = "gaussian(0.02..20, lognormal(-0.5, 1.2))"

Seed = Annotated[int, typer.Option(min=0, help="Same seed, same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or bfloat16; auto: bfloat16 where the hardware has it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def main() -> None:
    """Run the command line; bad input ends in one sentence and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        code = fail(error.format_message())
    except InputError as error:
        code = fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code or 0)


def fail(message: str) -> int:
    """Say what is wrong."""
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"error: {message}")
    return 2


@app.callback()
def options() -> None:
    """Denoising autoencoders that generate, restore and score images."""


@app.command(
    epilog="Examples: dae-sampler train mnist | dae-sampler train photos/ --size 32 --steps 20000 | "
    "dae-sampler train mnist --corruption 'gaussian(0.5)' --net 'conv(code=32)' | dae-sampler train --resume --out runs/mnist"
)
def train(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="A data set's name, a folder of images, or an .npy/.npz file.")] = "",
    corruption: Annotated[str, typer.Option(help="gaussian, salt-pepper or masking at a level or range; chains with +.")] = DEFAULT_CORRUPTION,
    net: Annotated[str, typer.Option(help="dense, conv or unet, with arguments: 'dense(128, 64, 28, 64, 128)'.")] = "unet",
    loss: Annotated[str, typer.Option(help="bce, mse or mae.")] = "bce",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; default: 5000.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0.001, help="Passes over the data, instead of --steps.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images per step.")] = 128,
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 2e-3,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of AdamW.")] = 0.01,
    ema: Annotated[float, typer.Option(help="Power of the weight average: step t counts like t^ema.")] = 16.0,
    every: Annotated[int, typer.Option(min=1, help="Steps between validations, sample grids and saves.")] = 500,
    patience: Annotated[int, typer.Option(min=0, help="Stop after this many validations without progress; 0: never.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: a new one in runs/.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out; more --steps extend it.")] = False,
    start: Annotated[str | None, typer.Option("--from", help="Start from this model's weights (fine-tune).")] = None,
    size: Annotated[int | None, typer.Option(help="Make the images this many pixels square.")] = None,
    channels: Annotated[int | None, typer.Option(help="1: grey, 3: colour; default: as the images are.")] = None,
    data_root: Annotated[str | None, typer.Option(envvar="DAE_SAMPLER_DATA", help="Where named data sets lie or go.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """Train a denoising autoencoder on images; everything goes to one run folder."""
    console.quiet = quiet
    from . import job

    values = {k: v for k, v in context.params.items() if k in job.Settings.__dataclass_fields__}
    given = {k for k in values if context.get_parameter_source(k).name == "COMMANDLINE"}
    run, settings = job.open_run(job.Settings(**values), given, out, resume)
    raise typer.Exit(job.train(settings, run, console))

"""Options that commands share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import say_which

if TYPE_CHECKING:
    from ..dae import DenoisingAutoencoder

SPELLED = {"start": "--from", "n": "-n", "as_json": "--json"}
"""Options that are not spelled like the parameter they are."""
Model = Annotated[
    str, typer.Argument(help="A shipped model's name (mnist), a .safetensors file, a run folder, or hf:owner/name.")
]
Source = Annotated[Path, typer.Argument(help="A picture, a folder of pictures (any depth), or an .npy/.npz array.")]
Level = Annotated[
    str | None, typer.Option(help="Level to start from, such as sigma; a fraction too; default: the model's, or 0.4.")
]
Damage = Annotated[
    str | None,
    typer.Option(help="How strong the damage is, such as sigma of the noise: 0.1, 25/255, or auto to estimate it."),
]
Noise = Annotated[
    str | None,
    typer.Option(
        help="What noise the pictures carry, if you know it: sigma, as 25/255, or poisson-gaussian(gain, read) of a "
        "sensor, both in the values of the files."
    ),
]
Labels = Annotated[list[str] | None, typer.Option("--label", help="A class; give it again for a row each.")]
Label = Annotated[str | None, typer.Option(help="The class of the images, for a model that knows labels.")]
Guidance = Annotated[float, typer.Option(min=0, max=1000, help="How far to follow the label; more exaggerates it.")]
DataRoot = Annotated[str | None, typer.Option(envvar="DAE_SAMPLER_DATA", help="Folder for named data sets.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same result.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at a picture that cannot be read, instead of skipping it.")
]
Compare = Annotated[bool, typer.Option("--compare", help="Also write OUT-compare.png: before and after, side by side.")]
Out = Annotated[
    Path | None, typer.Option(help="A folder, a grid (.png) or an array (.npy); by default named after the command.")
]
Trajectory = Annotated[Path | None, typer.Option(help="Write the way there as an animation: .gif or .webp.")]
Every = Annotated[int, typer.Option(min=1, help="Keep every k-th step of the trajectory.")]
Resize = Annotated[
    bool, typer.Option("--resize", help="Bring pictures to the one size that a model has; they come out in that size.")
]
Large = Annotated[bool, typer.Option("--large", help="Allow pictures of more pixels than Pillow's limit, 89 million.")]
OwnCorruption = Annotated[str, typer.Option(help="For a model of your own corruption: module:Class, to be imported.")]
OwnNet = Annotated[str, typer.Option(help="For a model of your own network: module:Class, to be imported.")]
Over = Annotated[str, typer.Option(help="Lay transparent pictures over black or white.")]


@dataclass(frozen=True)
class How:
    """How a model is applied."""

    sampler: Annotated[
        str | None,
        typer.Option(
            help="dpm, unipc, heun, euler, ancestral, langevin, walk, iterate, hqs, consistency or reveal, with "
            "options as in 'iterate(eta=0.5)', 'heun(churn=0.1)', 'walk(draw=1)', 'reveal(temperature=0.8, means=1)'; "
            "default: the model's best."
        ),
    ] = None
    steps: Annotated[int | None, typer.Option(min=1, max=100_000, help="Sampling steps; default: the sampler's.")] = (
        None
    )
    batch: Annotated[int | None, typer.Option(min=1, max=65536, help="Images computed together.")] = None


@dataclass(frozen=True)
class Compute:
    """What loads and runs a model."""

    corruption: OwnCorruption = ""
    net: OwnNet = ""
    seed: Seed = 0
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    precision: Annotated[
        str, typer.Option(help="auto, float32 or bfloat16; auto: bfloat16 where the hardware has it.")
    ] = "auto"

    def load(self, model: str) -> DenoisingAutoencoder:
        """The model, after the import of what the user named."""
        say_which(model)
        return self.load_quietly(model)

    def load_quietly(self, model: str) -> DenoisingAutoencoder:
        """The same, of a name that a picture decides about."""
        from .. import checkpoint

        import_own(self.corruption, self.net)
        return checkpoint.load(model, self.device, self.precision)


def import_own(corruption: str, net: str) -> None:
    """Import the user's own classes, which a model has.

    Raises:
        InputError: a text is there and names none.
    """
    for name, text in (("corruption", corruption), ("net", net)):
        if text and ":" not in text:
            raise InputError(f"a model brings its own: `{name}` is for a class of yours, as module:Class; leave it out")
    import_named(corruption, net)


def import_named(corruption: str, net: str) -> None:
    """Import those of the user's own classes that two texts name."""
    if ":" in corruption:
        from ..corruption import import_own as import_corruptions

        import_corruptions(corruption)
    if ":" in net:
        from ..nets import import_own as import_nets

        import_nets(net)


def as_options(message: str) -> str:
    """A message of the library with its `parameters` as the options that people type."""
    return re.sub(r"`([a-z_0-9]+)`", lambda m: SPELLED.get(m[1], "--" + m[1].replace("_", "-")), message)


def own(corruption: str, net: str) -> list[str]:
    """The options that name the user's own classes again."""
    given = [("--corruption", corruption), ("--net", net)]
    return [word for option, text in given if ":" in text for word in (option, text)]

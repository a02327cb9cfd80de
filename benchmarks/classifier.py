"""Train the MNIST classifier whose features the metrics use, and write it beside the shipped models.

    python benchmarks/classifier.py --data-root DATA [--epochs 6] [--seed 0]
    python benchmarks/classifier.py --data-root DATA --kind pooled      # other networks, into runs/judges: what is
    python benchmarks/classifier.py --data-root DATA --kind residual    # chosen by one is to be judged by another

Prints its accuracy on the test half.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from safetensors.torch import save_file
from torch import Tensor, nn

from dae_sampler.data import named as data
from dae_sampler.evaluation.features import Classifier
from dae_sampler.noise import StepNoise, batch_indices
from dae_sampler.pixels import augment, to_float

OUT = Path(__file__).parent.parent / "checkpoints" / "features" / "mnist.safetensors"
JUDGES = Path("runs/judges")
BATCH = 128


class Pooled(Classifier):
    """5x5 convolutions with max-pooling, and 256 features."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__(channels)
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(49 * 64, 256)),
        )
        self.head = nn.Linear(256, 10)


class Block(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = ((nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(2))
        self.layers = nn.Sequential(*(layer for some in layers for layer in some))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Residual(Classifier):
    """Three stages of two residual blocks, and the mean over pixels of 96 maps."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__(channels)
        stages = [nn.Conv2d(channels, 24, 3, padding=1), Block(24), Block(24)]
        for a, b in ((24, 48), (48, 96)):
            stages += [nn.Conv2d(a, b, 2, stride=2), Block(b), Block(b)]
        self.body = nn.Sequential(*stages, nn.GroupNorm(8, 96), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(96, 10)


KINDS = {"mnist": Classifier, "pooled": Pooled, "residual": Residual}


def train(x: Tensor, y: Tensor, epochs: int, seed: int, mirror: bool = False, kind: str = "mnist") -> Classifier:
    """Fit a classifier to images (N,C,H,W), uint8, and their labels (N,) of 0 to 9."""
    torch.manual_seed(seed)
    classifier = KINDS[kind](x.shape[1])
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3)
    steps = epochs * len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        rows = batch_indices(seed, step, BATCH, len(x))
        images = augment(x[rows], "mirror", StepNoise(seed, step)) if mirror else x[rows]
        F.cross_entropy(classifier(to_float(images)), y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return classifier


def finish(classifier: Classifier, x: Tensor, y: Tensor, path: Path) -> None:
    """Write the classifier, and print how many of the test images it gets right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in classifier.state_dict().items()}, path)
    with torch.inference_mode():
        right = torch.cat([classifier(to_float(b)).argmax(1) for b in x.split(500)]) == y
    print(f"{path.name}: {100 * right.double().mean():.2f} % of {len(y)} test images right")


def main(
    data_root: Annotated[
        Path | None, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")
    ] = None,
    epochs: int = 6,
    seed: int = 0,
    kind: Annotated[str, typer.Option(help=", ".join(KINDS))] = "mnist",
) -> None:
    """Train, write, print."""
    from torchvision.datasets import MNIST  # here, because it imports torch's compiler, which takes seconds

    halves = (MNIST(data_root or data.default_root(), train=half, download=True) for half in (True, False))
    (x, y), (test_x, test_y) = ((half.data[:, None], half.targets) for half in halves)
    made = train(x, y, epochs, seed, kind=kind)
    finish(made, test_x, test_y, OUT if kind == "mnist" else JUDGES / f"{kind}.safetensors")


if __name__ == "__main__":
    typer.run(main)

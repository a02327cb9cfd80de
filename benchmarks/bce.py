"""The figures of docs/background/bce.md: what binary cross-entropy does on images that are not binary.

python benchmarks/bce.py --data-root DATA         # about 3 minutes on 2 cores
"""

import time
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from matplotlib.figure import Figure
from page import DOCS, fill
from torch import Tensor

from dae_sampler.data import named as data
from dae_sampler.gallery import grid, save_picture
from dae_sampler.losses import bce, entropy
from dae_sampler.nets import build
from dae_sampler.noise import batch_indices
from dae_sampler.pixels import to_float

PICTURES = DOCS / "background" / "bce"
TABLES = dict.fromkeys(("floor", "overflow", "outputs", "losses"), DOCS / "background" / "bce.md")
NET = "dense(128, 64, 28, 64, 128)"
BATCH = 128


def minimum() -> None:
    """BCE as a function of r, for several soft targets: lowest at r = x, where it is h(x)."""
    r = torch.linspace(0.001, 0.999, 999)
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for x in (0.0, 0.1, 0.3, 0.5, 0.9):
        loss = bce(torch.logit(r), torch.full_like(r, x))
        (line,) = axes.plot(r, loss, label=f"x = {x:g}")
        axes.plot(r[loss.argmin()], loss.amin(), "o", color=line.get_color())
    axes.plot(r, entropy(r), "k:", linewidth=1, label="h(x) at r = x")
    axes.set(xlabel="r", ylabel="BCE(x, r), nats", ylim=(0, 2.5))
    axes.legend(fontsize=8)
    figure.savefig(PICTURES / "minimum.svg")


def overflow() -> None:
    """Naive log(1 - sigmoid(z)) against BCE from logits, for target 0, where the truth is log(1 + e^z)."""
    rows = []
    for z in (2.0, 5.0, 8.0, 12.0, 17.0, 30.0, 100.0):
        row = [f"{z:g}", f"{F.softplus(torch.tensor(z, dtype=torch.float64)).item():.4f}"]
        for dtype in (torch.float32, torch.bfloat16):
            logit = torch.tensor(z, dtype=dtype, requires_grad=True)
            naive = -torch.log(1 - torch.sigmoid(logit))
            (slope,) = torch.autograd.grad(naive, logit)
            row += [f"{naive.item():.4f}", f"{slope.item():.3f}"]
        logit = torch.tensor(z, requires_grad=True)
        loss = bce(logit, torch.tensor(0.0))
        (slope,) = torch.autograd.grad(loss, logit)
        rows.append([*row, f"{loss.item():.4f}", f"{slope.item():.3f}"])
    header = ["logit", "truth", "naive float32", "slope", "naive bf16", "slope", "from logits, float32", "slope"]
    fill(TABLES, "overflow", header, rows)


OUTPUTS = {
    "sigmoid": torch.sigmoid,
    "softmax over the pixels": lambda z: z.flatten(1).softmax(1).view_as(z),
    "linear": lambda z: z,
}


def losses(z: Tensor, x: Tensor) -> dict[str, dict[str, Tensor]]:
    """Mean losses by output and loss. A linear output leaves [0,1], so it has no BCE."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, output in OUTPUTS.items():
        r = output(z)
        found[name] = {"MSE": (r - x).square().mean(), "MAE": (r - x).abs().mean()}
        if name == "sigmoid":
            found[name]["BCE"] = bce(z, x).mean()
        elif name != "linear":
            found[name]["BCE"] = F.binary_cross_entropy(r.clamp(1e-7, 1 - 1e-7), x)
    return found


def train(x: Tensor, output: str, loss: str, sigma: float, steps: int, lr: float = 1e-3) -> torch.nn.Module:
    """The dense autoencoder, trained to reconstruct x from x + sigma noise."""
    torch.manual_seed(0)
    net = build(NET, (1, 28, 28), conditional=False)
    optimizer = torch.optim.Adam(net.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        batch = to_float(x[batch_indices(0, step, BATCH, len(x))])
        z = net(2 * (batch + sigma * torch.randn_like(batch)) - 1, None)
        optimizer.zero_grad()
        losses(z, batch)[output][loss].backward()
        optimizer.step()
        schedule.step()
    return net


def compare(name: str, cases: list[tuple[str, str]], sigma: float, x: Tensor, test: Tensor, steps: int) -> None:
    """A table of test losses for outputs and losses, and a picture of reconstructions."""
    began, rows, shown = time.monotonic(), [], [test[:16]]
    noisy = test + sigma * torch.randn(test.shape, generator=torch.Generator().manual_seed(0))
    shown += [noisy[:16].clamp(0, 1)] if sigma else []
    for output, loss in cases:
        net = train(x, output, loss, sigma, steps)
        with torch.inference_mode():
            z = net(2 * noisy - 1, None)
            r, found = OUTPUTS[output](z), losses(z, test)[output]
        inside = ((r >= 0) & (r <= 1)).float().mean().item()
        b = f"{found['BCE'].item():.4f}" if "BCE" in found else "–"
        rows.append([output, loss, b, f"{found['MSE'].item():.4f}", f"{found['MAE'].item():.4f}", f"{inside:.1%}"])
        shown.append(r[:16].clamp(0, 1))
    save_picture(grid(torch.cat(shown), columns=16), PICTURES / f"{name}.png")
    header = ["output", "trained by", "test BCE", "test MSE", "test MAE", "values in [0,1]"]
    fill(TABLES, name, header, rows, time.monotonic() - began)


def main(data_root: Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA")], steps: int = 6000) -> None:
    """Make everything."""
    x, test = (data.load("mnist", root=Path(data_root), train=half).images for half in (True, False))
    test = to_float(test)
    PICTURES.mkdir(exist_ok=True)
    minimum()
    overflow()
    floor, grey = entropy(test).mean().item(), ((test > 0) & (test < 1)).float().mean().item()
    mean = bce(torch.logit(to_float(x).mean(0, keepdim=True).clamp(1e-6, 1 - 1e-6)).expand_as(test), test).mean().item()
    rows = [["all pixels r = 1/2", f"{torch.tensor(2.0).log().item():.4f}"], ["r = mean training image", f"{mean:.4f}"]]
    rows += [[f"the floor h(x): {grey:.1%} of the pixels are strictly between 0 and 1", f"{floor:.4f}"]]
    fill(TABLES, "floor", ["reconstruction of the MNIST test images", "BCE, nats a pixel"], rows)
    by_bce = [(name, "BCE") for name in OUTPUTS if name != "linear"]
    compare("outputs", [*by_bce, ("linear", "MSE")], 0.0, x, test, steps)
    compare("losses", [("sigmoid", loss) for loss in ("BCE", "MSE", "MAE")], 0.5, x, test, steps)


if __name__ == "__main__":
    typer.run(main)

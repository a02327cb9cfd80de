"""The measured parts of docs/results/corruptions.md and docs/results/likelihood.md.

python benchmarks/corruptions.py generate|reveal|complete|likelihood --data-root DATA
"""

import functools
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from judge import Judge
from page import DOCS, fill

from dae_sampler import DenoisingAutoencoder, Recipe, fit, inpaint, load, sample
from dae_sampler.data import named as data
from dae_sampler.data.masks import load_mask
from dae_sampler.evaluation import likelihood
from dae_sampler.gallery import grid, pairs, save_picture
from dae_sampler.pixels import to_float

PICTURES = DOCS / "results" / "corruptions"
TABLES = dict.fromkeys(("complete", "generate"), DOCS / "results" / "corruptions.md")
TABLES |= dict.fromkeys(("likelihood", "reveal"), DOCS / "results" / "likelihood.md")
DataRoot = Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")]
app = typer.Typer(add_completion=False)


@functools.lru_cache(maxsize=1)
def trained(corruption: str, binarise: str | None, root: str, steps: int) -> DenoisingAutoencoder:
    """The default network under a corruption, on MNIST as it is or binarised."""
    x = data.load("mnist", root=Path(root)).images
    dae = DenoisingAutoencoder("unet", corruption, (1, 28, 28))
    dae.precision = load("mnist").precision
    return fit(dae, x, Recipe(steps=steps, batch=128, lr=2e-3, every=steps, binarise=binarise))


@app.command()
def generate(data_root: DataRoot, steps: int = 800, n: int = 1000) -> None:
    """What each corruption generates."""
    PICTURES.mkdir(exist_ok=True)
    began, grey, binary = time.monotonic(), Judge(data_root), Judge(data_root, binary=True)
    cases = [
        ("gaussian(0.02..20, lognormal(-0.5, 1.2))", None, "ancestral", 50),
        ("erasure(0..1)", "dynamic", "reveal", 98),
        ("erasure(0..1)", "dynamic", "reveal(means=1)", 98),
        ("salt-pepper(0..1)", "dynamic", "walk(draw=1)", 50),
        ("salt-pepper(0..1)", None, "walk", 50),
        ("masking(0..1)", "dynamic", "walk(draw=1)", 50),
        ("masking(0..1)", None, "walk", 50),
        ("masking(0.25)+gaussian(0.02..20, lognormal(-0.5, 1.2))", None, "walk", 50),
    ]
    rows, shown = [], []
    for corruption, binarise, sampler, calls in cases:
        x = sample(trained(corruption, binarise, data_root, steps), n, sampler=sampler, steps=calls)
        kind, judge = ("binary", binary) if sampler in ("reveal", "walk(draw=1)") else ("grey", grey)
        frechet, precision, recall, *_ = judge.scores(x)
        rows.append([f"`{corruption}`", f"`{sampler}`", kind, f"{frechet:.0f}", f"{precision:.2f}", f"{recall:.2f}"])
        shown.append(x[:16])
        print(rows[-1], flush=True)
    for kind, judge in (("grey", grey), ("binary", binary)):
        real = to_float(judge.train[torch.randperm(60_000, generator=torch.Generator().manual_seed(0))[:n]])
        frechet, precision, recall, *_ = judge.scores(real)
        rows.append(["training images", "", kind, f"{frechet:.0f}", f"{precision:.2f}", f"{recall:.2f}"])
    save_picture(grid(torch.cat(shown), columns=16), PICTURES / "generate.png")
    header = ["corruption", "sampler", "images", "Fréchet", "precision", "recall"]
    fill(TABLES, "generate", header, rows, time.monotonic() - began)


@app.command()
def reveal(data_root: DataRoot, n: int = 1000) -> None:
    """Sample quality by the number of network calls and by temperature."""
    began, judge, dae = time.monotonic(), Judge(data_root, binary=True), load("mnist-erasure")
    rows, shown = [], []
    cases = [("reveal", steps) for steps in (7, 14, 28, 49, 98, 196, 392)]
    for sampler, steps in [*cases, ("reveal(temperature=0.9)", 196), ("reveal(temperature=0.8)", 196)]:
        x = sample(dae, n, sampler=sampler, steps=steps)
        frechet, precision, recall, *_ = judge.scores(x)
        rows.append([f"`{sampler}`", steps, f"{frechet:.1f}", f"{precision:.3f}", f"{recall:.3f}"])
        shown.append(x[:16])
        print(rows[-1], flush=True)
    real = judge.train[torch.randperm(60_000, generator=torch.Generator().manual_seed(0))[:n]]
    frechet, precision, recall, *_ = judge.scores(real)
    rows.append(["training images, binarised", "", f"{frechet:.1f}", f"{precision:.3f}", f"{recall:.3f}"])
    save_picture(grid(torch.cat(shown), columns=16), PICTURES / "reveal.png")
    fill(TABLES, "reveal", ["sampler", "steps", "Fréchet", "precision", "recall"], rows, time.monotonic() - began)


@app.command()
def complete(data_root: DataRoot, n: int = 1000) -> None:
    """Fill in halves of test digits, and let the classifier say whether each is the true digit."""
    from torchvision.datasets import MNIST  # here, because it imports torch's compiler, which takes seconds

    began, judge = time.monotonic(), Judge(data_root)
    x, labels = judge.test[:n], MNIST(data_root, train=False).targets[:n]
    mean = to_float(judge.train).mean(0)
    rows, pictures = [["whole", *4 * [f"{judge.accuracy(x, labels):.3f}"]]], []
    for half in ("right", "left", "top", "bottom"):
        keep = load_mask(half, (1, 28, 28))
        filled = {
            "black": to_float(x) * keep,
            "mean": torch.where(keep, to_float(x), mean),
            "mnist": inpaint(load("mnist"), x, keep),
            "mnist-erasure": inpaint(load("mnist-erasure"), x, keep, steps=98),
        }
        rows.append([f"{half} half hidden", *(f"{judge.accuracy(y, labels):.3f}" for y in filled.values())])
        print(rows[-1], flush=True)
    keep = load_mask("right", (1, 28, 28))
    seen = x[:8]
    damaged = to_float(seen).masked_fill(~keep, 0.5)
    for name, steps in (("mnist", 50), ("mnist-erasure", 196)):
        filled = inpaint(load(name), seen.repeat_interleave(7, 0), keep, steps=steps)
        pictures.append(pairs(damaged, filled))
        save_picture(pictures[-1], PICTURES / f"complete-{name}.png")
    header = ["test digits", "hidden half black", "mean training image", "by `mnist`", "by `mnist-erasure`"]
    fill(TABLES, "complete", header, rows, time.monotonic() - began)


@app.command(name="likelihood")
def nats(
    data_root: DataRoot, model: str = "mnist-erasure", draws: int = 20, orders: int = 32, images: int = 32
) -> None:
    """The order-agnostic bound over the test half, and the ensemble of orders for a few images."""
    began, judge, dae = time.monotonic(), Judge(data_root), load(model)
    few = judge.test[torch.linspace(0, len(judge.test) - 1, images).long()]
    whole = likelihood.bound(dae, judge.test, draws=draws)
    several, single = likelihood.ensemble(dae, few, orders=orders)
    found = {
        f"bound, {len(judge.test):,} images, {draws} draws each": whole,
        f"one order, {images} images": single,
        f"ensemble of {orders} orders, {images} images": several,
    }
    rows = [
        [name, f"{e.mean:.2f} ± {e.standard_error:.2f}", f"{e.mean / 784 / 0.693147:.4f}"] for name, e in found.items()
    ]
    fill(TABLES, "likelihood", ["−log p(x) at most", "nats", "bits/dim"], rows, time.monotonic() - began)


if __name__ == "__main__":
    app()

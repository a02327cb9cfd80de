"""How fast the default network trains and samples here, against the machine's own matrix-product peak.

    python benchmarks/speed.py [--net unet] [--seconds 20]

All figures come from one run, in turn and repeated, because the speed of a shared machine drifts: compare the ratios.
Prints a table and JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from dae_sampler import DenoisingAutoencoder
from dae_sampler.cli import DEFAULT_CORRUPTION
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.training import Recipe, TrainingState

ROUNDS = 5
SHAPE = (1, 28, 28)


def seconds_per_call(work: Callable[[], object], budget: float) -> float:
    """Mean time of ``work`` when repeated for about ``budget`` seconds."""
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < budget:
        work()
        calls += 1
    return (time.perf_counter() - began) / calls


def measure(net: str, seconds: float) -> dict[str, float | str]:
    """Medians over rounds of: matrix peak, training steps, sampling calls."""
    device = pick_device("auto")
    torch.manual_seed(0)
    dae = DenoisingAutoencoder(net, DEFAULT_CORRUPTION, SHAPE).to(device)
    dae.precision = pick_precision("auto", device)
    dtype = torch.bfloat16 if dae.precision == "bfloat16" else torch.float32
    recipe = Recipe()
    state = TrainingState(dae, recipe, 1000)
    images, rows = (torch.rand(1000, *SHAPE) * 255).to(torch.uint8), torch.arange(1000)
    a, b = (torch.randn(2048, 2048, device=device, dtype=dtype) for _ in range(2))
    x = torch.rand(256, *SHAPE, device=device)

    with FlopCounterMode(display=False) as training_flops:
        state.advance(images, rows)
    with FlopCounterMode(display=False) as sampling_flops, torch.inference_mode():
        state.average(x, 1.0)

    def evaluate() -> None:
        with torch.inference_mode():
            state.average(x, 1.0)

    work = {"peak": lambda: a @ b, "train": lambda: state.advance(images, rows).item(), "evaluate": evaluate}
    for call in work.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, call in work.items():
            times[name].append(seconds_per_call(call, seconds / ROUNDS / len(work)))
    spent = {name: statistics.median(values) for name, values in times.items()}
    peak = 2 * 2048**3 / spent["peak"]
    return {
        "device": device.type,
        "precision": dae.precision,
        "net": net,
        "parameters": sum(p.numel() for p in dae.parameters()),
        "matrix peak, TFLOP/s": peak / 1e12,
        "training, images/s": recipe.batch / spent["train"],
        "training, MFLOP/image": training_flops.get_total_flops() / recipe.batch / 1e6,
        "training, share of the peak": training_flops.get_total_flops() / spent["train"] / peak,
        "network evaluations, images/s": len(x) / spent["evaluate"],
        "evaluations, share of the peak": sampling_flops.get_total_flops() / spent["evaluate"] / peak,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="unet")
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    figures = measure(arguments.net, arguments.seconds)
    for name, value in figures.items():
        print(f"{name:32} {value:.3g}" if isinstance(value, float) else f"{name:32} {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

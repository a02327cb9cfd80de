"""The command info."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import checkpoint, hub
from ..card import CODE, Card
from ..errors import InputError
from ..training.run import Run
from .commands import command
from .console import counted, duration, print_json, say, say_next
from .known import level_wanted
from .options import Json, Model


@command("dae-sampler info mnist", "dae-sampler info runs/mnist --json")
def info(model: Model, as_json: Json = False) -> None:
    """Show what a model or run contains."""
    found: dict[str, Any] = {}
    run, card = Run(Path(model)), None
    if run.config_file.is_file():
        found["run"] = {"folder": model, "asked": run.read_config(), "reached": (run.read_metrics() or [{}])[-1]}
    if not found or (run.folder / "model.safetensors").is_file():
        path = hub.resolve(model)
        card, digest = checkpoint.read_card(path)
        found["model"] = {"file": str(path), "bytes": path.stat().st_size, "sha256": digest, **_for_json(card)}
    if as_json:
        print_json(found)
        return
    if "run" in found:
        _say_run(found["run"])
    if card:
        _say_card(card, found["model"])
        if "denoise" in card.plans:
            say_next("dae-sampler", "denoise", model, "PICTURES")
        elif card.size:
            say_next("dae-sampler", "sample", model)
        else:
            say_next("dae-sampler", "denoise", model, "PICTURES", *_level(card))


def _level(card: Card) -> list[str]:
    """The option that says the level where the model has to be told; none of corruptions that are not imported."""
    from ..corruption import parse

    try:
        return level_wanted(parse(card.corruption), card.objective)
    except InputError:
        return []


def _for_json(card: Card) -> dict[str, Any]:
    """The card, and beside its fields the names under which versions before 0.3 printed some of them."""
    plan = card.plans.get("sample")
    older = {"data": card.data, "images": card.images, "version": card.version, "binarise": card.binarise}
    sampler = {"sampler": {"name": plan["sampler"], "steps": plan["steps"]}} if plan else {}
    more = {"training": card.training, "licence": card.licence, "from": card.start}
    info = older | sampler | {name: value for name, value in more.items() if value}
    return card.to_json() | {"shape": [card.channels, *(card.size or (None, None))], "info": info}


def _features(plan: dict[str, Any] | None) -> str:
    """What ``encode`` takes where nothing is said."""
    if not plan:
        return ""
    level = "" if plan.get("level") is None else f" at level {plan['level']:.3g}"
    pool = plan.get("pool")
    pool = None if plan["stage"] == CODE else pool
    grid = ", mean over the picture" if pool == 1 else f", means over a grid of {pool}x{pool}" if pool else ""
    return f"{plan['stage']}{level}{grid}"


def _say_run(run: dict[str, Any]) -> None:
    asked, reached = run["asked"], run["reached"]
    try:
        at = f"step {reached['step']}, held-out loss {float(reached['valid_loss']):.4f}" if reached else "not begun"
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{run['folder']}/metrics.csv is damaged: delete it, or restore it") from None
    say(f"run: {run['folder']}, on {asked.get('data')}: {at}")


def _say_card(card: Card, file: dict[str, Any]) -> None:
    size = "any size" if card.size is None else f"{card.size[1]}x{card.size[0]}"
    kind = {1: "grey", 3: "colour"}.get(card.channels, f"{card.channels} channels")
    steps, seconds = card.training.get("steps"), card.training.get("seconds")
    trained = f", {counted(steps, 'step')}" if steps else ""
    trained += f" in {duration(seconds)}" if seconds else ""
    number = f" ({counted(card.images, 'image')})" if card.images else ""
    places = "" if card.size else f", stride {card.stride}, receptive radius {card.radius}"
    plan = card.plans.get("sample")
    excess = ", ".join(f"{value:.4f} at {level:.3g}" for level, value in card.excess)
    lines = {
        "model": f"{file['file']} ({file['bytes'] / 1e6:.1f} MB)",
        "images": f"{size}, {kind}" + (f", binary ({card.binarise})" if card.binarise else ""),
        "network": f"{card.net}{places}, trained by {card.loss} under {card.corruption}",
        "kind": "consistency model: its output is a sample, not a mean" * (card.objective == "consistency"),
        "labels": ", ".join(card.labels),
        "trained on": (card.data or "unknown data") + number + trained,
        "targets": "" if card.target == "clean" else f"noisy ({card.target})",
        "values": f"{card.range[0]:g} (black) to {card.range[1]:g} (white)" if card.range else "",
        "samples by": f"{plan['sampler']}, {counted(plan['steps'], 'step')}" if plan else "",
        "features by": _features(card.plans.get("encode")),
        "excess": excess,
        "licence": "; trained on ".join(text for text in (card.licence, card.terms) if text),
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        if text:
            say(f"{name:<{width}}  {text}")

"""A model as an ONNX graph, for programs without torch: what goes in and out, written, checked and timed."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checkpoint import KEY
from .dae import DenoisingAutoencoder
from .errors import InputError
from .files import check_writable, replacing
from .noise import ImageNoise

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else onnxruntime, from 1.29 on, reports sessions to its makers

TOLERANCE = 1e-4
"""How far a pixel of the graph may be from the model's."""
TRACED = (3, 37, 53)
"""Batch, height and width that the graph is made from, where they are free; none of them is special."""
CHECKED = ((1, 1, 1), (2, 64, 40), (5, 31, 70))
"""Others that it is checked with."""
TIMED = (16, 64, 64)
REPEATS = 5


@dataclass(frozen=True)
class Export:
    """What :func:`to_onnx` wrote.

    Attributes:
        path: the file.
        inputs, output: shapes by name, free sides by their names.
        size: of the file, bytes.
        difference: the largest of a pixel from the model's, over batches and sizes.
        timed: shape of the images that were timed.
        seconds: for a batch of them, by ``"torch"`` and ``"onnxruntime"``, the fastest of a few, on one CPU with as
            many threads, in float32.
    """

    path: Path
    inputs: dict[str, list[int | str]]
    output: list[int | str]
    size: int
    difference: float
    timed: list[int]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"path": str(self.path)}


def to_onnx(dae: DenoisingAutoencoder, path: str | Path) -> Export:
    """Write ``dae`` as an ONNX graph that computes what ``dae(x, level)`` does, in float32, and its card as metadata.

    The inputs are ``x`` (B,C,H,W), with the mask of an erasure (B,C+1,H,W), and ``level`` (B,) where the network is
    told it; the output is ``x_hat`` (B,C,H,W). B is free, and H and W are for a model of any size. The graph is run by
    onnxruntime and compared before the file takes its place. Levels are not checked in it.

    Raises:
        InputError: the extra is not installed; ``path`` does not end in .onnx or cannot be written; torch cannot
            export the network; or the graph computes something else.
    """
    path = Path(os.path.expanduser(path))
    check(path)
    before = dae.precision, dae.device, dae.training
    dae.precision = "float32"
    try:
        with replacing(path) as temporary, torch.no_grad():
            _write(dae.cpu().eval(), temporary)
            session = _session(temporary)
            difference = max(_difference(dae, session, shape) for shape in (TRACED, *CHECKED))
            if not difference <= TOLERANCE:
                raise InputError(
                    f"the graph is off by {difference:.2g}, more than {TOLERANCE:g}: upgrade torch and onnxscript"
                )
            images = example(dae, TIMED)
            seconds = {"torch": _fastest(lambda: dae(*images.values()))}
            arrays = {name: value.numpy() for name, value in images.items()}
            seconds["onnxruntime"] = _fastest(lambda: session.run(None, arrays))
    finally:
        dae.precision = before[0]
        dae.to(before[1]).train(before[2])
    inputs = {known.name: known.shape for known in session.get_inputs()}
    timed = list(images["x"].shape)
    return Export(path, inputs, session.get_outputs()[0].shape, path.stat().st_size, difference, timed, seconds)


def check(path: Path) -> None:
    """Refuse what :func:`to_onnx` cannot do, before the work for it is done.

    Raises:
        InputError: the extra is not installed, or ``path`` is not one to write to.
    """
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise InputError("exporting needs the extra: pip install 'dae-sampler[export]'") from None
    if path.suffix.lower() != ".onnx":
        raise InputError(f"cannot write the graph to {path}: name it with .onnx")
    check_writable(path)


def example(dae: DenoisingAutoencoder, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The inputs of a model by name, in order: noise under its corruption, at levels spread over training's.

    ``shape`` is the batch and, for a model of any size, height and width.
    """
    channels, height, width = dae.shape
    n, q = shape[0], dae.corruption
    level, noise = q.level((torch.arange(n) + 0.5) / n), ImageNoise(0, 0, n)
    x = noise.uniform((n, channels, height or shape[1], width or shape[2]))
    inputs = {"x": q.draw(x, level.reshape(-1, 1, 1, 1), noise).x_tilde}
    return inputs | ({"level": level} if q.told else {})


def _write(dae: DenoisingAutoencoder, path: Path) -> None:
    inputs = example(dae, TRACED)
    sides = {} if dae.shape[1] else {2: "height", 3: "width"}
    free = tuple({0: "batch"} | (sides if name == "x" else {}) for name in inputs)
    try:
        with warnings.catch_warnings(action="ignore"):  # of names that axes share, and of what torch is to rename
            made = torch.onnx.export(
                dae,
                tuple(inputs.values()),
                dynamo=True,
                verbose=False,
                input_names=list(inputs),
                output_names=["x_hat"],
                dynamic_shapes=free,
            )
    except Exception as error:  # of the user's own network or corruption, or of another version of torch
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"torch cannot export this model ({reason}): see torch.export on what a network may do"
        ) from None
    assert made is not None
    for side, name in sides.items():  # torch has them as terms of the input's
        made.model.graph.outputs[0].shape[side] = name
    made.model.metadata_props[KEY] = json.dumps(dae.card.to_json(), allow_nan=False)
    made.save(path, external_data=False)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _difference(dae: DenoisingAutoencoder, session: Any, shape: tuple[int, int, int]) -> float:
    inputs = example(dae, shape)
    (x_hat,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return (torch.from_numpy(x_hat) - dae(*inputs.values())).abs().max().item()


def _fastest(call: Callable[[], object]) -> float:
    """Seconds, the least of a few."""
    call()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)

"""Which device and precision to compute with."""

from __future__ import annotations

import ctypes
import functools
import sys

import torch
from torch import Tensor

from .errors import InputError, unknown

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16")


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name, such as ``"cuda:1"``; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        InputError: the name is unknown or the machine has no such device.
    """
    kind, colon, number = name.partition(":")
    if kind not in DEVICES or (colon and not (kind == "cuda" and number.isdecimal())):
        raise unknown("device", name, DEVICES)
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        return torch.device(next(d for d, available in here.items() if available))
    if not here[kind]:
        raise InputError(f"this machine has no {kind} device that torch can use: leave out `device`")
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(f"this machine has {torch.cuda.device_count()} CUDA devices, numbered from 0: choose `device`")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """``float32`` or ``bfloat16``; ``auto`` takes bfloat16 where the hardware multiplies it natively.

    Raises:
        InputError: the name is unknown.
    """
    if name not in PRECISIONS:
        raise unknown("precision", name, PRECISIONS)
    if name != "auto":
        return name
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and _cpu_multiplies_bfloat16()
    return "bfloat16" if native else "float32"


def _cpu_multiplies_bfloat16() -> bool:
    # Emulated bfloat16 is slower than float32, so only AMX or AVX-512 BF16 will do.
    return _cpu_has("amx_tile") or _cpu_has("avx512_bf16")


def multiplies_tiles(device: torch.device) -> bool:
    """Whether it is a CPU with AMX."""
    return device.type == "cpu" and _cpu_has("amx_tile")


@functools.cache
def _cpu_has(unit: str) -> bool:
    return getattr(torch.cpu, f"_is_{unit}_supported", bool)()  # torch has no public test for it


def sent(x: Tensor, device: torch.device) -> Tensor:
    """``x`` on the device; to a GPU it goes while the computer does something else."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def keep_freed_memory() -> None:
    """Have the C library keep what this process frees, for its next use.

    glibc would hand the top of the heap back to the system after every training step on the CPU and fetch it again in
    the next, which takes thousands of page faults and a tenth of the time. Without glibc, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
        mallopt(mmap_threshold, 2**30)
        mallopt(trim_threshold, 2**31 - 1)

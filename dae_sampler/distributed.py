"""Several processes of one job, as torchrun starts them: who am I, and what the others have.

    torchrun --nproc-per-node 2 -m dae_sampler train mnist --out runs/mnist

Alone, or without torchrun, every function here is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def get_rank() -> int:
    """Number of this process, from 0; only 0 writes and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def get_world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(device: torch.device) -> Generator[None]:
    """Join the other processes, if torchrun started this one: gloo on a CPU, nccl on GPUs."""
    told = all(os.environ.get(name) for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"))
    if not told or os.environ["WORLD_SIZE"] == "1" or dist.is_initialized():
        yield
        return
    # DistributedDataParallel imports this. While there is a group, its functions would keep that group beyond its end,
    # and gloo's threads with it, of which one may abort the process as Python ends.
    import torch.distributed.nn

    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, number, size = next(dist.rendezvous("env://"))
    # The store outlives a restart: without a place of their own, new processes would read the addresses of lost ones.
    store = dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    # torchrun ends processes whose peers are lost; a peer that decodes a folder may take hours
    patience = timedelta(hours=12)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=size, timeout=patience)
    try:
        yield
    finally:
        dist.destroy_process_group()


def launch() -> str | None:
    """A name of this launch of torchrun, the same after it restarts lost processes; None without torchrun."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    return run and f"{run}/{os.getppid()}"


def barrier() -> None:
    """Wait until all processes are here."""
    all_reduce(torch.zeros(()))


@contextmanager
def first_process_first() -> Generator[None]:
    """The first process goes first, for example to download; then the others."""
    if get_rank() > 0:
        barrier()
    yield
    if get_rank() == 0:
        barrier()


def all_mean(value: Tensor) -> Tensor:
    """Mean of ``value`` over the processes."""
    return all_reduce(value) / get_world_size()


def all_reduce(value: Tensor) -> Tensor:
    """Sum of ``value`` over the processes, on its device."""
    if get_world_size() == 1:
        return value
    on_gpu = dist.get_backend() == "nccl"
    summed = value.to("cuda" if on_gpu else "cpu", copy=True)
    dist.all_reduce(summed)
    return summed.to(value.device)


def any_process(flag: bool) -> bool:
    """Whether any process raised its flag, so that all do the same."""
    return bool(all_reduce(torch.tensor(float(flag))).item())


def share(n: int) -> range:
    """The part of ``range(n)`` that is this process's: contiguous, as even as can be, in the order of ranks."""
    return range(n * get_rank() // get_world_size(), n * (get_rank() + 1) // get_world_size())


def all_gather(part: Tensor, n: int) -> Tensor:
    """All of a tensor of ``n`` rows, from each process's :func:`share` of it; on the CPU."""
    if get_world_size() == 1:
        return part
    whole, mine = torch.zeros(n, *part.shape[1:], dtype=part.dtype), share(n)
    whole[mine.start : mine.stop] = part
    return all_reduce(whole)


def gather(values: list[Any]) -> list[Any]:
    """The lists of all processes, one after the other."""
    if get_world_size() == 1:
        return values
    found: list[list[Any]] = [[]] * get_world_size()
    dist.all_gather_object(found, values)
    return list(chain.from_iterable(found))

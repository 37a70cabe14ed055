"""How the networks use the CPU, while they learn and while they count."""

import ctypes

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def use_cpu(threads: int) -> None:
    """Compute with so many threads, and have glibc keep what is freed (mallopt(3)); another C library does as it likes.

    By default glibc hands every large block back to the kernel, and each batch pays for the page faults of fresh ones:
    a third of the CPU time of an analysis, a sixth of a training step. Processes beside each other then wait for the
    kernel, too. The process keeps the memory of its largest batch instead.
    """
    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)

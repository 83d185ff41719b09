"""The number of threads of PyTorch where other programs use the same cores."""

from __future__ import annotations

import time

import torch

ROWS, SIDE = 32, 512  # of the matrix products that are timed
PRODUCTS, TURNS = 16, 3
GAIN = 1.5  # times faster, and one thread is used
CLEAR = 4.0  # times faster, and no further turn is measured


def avoid_busy_cores() -> str | None:
    """Use one thread where that is measured to be faster.

    PyTorch's threads wait for each other after every operation. Where another program holds one of
    the cores, each of these waits takes as long as the scheduler lets that program run, and a step
    takes 5 to 35 times as long. Products with one thread and with all threads are timed in turn.

    Returns:
        A line for the user; None where all threads are used.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return None
    product_seconds(1)  # starts the threads
    taken: dict[int, float] = {1: 0.0, threads: 0.0}
    for _ in range(TURNS):
        for count in taken:
            torch.set_num_threads(count)
            taken[count] += product_seconds()
        if taken[threads] > CLEAR * taken[1]:
            break
    if GAIN * taken[1] >= taken[threads]:
        return None  # the last that were set are all of them
    torch.set_num_threads(1)
    return f"other programs keep the cores busy: 1 thread is used instead of {threads}"


def product_seconds(products: int = PRODUCTS) -> float:
    """Seconds of a number of small matrix products, as they are common in training."""
    x, weights = torch.ones(ROWS, SIDE), torch.ones(SIDE, SIDE)
    started = time.perf_counter()
    for _ in range(products):
        x @ weights
    return time.perf_counter() - started

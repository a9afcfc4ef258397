"""The job of the closed loop: it computes nothing and keeps its cores busy, in batches of BATCH items.

A batch takes 50 ms that can't be shared and 50 ms an item that the cores share: 1 + ceil(BATCH / cores) times 50 ms. So larger batches and
more cores give more items a second. Every core that the job was given is busy all the time, as with thread pools that spin when they
wait. An emulated CPU stands still now and then; what is late for that is caught up with in the next batch, so the figures don't depend on
how fast the guest is.
"""

import ctypes
import os
import sys
import time

from bayestuner.measure.reporter import done, ready

ITEM_S = 0.05
LATE_S = 2.0
"""Being later than this is not caught up with any more: then the job is slow and its throughput shows it."""


def keep_busy(cpu):
    """A process that waits on `cpu` for a lock nobody gives back. It spins with PAUSE, at which an emulator runs another CPU."""
    if os.fork() == 0:
        os.sched_setaffinity(0, {cpu})
        libc, lock = ctypes.CDLL(None), ctypes.c_int()
        libc.pthread_spin_init(ctypes.byref(lock), 0)
        while True:
            libc.pthread_spin_lock(ctypes.byref(lock))


def main():
    batch, cpus = int(sys.argv[1]), os.sched_getaffinity(0)
    for cpu in cpus:
        keep_busy(cpu)
    ready()
    end = time.monotonic()
    while True:
        end = max(end, time.monotonic() - LATE_S) + ITEM_S * (1 + -(-batch // len(cpus)))
        time.sleep(max(end - time.monotonic(), 0.0))
        done(batch)


main()

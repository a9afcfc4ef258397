"""A real job whose weights are a file mapped into memory, as runtimes map theirs. Usage: mmap_weights.py FILE: a batch reads it all."""

import mmap
import os
import sys
from pathlib import Path

from bayestuner.measure.reporter import done, ready

with Path(sys.argv[1]).open("rb") as file:
    weights = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
ready()
while True:
    total = 0
    for start in range(0, len(weights), 1 << 16):
        total += weights[start]
        total += sum(weights[start : start + (1 << 16) : 4096])
    done(1)

"""A real job that takes memory. Usage: hog_memory.py MIB [child]: with ``child`` a child takes it and the parent goes on reporting."""

import os
import sys
import time

from bayestuner.measure.reporter import done, ready


def take(mib):
    kept = []
    for _ in range(mib):
        kept.append(bytearray(os.urandom(1 << 10) * 1024))
    return kept


ready()
if "child" in sys.argv:
    if os.fork() == 0:
        kept = take(int(sys.argv[1]))
        time.sleep(60)
        os._exit(0)
else:
    kept = take(int(sys.argv[1]))
while True:
    time.sleep(0.02)
    done(1)

"""A real job that takes memory. Usage: hog_memory.py MIB [child | several | leaves].

``child``: a child takes it and the parent goes on reporting; ``several``: so does one of four children; ``leaves``: a child takes it,
the parent waits for its end and exits with status 0.
"""

import os
import sys
import time

from bayestuner.measure.reporter import done, ready


def take(mib):
    kept = []
    for _ in range(mib):
        kept.append(bytearray(os.urandom(1 << 10) * 1024))
    return kept


def child(mib):
    pid = os.fork()
    if pid == 0:
        kept = take(mib)
        time.sleep(60 if kept or not mib else 0)
        os._exit(0)
    return pid


how = sys.argv[2] if len(sys.argv) > 2 else "alone"
amount = int(sys.argv[1])
ready()
if how == "alone":
    kept = take(amount)
elif how == "several":
    for mib in (0, 0, amount, 0):
        child(mib)
else:
    pid = child(amount)
    if how == "leaves":
        for _ in range(20):
            time.sleep(0.01)
            done(1)
        os.waitpid(pid, 0)
        sys.exit(0)
while True:
    time.sleep(0.02)
    done(1)

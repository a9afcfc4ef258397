"""A job of its own making, with the two calls that report: compresses blocks of made-up log lines on several threads."""

import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

from bayestuner.measure.reporter import done, ready

level, threads, block_kib = map(int, sys.argv[1:])
block = b"".join(b"%06d GET /image/%d 200 %d us\n" % (i, i * i % 997, i * 7919 % 10007) for i in range(40_000))[: block_kib << 10]

with ThreadPoolExecutor(threads) as pool:
    ready()
    while True:
        batch = list(pool.map(lambda _: zlib.compress(block, level), range(threads)))
        done(len(batch) * block_kib)  # items are KiB of input

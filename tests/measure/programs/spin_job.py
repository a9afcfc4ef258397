"""A real job: burns a fixed amount of CPU per item and reports. Usage: spin_job.py BATCH [SECONDS_PER_ITEM [BATCHES]]"""

import sys
import time

from bayestuner.measure.reporter import done, ready

batch = int(sys.argv[1])
cpu_s = float(sys.argv[2]) if len(sys.argv) > 2 else 0.001
count = int(sys.argv[3]) if len(sys.argv) > 3 else -1
ready()
while count:
    end = time.process_time() + cpu_s * batch
    while time.process_time() < end:
        pass
    done(batch)
    count -= 1

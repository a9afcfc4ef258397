"""The machine itself: its CPUs, their order and quota, its memory, what may disturb figures, its temperature, the lock that
keeps a second tuner out.

It reads /proc and /sys and writes only below its own runtime folder; it knows nothing of jobs.
"""

"""The machine itself: its CPUs and their order, what may disturb figures, its temperature, the lock that keeps a second tuner out.

It reads /proc and /sys and writes only below its own runtime folder; it knows nothing of jobs.
"""

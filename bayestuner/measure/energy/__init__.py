"""Energy meters: perf, powercap, MSR and the labelled estimate, behind one interface (`meter`).

It only reads: counters below /sys and /dev, raw first and converted to joules afterwards.
"""

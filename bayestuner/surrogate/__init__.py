"""The Gaussian processes: a metric's model, its fit, its transform of the readings, the chance that a run does not fail.

It knows arrays of codes and readings, no goal and no strategy; its loops are those of `_core`.
"""

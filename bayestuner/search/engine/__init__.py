"""The Bayesian engine: the `Tuner`, its models of metrics and failures, the acquisition over the whole grid, and when to stop.

It uses the surrogate and the compiled loops; none of the other strategies.
"""

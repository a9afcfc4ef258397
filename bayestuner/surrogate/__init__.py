"""The surrogate models: Gaussian processes of metrics and of failures, their hyperparameters, and samples of them.

This room knows the grid (`bayestuner.space`) and readings, but no goal and no search; it may use the compiled loops of `_core`, which it
imports only when they are needed.
"""

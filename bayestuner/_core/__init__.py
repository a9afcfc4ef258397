"""The compiled loops (numba): covariance, factorisation, likelihood, prediction, scoring of the grid.

They take arrays, return a status and never raise; nothing here knows what a knob or a metric is.
"""

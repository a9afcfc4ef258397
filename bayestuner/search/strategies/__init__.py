"""Strategies beside the Bayesian one, a file each, which names its source; and what several of them share.

Those that are Bayesian themselves are built on the parts of `engine`.
"""

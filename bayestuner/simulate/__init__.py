"""A stand-in for the paper's server and its eight jobs, and the replay of measured tables; every figure of it is called simulated.

It touches neither the machine nor a study: it only maps a configuration to an outcome.
"""

"""The compiled loops: linear algebra, likelihood, posterior, scoring and sampling, on plain arrays.

This room imports nothing of the package and only numba, llvmlite and numpy; its functions return a status or fill arrays, and never raise.
"""

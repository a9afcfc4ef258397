"""The compiled loops: linear algebra, likelihood, posterior, scoring and sampling, on plain arrays.

This room imports of the package only the door to private files, besides numba, llvmlite and numpy; its functions return a status or fill
arrays, and never raise.
"""

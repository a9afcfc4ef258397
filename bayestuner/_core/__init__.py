"""Compiled loops: numba and numpy only. Every function returns a status or arrays; none raises."""

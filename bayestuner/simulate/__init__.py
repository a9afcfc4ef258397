"""The paper's server and its eight jobs as a simulation. Everything here is SIMULATED; no figure from it is a measurement."""

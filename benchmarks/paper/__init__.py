"""The paper's figures and tables, made anew on the simulated server. Everything here is SIMULATED."""

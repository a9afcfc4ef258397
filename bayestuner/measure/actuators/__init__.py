"""Knobs that are settings of the machine: set for a run, read back, put back as they were, also after a SIGKILL."""

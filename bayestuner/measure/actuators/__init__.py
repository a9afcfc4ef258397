"""Knobs that are settings of the machine (clock, power cap): set for a run, read back, put back as they were, also after a SIGKILL.

It writes to /sys only what the journal on disk has noted before.
"""

"""Limits on a run: cgroup v2, cgroup v1, or affinity alone, behind one interface (`isolation`), and starting a process inside them.

It is the only room that writes to cgroup files and starts a job's process; it makes and removes only groups that carry BayesTuner's name.
"""

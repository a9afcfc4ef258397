"""Limits on a run: cgroup v2, cgroup v1, or affinity alone, behind one interface."""

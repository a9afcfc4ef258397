"""The Linux side: places a job inside its limits, launches it, measures it; knows nothing of surrogates and strategies.

At the top stands what others touch: `reporter` (for jobs written in Python), `http_load`, `platform`, `table` and `metrics`. The rooms
below are ordered by what happens to a run, and each imports only those named before it: `cgroup`, `energy`, `machine`, `actuators`, `job`,
then `run` and `doctor`.
"""

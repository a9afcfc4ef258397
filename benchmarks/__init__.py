"""Benchmarks: speed (`bench_*.py`), search quality on tables of measurements, and other tuners beside ours."""

"""What measuring costs, beside readers of other projects over the same files: used by `benchmarks.bench_measure`."""

"""The paper's eight networks as real ONNX graphs with seeded weights, and the process that runs one as a job.

It runs inside a job, so it may import nothing of BayesTuner but the reporter and the leaves. onnx and onnxruntime are imported only when a
graph is built or run.
"""

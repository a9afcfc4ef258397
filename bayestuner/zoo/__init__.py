"""The paper's DNNs as ONNX graphs with seeded weights, and the process that runs them."""

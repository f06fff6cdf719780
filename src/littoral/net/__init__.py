"""Crossing between processes: tensors as bytes, and the protocol's two wire formats."""

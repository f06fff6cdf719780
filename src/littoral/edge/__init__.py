"""One device's process: wires repository, runtime and doors together, and decides nothing."""

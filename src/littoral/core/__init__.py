"""Values every room shares: errors, tensors, requests, names, units and time; no I/O, no await."""

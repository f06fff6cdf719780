"""The doors: one data plane without a wire, and the protocols that open onto it."""

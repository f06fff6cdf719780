"""The verbs of the `littoral` command."""

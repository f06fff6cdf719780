"""The bare arms: the least that Python can do on each wire, without validation, metrics or a protocol."""

"""The benchmarks: every performance figure that Littoral claims comes from a file that a script here wrote."""

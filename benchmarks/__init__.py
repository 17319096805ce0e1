"""Benchmarks: `python -m benchmarks` prints the table of the README.  Nothing here is a test."""

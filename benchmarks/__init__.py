"""Benchmarks: hubbub beside other servers. See README.md."""

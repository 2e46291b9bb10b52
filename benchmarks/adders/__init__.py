"""Adder graphs against other people's tools: ``python -m benchmarks.adders``."""

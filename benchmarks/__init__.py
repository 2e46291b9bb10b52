"""The figures of the README, each by a command: ``python -m benchmarks [NAMES]``."""

"""What the project's claims rest on: programs that measure, run as ``python -m hpi.benchmarks NAME``."""

"""The benchmark: `python -m benches --help`."""

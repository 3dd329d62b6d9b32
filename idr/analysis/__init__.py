"""The analysis side by itself."""

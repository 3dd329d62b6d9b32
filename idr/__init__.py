"""The logic behind the runners: plain Python, importable without Salt's loader. The master has it, minions don't."""

"""Backup sets of an environment: taken, told of, kept and pruned. What is known of them is on their snapshots."""

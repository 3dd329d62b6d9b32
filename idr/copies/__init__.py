"""
A backup set's volumes in a repository outside of the cloud, written and read by the server that has them.

These files aren't installed there: they're sent over SSH (idr/backup/copying.py).
"""

"""
A backup set's clones looked at on a scratch server, by that server's own python3 (3.9 or newer, only the standard
library): are PostgreSQL's pages, indexes and values whole, and are the files there that OMERO's rows name?

These files aren't installed there: they're sent over SSH (idr/backup/verifying.py).
"""

"""A stand-in for OMERO's Blitz server: its services over the rows of OMERO's own tables in PostgreSQL, and the files
under omero.data.dir. It keeps nothing of its own: what isn't in the database or on disk doesn't exist."""

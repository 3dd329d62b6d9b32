-- Written by `omero db script`; it holds a hash of root's password. Load it with: psql -v ON_ERROR_STOP=1 -f FILE
BEGIN;
SET client_min_messages = warning;

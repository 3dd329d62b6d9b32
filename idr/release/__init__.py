"""Releases: another environment prepared, checked, and given the production address."""

"""What stands in for OME's downloads in the lab: the archive of OMERO.server, and the wheel of Ice for Python."""

"""The image that the lab's JupyterHub runs from, and its users' containers: an archive as `docker save` writes it."""

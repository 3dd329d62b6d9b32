# Docker on the analysis side: containers have the MTU of the server's own interface unless it is set here.
docker: {}

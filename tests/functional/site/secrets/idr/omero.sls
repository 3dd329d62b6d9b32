secrets:
  omero:
    root_password: not-a-secret-idr-root
    public_password: not-a-secret-idr-public

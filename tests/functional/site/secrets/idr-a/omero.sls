secrets:
  omero:
    root_password: not-a-secret-idr-a-root
    public_password: not-a-secret-idr-a-public

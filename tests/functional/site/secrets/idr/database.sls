secrets:
  database:
    password: not-a-secret-idr-omero
    readonly_password: not-a-secret-idr-readonly

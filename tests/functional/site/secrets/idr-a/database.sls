secrets:
  database:
    password: not-a-secret-idr-a-omero
    readonly_password: not-a-secret-idr-a-readonly

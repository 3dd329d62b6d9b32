secrets:
  jupyterhub:
    api_token: not-a-secret-idr-a-jupyterhub

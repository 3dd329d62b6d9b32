# The analysis side's Docker server. A site gives the images and who may log in; without images there is no JupyterHub.
docker: {}                        # containers have the MTU of the server's own interface unless `mtu` is set here
jupyterhub:
  # Each image is pinned, in one of two ways:
  #   {name: registry/hub, digest: 'sha256:...'}                                         pulled from its registry
  #   {name: 'hub:5', id: 'sha256:...', source: 'https://...', source_hash: sha256=...}  an archive of `docker save`
  hub_image: {}                   # has the commands jupyterhub and configurable-http-proxy, and dockerspawner
  user_image: {}                  # has the command jupyterhub-singleuser; runs as uid 1000
  # What JupyterHub calls its class, and its settings by class and name. `dummy` lets in anyone and is refused. The
  # client secret of an OAuth provider is supplied apart: oauth_client_secret in the operator's own directory.
  #   {class: github, config: {GitHubOAuthenticator: {client_id: 0a1b2c, allowed_organizations: [IDR]}}}
  authenticator: {class: '', config: {}}
  admins: []
  limits: {memory: 4G, cpus: 2, pids: 512}                # of each user's container
  cull: {idle_seconds: 3600, max_age_seconds: 86400}      # a container ends after so long without use, and in any case

# Redis for OMERO.web's sessions and cache. Nothing in it has to survive: without it visitors get a new session.
{%- from 'omero/map.jinja' import family with context %}

Redis is installed:
  pkg.installed:
    - name: {{ family.redis }}

Redis listens on this server only:
  file.managed:
    - name: /etc/redis/redis.conf
    - source: salt://redis/files/redis.conf
    - user: redis
    - group: redis
    - mode: '0640'
    - require:
      - pkg: Redis is installed

Redis runs:
  service.running:
    - name: {{ family.redis }}
    - enable: True
    - watch:
      - file: Redis listens on this server only

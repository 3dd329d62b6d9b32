# What only the site can say: which images, exactly, and who may log in. Until then a hub that runs is left as it is.
{%- from 'jupyterhub/map.jinja' import jupyterhub with context %}
{%- set wrong = [] %}
{%- for key in ('hub_image', 'user_image') %}
{%- set image = jupyterhub[key] or {} %}
{%- if not (image.get('name') and (image.get('digest') or (image.get('id') and image.get('source') and image.get('source_hash')))) %}
{%- do wrong.append('jupyterhub:' ~ key ~ ' pins no image: it takes name and digest, or name, id, source and source_hash') %}
{%- endif %}
{%- endfor %}
{%- set authenticator = jupyterhub.authenticator.class or '' %}
{%- if not authenticator %}
{%- do wrong.append('jupyterhub:authenticator:class is empty: say who may log in') %}
{%- elif 'dummy' in authenticator | lower %}
{%- do wrong.append('jupyterhub:authenticator:class is ' ~ authenticator ~ ', which lets in anyone') %}
{%- endif %}
the site has said which JupyterHub, and who may log in:
{%- if wrong %}
  test.fail_without_changes:
    - name: {{ ('Pillar ' ~ wrong | join('; ') ~ ' (docs/analysis.md)') | json }}
{%- else %}
  test.nop: []
{%- endif %}

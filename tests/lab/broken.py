"""A new environment broken in ten ways at once, and the old one written to: how each is done, mended, and told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .test_update import JOURNALD

SQL = "runuser -u postgres -- psql -qXd idr -c"
RELOAD = "systemctl reload nginx"
UNSTORED = "sed -i 's/proxy_cache omeroapi;/proxy_cache off;/' nginx.conf"
ANOTHER = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=other.example.org \\
    -addext subjectAltName=DNS:other.example.org -keyout site.pem.new -out site.pem.new 2>/dev/null
mv site.pem.new site.pem"""
SHUT = """
nft 'add table inet shut; add chain inet shut input { type filter hook input priority -1; }
    add rule inet shut input iif != lo tcp dport 80 drop'"""
HUB_ANSWERS = "curl -sfo /dev/null http://127.0.0.1:8000/jupyter/hub/api/"
# What somebody broke, in ten ways on the new one and in one on the old: where, how, how it's mended, and what the check
# has to say of it. All at once, so none may hide another.
BROKEN = {
    "OMERO.web is stopped": (
        "newidr-a-omero", "systemctl stop omero-web", "systemctl start omero-web",
        r"newidr-a-omero: omero-web\.service is \w+: start it with omero\.start web",
    ),
    "a file is changed by hand": (
        "newidr-a-database", f"echo '# by hand' >> {JOURNALD}", f"sed -i '/# by hand/d' {JOURNALD}",
        r"newidr-a-database: its highstate would change .*the journal is kept on disk",
    ),
    "JupyterHub is stopped": (
        "newidr-a-dockermanager", "systemctl stop docker-jupyterhub",
        f"systemctl start docker-jupyterhub; timeout 300 sh -c 'until {HUB_ANSWERS}; do sleep 0.5; done'",
        r"newidr-a-dockermanager: JupyterHub doesn't answer: ",
    ),
    "pixels are away": (
        "newidr-omero", "cd /data/OMERO; mv Pixels Pixels.kept", "cd /data/OMERO; mv Pixels.kept Pixels",
        r"/webgateway/render_image/1/0/0/ at .*: it answers \d+ instead of a rendered image",
    ),
    "rows are lost": (
        "newidr-database",
        f"{SQL} 'set session_replication_role = replica; create table kept as table project; delete from project'",
        f"{SQL} 'set session_replication_role = replica; insert into project table kept; drop table kept'",
        r"/api/v0/m/projects/\?limit=1 at .*: meta\.totalCount is 0, and has to be 1 at least",
    ),
    "the schema is older": (
        "newidr-database",
        f"""{SQL} "update dbpatch set currentversion = replace(currentversion, 'OMERO5', 'OMERO4')" """,
        f"""{SQL} "update dbpatch set currentversion = replace(currentversion, 'OMERO4', 'OMERO5')" """,
        r"the database of newidr has OMERO4\S* \d+, older than OMERO5\S* \d+ of idr",
    ),
    "the certificate is another site's": (
        "newidr-proxy", f"cd /etc/nginx/ssl; cp -a site.pem site.pem.kept; {ANOTHER}; {RELOAD}",
        f"cd /etc/nginx/ssl; mv site.pem.kept site.pem; {RELOAD}",
        r"the certificate of newidr at .* isn't valid for idr\.example\.org: ",
    ),
    "pages aren't stored": (
        "newidr-proxy", f"cd /etc/nginx; cp -a nginx.conf nginx.conf.kept; {UNSTORED}; {RELOAD}",
        f"cd /etc/nginx; mv nginx.conf.kept nginx.conf; {RELOAD}",
        r"/api/v0/ at .*: the second request is not of a cached page, not a HIT",
    ),
    "a page says something else": (
        "newidr-proxy", "cd /srv/www/html; cp -a index.html index.html.kept; sed -i 's/IDR: Image/Other/' index.html",
        "cd /srv/www/html; mv index.html.kept index.html",
        r"/about/ at .*: the text '<title>IDR: Image Data Resource' isn't in it",
    ),
    "a port is shut": (
        "newidr-proxy", SHUT, "nft delete table inet shut", r"port 80 of newidr \(.*\) is closed, and has to be open"
    ),
    "the old one is written to": (
        "idr-omero", "echo new > /data/written-since", "rm -f /data/written-since",
        r"written to idr since .*: \d+ × file in idr-omero:/data, .*even_if=writes",
    ),
}  # fmt: skip


def on_each(lab, scripts):
    """Run scripts, each by its server's name, those of one server one after another: all of them, whichever fail."""

    def run(server):
        own = [script for name, script in scripts if name == server]
        done = [(script, lab.exec(server, "bash", "-ec", script, check=False)) for script in own]
        return [f"{server}: {script}: {it.stdout}{it.stderr}" for script, it in done if it.returncode]

    servers = {name for name, _ in scripts}
    with ThreadPoolExecutor(len(servers)) as pool:
        failed = [line for lines in pool.map(run, servers) for line in lines]
    assert not failed, "\n".join(failed)

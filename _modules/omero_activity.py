"""
Who would notice a restart of OMERO.server: open sessions, long queries, and imports, as its database knows them.
"""

__virtualname__ = "omero"

# The server that runs now has a node which isn't down; sessions of one that fell stay open until the next begins.
SESSIONS = """
    select e.omename as user, coalesce(s.useragent, '') as agent, count(*) as sessions,
           min(s.started)::timestamp(0) as oldest, max(s.started)::timestamp(0) as newest
    from session s join experimenter e on e.id = s.owner join node n on n.id = s.node
    where s.closed is null and n.down is null group by 1, 2 order by 4
"""
QUERIES = """
    select pid, application_name as of, coalesce(client_addr::text, '') as from, state,
           extract(epoch from clock_timestamp() - coalesce(xact_start, query_start))::int as seconds,
           left(regexp_replace(query, '\\s+', ' ', 'g'), 200) as query
    from pg_stat_activity
    where datname = current_database() and usename = current_user and pid <> pg_backend_pid() and state <> 'idle'
      and clock_timestamp() - coalesce(xact_start, query_start) >= make_interval(secs => {seconds})
    order by seconds desc
"""
# An import saves its fileset first, then uploads the files, then reads them and saves the images. OMERO marks only the
# end of the upload in its tables, so a fileset without images is what there is to see, for as long as the session that
# made it is open, and, since a client may leave after the upload, for an hour after. What was begun under an earlier
# server failed with it.
IMPORTS = """
    select e.omename as user, v.time::timestamp(0) as since,
           'fileset ' || f.id || ' has no images yet: ' || f.templateprefix as sign
    from fileset f join event v on v.id = f.creation_id join session s on s.id = v.session
         join node n on n.id = s.node join experimenter e on e.id = f.owner_id
    where n.down is null and not exists (select from image i where i.fileset = f.id)
      and (s.closed is null or s.closed > timezone('utc', now()) - interval '1 hour')
    union all
    select e.omename, s.started::timestamp(0), 'open session of ' || s.useragent
    from session s join experimenter e on e.id = s.owner join node n on n.id = s.node
    where s.closed is null and n.down is null and s.useragent ilike '%import%'
    order by since
"""


def __virtual__():
    return __virtualname__


def activity(queries_over=30):
    """
    What goes on in OMERO.server: open sessions, queries of its own that take long, and imports.

    queries_over: seconds from which on a query or an open transaction is long

    Returns ``{sessions: [{user, agent, sessions, oldest, newest}], queries: [{pid, of, from, state, seconds, query}],
    imports: [{user, since, sign}]}``, times as OMERO wrote them. An import is a session of an importer, or a fileset
    without images whose session is open or was closed within the last hour: that of a failed import looks the same
    for so long.

    CLI Example:

    .. code-block:: bash

        salt idr-omero omero.activity
    """
    return {
        "sessions": __salt__["omero.query"](SESSIONS),
        "queries": __salt__["omero.query"](QUERIES.format(seconds=int(queries_over))),
        "imports": __salt__["omero.query"](IMPORTS),
    }

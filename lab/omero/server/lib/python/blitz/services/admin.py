"""IAdmin: users and groups, which are rows in PostgreSQL."""
import omero
from omero.rtypes import unwrap

from ..calls import NO_OBJECT
from ..sessions import SYSTEM_GROUP, USER_GROUP, password_hash
from .base import Service

# Clients expect groups with their members, and members with their groups
GROUPS = ("select g from ExperimenterGroup g left outer join fetch g.groupExperimenterMap m "
          "left outer join fetch m.child c left outer join fetch c.groupExperimenterMap cm "
          "left outer join fetch cm.parent")
USERS = ("select e from Experimenter e left outer join fetch e.groupExperimenterMap m "
         "left outer join fetch m.parent p left outer join fetch p.groupExperimenterMap pm "
         "left outer join fetch pm.child")

PRIVILEGES = [value for name, value in vars(omero.model.enums).items() if name.startswith("AdminPrivilege")]


def event_context(session):
    """What OMERO tells a client about its session."""
    return omero.sys.EventContext(
        shareId=-1, sessionId=session.id, sessionUuid=session.uuid, userId=session.user, userName=session.name,
        groupId=session.group, groupName=session.group_name, isAdmin=session.is_admin, eventId=-1, eventType="User",
        memberOfGroups=session.groups, leaderOfGroups=session.leads,
        adminPrivileges=PRIVILEGES if session.is_admin else [],
        groupPermissions=omero.model.PermissionsI(session.group_permissions))


class Admin(Service):
    """Users and groups."""

    def getEventContext(self):
        return event_context(self.session)

    def getSecurityRoles(self):
        return omero.sys.Roles(rootId=0, rootName="root", systemGroupId=SYSTEM_GROUP, systemGroupName="system",
                               userGroupId=USER_GROUP, userGroupName="user", guestId=1, guestName="guest",
                               guestGroupId=2, guestGroupName="guest")

    def getCurrentAdminPrivileges(self):
        return self.getAdminPrivileges(omero.model.ExperimenterI(self.session.user, False))

    def getAdminPrivileges(self, user):
        """All or none: there are no restricted administrators here."""
        if SYSTEM_GROUP not in self.getMemberOfGroupIds(user):
            return []
        return self.objects("select p from AdminPrivilege p order by p.id")

    # Looking up

    def getExperimenter(self, identity):
        return self._one(f"{USERS} where e.id = :id", "experimenter", id=identity)

    def lookupExperimenter(self, name):
        return self._one(f"{USERS} where e.omeName = :id", "experimenter", id=name)

    def lookupExperimenters(self):
        return self.objects(f"{USERS} order by e.id")

    def getGroup(self, identity):
        return self._one(f"{GROUPS} where g.id = :id", "group", id=identity)

    def lookupGroup(self, name):
        return self._one(f"{GROUPS} where g.name = :id", "group", id=name)

    def lookupGroups(self):
        return self.objects(f"{GROUPS} order by g.id")

    def containedExperimenters(self, group):
        return self.objects(f"{USERS} where e.id in (select gm.child.id from GroupExperimenterMap gm "
                            "where gm.parent.id = :id) order by e.id", id=group)

    def containedGroups(self, user):
        return self.objects(f"{GROUPS} where g.id in (select gm.parent.id from GroupExperimenterMap gm "
                            "where gm.child.id = :id) order by g.id", id=user)

    def getDefaultGroup(self, user):
        return self.getGroup(next((group for group in self.getMemberOfGroupIds(omero.model.ExperimenterI(user, False))
                                   if group != USER_GROUP), USER_GROUP))

    def getMemberOfGroupIds(self, user):
        return [row[0] for row in self.database.rows(
            "select parent from groupexperimentermap where child = %(id)s order by child_index", id=user.id.val)]

    def getLeaderOfGroupIds(self, user):
        return [row[0] for row in self.database.rows(
            "select parent from groupexperimentermap where child = %(id)s and owner order by child_index",
            id=user.id.val)]

    def lookupLdapAuthExperimenter(self, identity):
        return NO_OBJECT

    def lookupLdapAuthExperimenters(self):
        return []

    def _one(self, query, kind, **values):
        found = self.objects(query, **values)
        if not found:
            raise omero.ApiUsageException("", "", f"No such {kind}: {values['id']}")
        return found[0]

    # Changing

    def createGroup(self, group):
        self._administrators_only()
        permissions = group.details.permissions
        bits = permissions.perm1 if permissions is not None else omero.model.PermissionsI("rw----").perm1
        ((identity,),) = self.database.rows(
            "insert into experimentergroup (version, name, description, permissions) "
            "values (0, %(name)s, %(description)s, %(bits)s) returning id",
            name=unwrap(group.name), description=unwrap(group.description), bits=bits)
        return identity

    def createExperimenter(self, user, default_group, groups):
        return self._create(user, default_group, groups, "")

    def createExperimenterWithPassword(self, user, password, default_group, groups):
        return self._create(user, default_group, groups, unwrap(password))

    def _create(self, user, default_group, groups, password):
        self._administrators_only()
        with self.database.cursor() as cursor:
            cursor.execute(
                "insert into experimenter (version, omeName, firstName, middleName, lastName, email, institution) "
                "values (0, %s, %s, %s, %s, %s, %s) returning id",
                [unwrap(user.omeName), unwrap(user.firstName), unwrap(user.middleName), unwrap(user.lastName),
                 unwrap(user.email), unwrap(user.institution)])
            (identity,) = cursor.fetchone()
            self._add(cursor, identity, [default_group, *groups])
            hashed = password_hash(password, identity) if password else ""
            cursor.execute("insert into password (experimenter_id, hash, changed) "
                           "values (%s, %s, timezone('utc', now()))", [identity, hashed])
        return identity

    @staticmethod
    def _add(cursor, user, groups):
        for group in groups:
            cursor.execute(
                "insert into groupexperimentermap (version, parent, child, child_index) "
                "values (0, %(group)s, %(user)s, (select coalesce(max(child_index) + 1, 0) "
                "from groupexperimentermap where child = %(user)s)) on conflict do nothing",
                {"group": group.id.val, "user": user})

    def addGroups(self, user, groups):
        self._administrators_only()
        with self.database.cursor() as cursor:
            self._add(cursor, user.id.val, groups)

    def removeGroups(self, user, groups):
        self._administrators_only()
        self.database.rows("delete from groupexperimentermap where child = %(user)s and parent = any(%(groups)s) "
                           "returning id", user=user.id.val, groups=[group.id.val for group in groups])

    def setDefaultGroup(self, user, group):
        self._administrators_only(unless=user.id.val)
        self.database.rows("update groupexperimentermap set child_index = (select min(child_index) - 1 "
                           "from groupexperimentermap where child = %(user)s) "
                           "where child = %(user)s and parent = %(group)s returning id",
                           user=user.id.val, group=group.id.val)

    def changePassword(self, password):
        self._set_password(self.session.name, unwrap(password))

    def changePasswordWithOldPassword(self, old, new):
        if not self.sessions.password_is_right(self.session.name, unwrap(old)):
            raise omero.SecurityViolation("", "", "wrong password")
        self._set_password(self.session.name, unwrap(new))

    def changeUserPassword(self, name, password):
        self._administrators_only()
        self._set_password(name, unwrap(password))

    def _set_password(self, name, password):
        user = self.lookupExperimenter(name).id.val
        self.database.rows("update password set hash = %(hash)s, changed = timezone('utc', now()) "
                           "where experimenter_id = %(user)s returning 1",
                           hash=password_hash(password, user), user=user)

    def _administrators_only(self, unless=None):
        if not self.session.is_admin and self.session.user != unless:
            raise omero.SecurityViolation("", "", f"{self.session.name} is no administrator")

"""A repository of copies, for tests: what restic would have in it, without restic."""

from contextlib import contextmanager
from urllib.parse import unquote

from idr.backup import copied
from idr.backup.destinations import Destination
from idr.copies.restic import Missing
from idr.errors import IdrError

VAULT = Destination("vault", {"daily": 7}, {"name": "vault", "repository": "sftp:a@vault:/idr", "password": "secret"})


class Repository:
    """What `copied.opened` hands out, and servers write to, by the deeds that they are asked for."""

    def __init__(self, monkeypatch, there=True):
        self.is_there, self.there, self.deeds, self.commands, self.broken = there, [], [], [], None
        self.asked = {"name": "vault"}
        monkeypatch.setattr(copied, "opened", self.opened)

    @contextmanager
    def opened(self, destination, tell):
        assert destination == VAULT
        try:
            yield self
        except Missing as error:
            raise IdrError(str(error)) from None

    def snapshots(self):
        if self.broken:
            raise IdrError(self.broken)
        if not self.is_there:
            raise Missing("vault: there is no repository at sftp:a@vault:/idr")
        return self.there

    def init(self):
        self.is_there = True

    def run(self, *words):
        self.commands.append(words)

    def retag(self, snapshots, remove=(), add=()):
        self.commands.append(("tag", *(it["id"] for it in snapshots)))
        for it in snapshots:
            it["tags"] = [tag for tag in it["tags"] if tag not in {*remove, *add}] + [*add]

    def forget(self, snapshots):
        ids = [it["id"] for it in snapshots]
        self.commands.append(("forget", *ids))
        self.there = [it for it in self.there if it["id"] not in ids]

    def do(self, ssh, server, deed, asked, destination, tell):
        """In the place of ``copying.do``."""
        assert destination == VAULT
        self.deeds.append((server.id, deed, asked))
        if deed == "back_up":
            self.add(asked["tags"], asked["path"], asked["taken"].replace(" ", "T") + "Z")
            return {"bytes": 2_000_000_000, "files": 7, "added": 1_000_000}
        return self._seal(asked["having"]) if deed == "seal" else {"there": False}

    def add(self, tags, path="/data", time="2026-11-25T03:00:00Z"):
        assert not [tag for tag in tags if "," in tag]
        self.there.append({"id": f"r-{len(self.there)}", "tags": tags, "paths": [path], "time": time})

    def put(self, backup_set, *uses, begun=None):
        """A set's volumes, as a copy writes them."""
        for piece in backup_set.pieces:
            if piece.use in (uses or backup_set.uses):
                self.add(
                    copied.tags(backup_set, piece, begun or backup_set.taken), f"/{piece.use}",
                    f"{backup_set.taken:%Y-%m-%dT%H:%M:%S}Z",
                )  # fmt: skip
        if not uses:
            self._seal(copied.having(backup_set.id))

    def said(self, key):
        """What snapshots say of something, each one's text."""
        tags = [dict(tag.partition("=")[::2] for tag in it["tags"]) for it in self.there]
        return [unquote(each.get(key, "")) for each in tags]

    def _seal(self, tag):
        self.retag([it for it in self.there if tag in it["tags"]], *copied.PHASE)
        self.commands.pop()
        return {}

"""OMERO's services: one plain class each, with a method for every call that is supported."""
from .admin import Admin
from .base import Service
from .config import Config
from .containers import Container
from .files import RawFileStore
from .metadata import Metadata
from .pixels import Pixels, RawPixelsStore
from .query import Query
from .rendering import RenderingEngine
from .repository import RepositoryInfo
from .roi import Roi
from .scripts import Script
from .search import Search
from .session import SessionService
from .shares import Share
from .thumbnails import ThumbnailStore
from .types import Types

STATELESS = {
    "IAdmin": Admin, "IConfig": Config, "IContainer": Container, "IMetadata": Metadata, "IPixels": Pixels,
    "IQuery": Query, "IRepositoryInfo": RepositoryInfo, "IRoi": Roi, "IScript": Script, "ISession": SessionService,
    "IShare": Share, "ITypes": Types,
    # these are there, and refuse every call by its name
    "ILdap": Service, "IProjection": Service, "IRenderingSettings": Service, "ITimeline": Service, "IUpdate": Service,
}
STATEFUL = {
    "RawFileStore": RawFileStore, "RawPixelsStore": RawPixelsStore, "RenderingEngine": RenderingEngine,
    "Search": Search, "ThumbnailStore": ThumbnailStore,
}

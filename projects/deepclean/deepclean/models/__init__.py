"""Trained versions as files: what each is, which are in use, which were used when."""

from deepclean.models.journal import Journal
from deepclean.models.manifest import Manifest, ModelError, read_manifest
from deepclean.models.roles import Roles, read_roles, set_roles
from deepclean.models.versions import list_versions, load_version, publish, set_state

__all__ = [
    "Journal",
    "Manifest",
    "ModelError",
    "Roles",
    "list_versions",
    "load_version",
    "publish",
    "read_manifest",
    "read_roles",
    "set_roles",
    "set_state",
]

"""The signed repository of a fleet: a TUF repository of static files that any web server can hold.

    metadata/   N.root.json, timestamp.json, N.snapshot.json, N.targets.json, N.desired.json, N.desired-bin-xx.json
    targets/    bundles/, runtimes/, releases/<name>/, desired/: manifests, each with its hash before its name
    blobs/      <sha256>: files of bundles and layers of runtimes, named by manifests
    outbox/     what one board is to be sent, by device: links into the folders above

The rule: what is referred to is durable before what refers to it, and `timestamp.json` comes last, or the next root
where keys change; whatever is cut short leaves the repository as it was.
"""

from edge.repository.admission import Publishable
from edge.repository.pushset import PushSet
from edge.repository.repository import Repository, new_nonce
from edge.repository.trust import Change, RoleState, Trust

__all__ = ["Change", "Publishable", "PushSet", "Repository", "RoleState", "Trust", "new_nonce"]

"""The words for how a board is reached, in states, in the store and on screens. Imported by who must not import SSH."""

from __future__ import annotations

UP = "up"
"""Through its tunnel."""
BROKER = "broker"
"""It was told where the broker is."""
DOWN = "down"
REFUSED = "refused"
"""Its sshd forwards nothing."""
OPEN = frozenset({UP, BROKER})
"""What a board says can come."""
NOT_TRIED = "no connection was tried yet"

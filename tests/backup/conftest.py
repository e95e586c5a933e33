"""A small fleet folder, as the repository's own tests make it."""

from __future__ import annotations

from tests.repository.conftest import fleet, made_once

__all__ = ["fleet", "made_once"]

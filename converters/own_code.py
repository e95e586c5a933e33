"""Functions of the user's own: `module:function`, `FILE.py:function`.

The rule: whatever the user's code raises is told, `sys.exit` too, which must not end edge. A module is looked for in
the folder where edge was started, as Python itself would there; a file becomes a module under a name that no other
module has, so that a `json.py` of the user's is never taken for Python's.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

FAULTS = (Exception, SystemExit)
"""What the user's code may raise, and what is told of it."""


def module_of(place: str) -> Any:
    """Import a module by its name, or a file that ends in `.py`.

    Raises:
        Exception, SystemExit: whatever the user's code raises.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if not place.endswith(".py"):
        return importlib.import_module(place)
    name = f"own:{Path(place).resolve()}"
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None, "a name that ends in .py has a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

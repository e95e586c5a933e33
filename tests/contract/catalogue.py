"""All documents of the contract, found by looking."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import agent.contract

MODULES = [
    importlib.import_module(f"agent.contract.{module.name}")
    for module in pkgutil.iter_modules(agent.contract.__path__)
]

EXTENSIBLE: list[type] = sorted(
    {
        kind
        for module in MODULES
        for kind in vars(module).values()
        if dataclasses.is_dataclass(kind)
        and isinstance(kind, type)
        and kind.__module__ == module.__name__
        and "extra" in {field.name for field in dataclasses.fields(kind)}
    },
    key=lambda kind: kind.__name__,
)
"""Every dataclass that crosses a boundary, alone or inside another one."""

ALONE = {"RunningAgent", "InstallRequest", "Enrolment", "BoardFacts", "DeviceProfile", "Measurement"}
"""Documents without a schema field."""

DOCUMENTS: list[type] = [
    kind
    for kind in EXTENSIBLE
    if kind.__name__ in ALONE or "schema" in {field.name for field in dataclasses.fields(kind)}
]
"""What is sent or stored by itself; each has a golden file."""

"""Runtimes with a changed agent, and a runtime whose deadlines are so short that a test can wait for them."""

from __future__ import annotations

from tests.crash.world import small_agent
from tests.update.world import FIXTURE_AGENT, ROOT, Fleet

SHORTER = {
    "agent/supervisor/children.py": {"STOP_S = 10.0": "STOP_S = 0.5"},
    "agent/supervisor/deadlines.py": {"WATCHDOG_S = 120": "WATCHDOG_S = 2"},
    "agent/update/deadline.py": {
        "STAGE_S = 300.0": "STAGE_S = 1.5",
        "STAGE_BYTES_A_S = 250_000": "STAGE_BYTES_A_S = 250_000_000",
        "OUTER_SPARE_S = 30.0": "OUTER_SPARE_S = 0.5",
        "\nSPARE_S = 60.0": "\nSPARE_S = 0.5",
    },
    "agent/update/probation.py": {"ANSWER_TIMEOUT_S = 5.0": "ANSWER_TIMEOUT_S = 0.5"},
    "agent/update/machine.py": {"RETURN_S = 120.0": "RETURN_S = 8.0"},
    "agent/update/reaching.py": {"LINK_S = 60.0": "LINK_S = 2.0", "ASK_S = 5.0": "ASK_S = 0.3"},
    "agent/update/running.py": {"MAX_STARTS = 10": "MAX_STARTS = 3"},
}


def changed(path: str, replacements: dict[str, str]) -> str:
    """A module of the agent with other words in it; the fixture's where it has one."""
    fixture = FIXTURE_AGENT / path.removeprefix("agent/")
    text = (fixture if fixture.is_file() else ROOT / path).read_text()
    for old, new in replacements.items():
        assert text.count(old) == 1, f"`{old}` in {path}"
        text = text.replace(old, new)
    return text


def runtime(fleet: Fleet, changes: dict[str, str] | None = None) -> str:
    """Digest of a runtime with short deadlines and a changed agent, in the repository."""
    files = {path: changed(path, words) for path, words in SHORTER.items()} | (changes or {})
    layer = fleet.blobs.add_layer("edge-agent", f"0.1.{len(fleet.blobs.layers)}", small_agent(files))
    digest, data = fleet.blobs.runtime(layer, fleet.packages, agent_version=layer.version)
    paths = {one.sha256: fleet.blobs.folder / "blobs" / one.sha256 for one in (layer, fleet.packages)}
    fleet.repository.add_runtime(data, paths)
    return digest

"""Runtimes."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError


class RuntimeCompositionError(EdgeError):
    """A runtime for a platform could not be composed."""


class PlatformUnsupported(RuntimeCompositionError):
    code = "runtime.platform-unsupported"
    template = "no runtime for {platform}: {reason}"
    hint_template = "{way_out}"


class WheelUnavailable(RuntimeCompositionError):
    code = "runtime.wheel-unavailable"
    template = "`{requirement}` could not be fetched for {platform}: {reason}"
    hint_template = "check the network, or give the wheel with --engine-wheel"


class WheelUnfit(RuntimeCompositionError):
    code = "runtime.wheel-unfit"
    template = "`{wheel}` does not run on {platform}: {reason}"

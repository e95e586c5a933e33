"""Devices of the fleet folder."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class InventoryError(EdgeError):
    """The fleet folder's list of devices."""

    exit_code = ExitCode.USAGE


class DeviceUnknown(InventoryError):
    code = "device.unknown"
    template = "there is no device `{device}` in this fleet{suggestion}"
    hint_template = "list them with `edge device list`, or add it with `edge device add`"


class DeviceExists(InventoryError):
    code = "device.exists"
    template = "there is a device `{device}` already, at {address}"
    hint_template = "choose another name with --name"


class DeviceSame(InventoryError):
    code = "device.same"
    template = "the board at {address} is in this fleet already, as `{device}`"
    hint_template = "use it by that name"


class DeviceBusy(InventoryError):
    code = "device.busy"
    template = "another edge command is at work on `{device}`"
    hint_template = "wait until it is done, then run this again"
    exit_code = ExitCode.INCOMPLETE


class NoPrevious(InventoryError):
    code = "device.no-previous"
    template = "`{device}` has no earlier generation to go back to"
    exit_code = ExitCode.FAILED


class UpdateWaits(InventoryError):
    code = "device.update-waits"
    template = "`{device}` has not come to the end of desired state {counter} that it was asked for"
    hint_template = "`edge flash` or `edge rollout resume` carries it out, and refreshes the board as well"
    exit_code = ExitCode.INCOMPLETE


class RefreshRefused(InventoryError):
    code = "device.refresh-refused"
    template = "`{device}` did not take what is newly signed: {reason} [{code}]"
    hint_template = "look at `edge device show`; where this folder is behind, `edge key restore`"
    exit_code = ExitCode.NEGATIVE_VERDICT

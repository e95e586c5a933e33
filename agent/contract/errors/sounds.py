"""Sounds that are sent to a model."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class SoundError(EdgeError):
    """A sound can't become a model's input."""

    exit_code = ExitCode.USAGE


class SoundUnreadable(SoundError):
    code = "sound.unreadable"
    template = "the sound can't be read: {reason}"
    hint_template = "send a WAV file of whole numbers (PCM), 8 to 32 bits"


class SoundRateOther(SoundError):
    code = "sound.rate-other"
    template = "the sound has {found} samples a second, the model takes {wanted}"
    hint_template = "record it at that rate, or convert it before: edge does not resample"

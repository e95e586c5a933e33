"""Pictures that are sent to a model."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class ImageError(EdgeError):
    """A picture can't become a model's input."""

    exit_code = ExitCode.USAGE


class ImageUnreadable(ImageError):
    code = "image.unreadable"
    template = "the image can't be read: {reason}"


class ImageTooLarge(ImageError):
    code = "image.too-large"
    template = "the image has {found}, more than {limit}"
    hint_template = "make it smaller: a model sees a few hundred pixels a side"


class ImageNotTaken(ImageError):
    code = "image.not-taken"
    template = "`{model}` takes no images: {reason}"
    hint_template = "send tensors, or convert the model anew with steps from an image to its input"


class DecoderMissing(ImageError):
    code = "image.decoder-missing"
    template = "this runtime can't decode images: it holds no Pillow"
    hint_template = "flash the board again: runtimes composed now hold it"
    exit_code = ExitCode.FAILED

"""Models of every kind: which part of them, whether they are trusted, and the environments that read them."""

from __future__ import annotations

from agent.contract.errors.conversion import ConvertError, ExtraMissing
from agent.contract.errors.tree import ExitCode


class ModelNeedsTrust(ConvertError):
    code = "model.needs-trust"
    template = "`{path}` is {what}: whoever made it decides what runs on this machine when it is read"
    hint_template = "if that is you, or somebody you trust: {option}; else {way_out}"
    exit_code = ExitCode.USAGE


class TorchPickleRefused(ConvertError):
    code = "model.torch-pickle"
    template = "`{path}` is a PyTorch pickle: it runs code when it is read, and holds no graph that could be converted"
    hint_template = 'where the model is made: torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")'
    exit_code = ExitCode.USAGE


class SignatureUnknown(ConvertError):
    code = "model.signature-unknown"
    template = "`{path}` has {count} signatures, and {asked}"
    hint_template = "name one with `--signature`: {known}"
    exit_code = ExitCode.USAGE


class FrameworkUnknown(ConvertError):
    code = "framework.unknown"
    template = "there is no framework `{framework}`{suggestion}"
    hint_template = "frameworks are: {known}"
    exit_code = ExitCode.USAGE


class FrameworkMissing(ExtraMissing):
    code = "framework.missing"
    template = "this needs {title}, whose environment is not made yet"
    hint_template = "edge frameworks add {framework}"


class FrameworkFailed(ConvertError):
    code = "framework.failed"
    template = "the environment of `{framework}` could not be made: {reason}"
    hint_template = "{way_out}"

"""Documents: bytes from the other side that are not what the contract says."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class ContractError(EdgeError):
    """What came from the other side does not fit the contract."""


class DocumentInvalid(ContractError):
    code = "document.invalid"
    template = "{document} is not valid: {reason}"
    hint_template = "it is damaged, or another version of edge wrote it"


class DocumentTooLarge(ContractError):
    code = "document.too-large"
    template = "{document} is {size_bytes} bytes long, at most {limit_bytes} are read"
    hint_template = "it is damaged, or no document of edge"


class NameInvalid(ContractError):
    code = "name.invalid"
    template = "`{name}` can't name a {what}: it must be {rule}"
    exit_code = ExitCode.USAGE

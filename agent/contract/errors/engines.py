"""Engines and the agent."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class EngineError(EdgeError):
    """The inference engine refuses or fails."""


class EngineMissing(EngineError):
    code = "engine.missing"
    template = "the runtime holds no engine `{engine}`"


class EngineRefusesModel(EngineError):
    code = "engine.refuses-model"
    template = "{engine} {version} refuses `{file}`: {reason}"


class InferenceFailed(EngineError):
    code = "engine.inference-failed"
    template = "`{model}` failed: {reason}"


class RequestInvalid(EngineError):
    code = "request.invalid"
    template = "{reason}"
    exit_code = ExitCode.USAGE


class ModelNotServed(EngineError):
    code = "request.unknown-model"
    template = "Request for unknown model: '{model}' is not found"


class ModelVersionNotServed(EngineError):
    code = "request.unknown-version"
    template = "Request for unknown model: '{model}' version {version} is not found"


class ModelLabelNotServed(EngineError):
    code = "request.unknown-label"
    template = "Unrecognized servable version label: {label}"


class ModelUnavailable(EngineError):
    code = "request.model-unavailable"
    template = "Request for unknown model: '{model}' has no available versions"


class Overloaded(EngineError):
    code = "request.overloaded"
    template = "the queue of `{model}` is full"


class BoardStrained(EngineError):
    code = "request.board-strained"
    template = "the board {condition}: no further request waits for `{model}` now"


class RequestExpired(EngineError):
    code = "request.expired"
    template = "Request timeout expired for model '{model}'"


class ModelTooLargeForMemory(EngineError):
    code = "agent.model-too-large"
    template = (
        "{model} needs {need_mb:.1f} MB of memory and {free_mb:.1f} MB are free: "
        "the agent uses {used_mb:.1f} MB of the {limit_mb:.1f} MB that it may use"
    )
    hint_template = "serve fewer models on this board, or convert it smaller with `edge convert`"


class PortTaken(EngineError):
    code = "agent.port-taken"
    template = "port {port} on {address} is taken"
    hint_template = "choose another with `edge flash --port`, or 0 for any free one"


class AgentConfigInvalid(EngineError):
    code = "agent.config-invalid"
    template = "`{path}` is not valid: {reason}"


class AgentSilent(EngineError):
    code = "agent.silent"
    template = "the agent on `{device}` does not answer: {reason}"
    hint_template = "look at `edge logs {device}`"

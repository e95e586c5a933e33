"""What boards and proof environments run, composed on the host.

    lockfile, lock       which wheels, by SHA-256, for each Python, processor and engine; made anew by `lock`
    request              what is asked for
    fetch                wheels into the cache, by this machine's pip
    wheel, elf           what a wheel promises by its name, and what its shared objects want
    trim, layer          a wheel becomes a deterministic zip
    agent_layer          so does the agent that is installed here
    compose              layers become a runtime with one digest
    proof                a runtime on this machine, run as a board runs it

The rule: a runtime is made of what its lock names and of nothing else, and nothing leaves here that could not run
where it is for.
"""

from edge.runtimes.compose import Composed, compose
from edge.runtimes.proof import ProofEnvironment, proof_environment
from edge.runtimes.request import EngineWheel, RuntimeRequest

__all__ = [
    "Composed",
    "EngineWheel",
    "ProofEnvironment",
    "RuntimeRequest",
    "compose",
    "proof_environment",
]

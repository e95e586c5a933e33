"""Who may say and hear what on the fleet's broker: the one access list.

The rule: a client is whom its certificate names, and nothing else counts. A board writes what comes from a board, under
its own name, and reads what goes to a board, under its own name; the collector reads the whole fleet and writes what
goes to boards; a client asks every board's models and reads answers: those that are for everyone, and those below its
own name. Mosquitto gets these rules as a file; the embedded broker asks them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

from agent.contract.errors import NameInvalid
from agent.contract.names import check_name
from agent.contract.topics import FROM_DEVICE, ROOT, WITH_ID, TopicKind
from edge.settings import check_client
from edge.telemetry import alerts, home_assistant

READ = "read"
WRITE = "write"
ITSELF = "%u"
"""In a rule for everyone: the client's own name, as mosquitto writes it."""


@dataclass(frozen=True)
class Rule:
    """One line of the list.

    Attributes:
        who: the only client that it holds for, or None: for everyone, with `ITSELF` put in.
        access: `READ` or `WRITE`.
        filter: of topics.
    """

    who: str | None
    access: str
    filter: str


@dataclass(frozen=True)
class AccessList:
    """The rules of one fleet.

    Attributes:
        fleet: its name. collector: the id of its collector.
        clients: names of those who may ask models, besides the commands of the fleet folder.
    """

    fleet: str
    collector: str
    clients: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.fleet, what="fleet")
        check_name(self.collector, what="collector")
        for client in self.clients:
            check_client(client)

    def may_publish(self, identity: str, topic: str) -> bool:
        """Whether the client called `identity` may write to `topic`."""
        return not _wild(topic) and self._allowed(identity, WRITE, topic)

    def may_receive(self, identity: str, topic: str) -> bool:
        """Whether it may read what is written to `topic`."""
        return not _wild(topic) and self._allowed(identity, READ, topic)

    def may_subscribe(self, identity: str, filter: str) -> bool:
        """Whether it may read every topic that `filter` lets through."""
        return self._allowed(identity, READ, filter)

    def render(self) -> str:
        """The rules as mosquitto's `acl_file`."""
        lines = ["# Written by edge: who may say and hear what.", ""]
        for who, rules in itertools.groupby(self.rules, lambda rule: rule.who):
            lines += ["", f"user {who}"] if who is not None else []
            word = "pattern" if who is None else "topic"
            lines += [f"{word} {rule.access} {rule.filter}" for rule in rules]
        return "\n".join(lines) + "\n"

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """All of them."""
        own = f"{ROOT}/{self.fleet}/+/{ITSELF}"
        every = f"{ROOT}/{self.fleet}/+/+"
        to_device = [kind for kind in TopicKind if kind not in FROM_DEVICE]
        return (
            *(Rule(None, WRITE, f"{own}/{_tail(kind)}") for kind in TopicKind if kind in FROM_DEVICE),
            *(Rule(None, READ, f"{own}/{_tail(kind)}") for kind in to_device),
            Rule(self.collector, READ, f"{ROOT}/{self.fleet}/#"),
            *(Rule(self.collector, WRITE, f"{every}/{_tail(kind)}") for kind in to_device),
            *(Rule(self.collector, WRITE, f"{prefix}#") for prefix in (alerts.TOPICS, home_assistant.TOPICS)),
            *(rule for client in (asker(self.collector), *self.clients) for rule in self._of_client(client)),
        )

    def _of_client(self, client: str) -> tuple[Rule, ...]:
        every = f"{ROOT}/{self.fleet}/+/+"
        return (
            Rule(client, WRITE, f"{every}/{_tail(TopicKind.INFER)}"),
            Rule(client, READ, f"{every}/{TopicKind.RESULT.value}/+"),
            Rule(client, READ, f"{every}/{TopicKind.RESULT.value}/+/{client}/#"),
        )

    def _allowed(self, identity: str, access: str, filter: str) -> bool:
        try:
            check_name(identity, what="client")  # a name with a wildcard in it would be every board
        except NameInvalid:
            return False
        levels = filter.split("/")
        return any(
            rule.access == access
            and rule.who in (None, identity)
            and _covers(rule.filter.replace(ITSELF, identity).split("/"), levels)
            for rule in self.rules
        )


def asker(collector: str) -> str:
    """The name under which commands of a collector's folder ask boards: the collector itself is at the broker."""
    return f"ask-{collector}"


def _tail(kind: TopicKind) -> str:
    return f"{kind.value}/#" if kind in WITH_ID else kind.value


def _wild(topic: str) -> bool:
    return "+" in topic or "#" in topic


def _covers(rule: list[str], filter: list[str]) -> bool:
    """Whether every topic that `filter` lets through is one that `rule` lets through; `a/#` lets `a` through too."""
    for index, level in enumerate(rule):
        if level == "#":
            return True
        if index == len(filter):
            return False
        if filter[index] == "#" or level not in ("+", filter[index]):
            return False
    return len(filter) == len(rule)

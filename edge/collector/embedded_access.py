"""The embedded broker's plugins: amqtt asks here who may do what.

The rule: a session's client id is the name in its certificate; `edge.collector.embedded` saw to that before amqtt saw
the connection, so that here only the access list is left to ask.
"""

from __future__ import annotations

from dataclasses import dataclass

from amqtt.contexts import Action, BaseContext
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from edge.collector.access import AccessList


class Admitted(BaseAuthPlugin):  # type: ignore[misc]  # the library has no types
    """Who came through the door is who he says."""

    async def authenticate(self, *, session: Session) -> bool | None:
        return True


class Access(BaseTopicPlugin):  # type: ignore[misc]  # the library has no types
    """The fleet's access list."""

    @dataclass
    class Config:
        """What the list is made of."""

        fleet: str
        collector: str
        clients: list[str]

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._access = AccessList(self.config.fleet, self.config.collector, tuple(self.config.clients))

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        if session is None or session.client_id is None or topic is None:
            return False
        if action is Action.PUBLISH:
            return self._access.may_publish(session.client_id, topic)
        if action is Action.SUBSCRIBE:
            return self._access.may_subscribe(session.client_id, topic)
        return True  # a subscription was let in only because all that it lets through may be read

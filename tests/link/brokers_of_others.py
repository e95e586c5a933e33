"""Brokers that are not mosquitto, each a process of its own: arguments KIND PORT CERTIFICATE KEY CA.

`amqtt` speaks MQTT 3.1.1 alone and says nothing to others. `mute` takes connections over TLS and never answers.
"""

from __future__ import annotations

import asyncio
import ssl
import sys


async def amqtt(port: str, certificate: str, key: str, authority: str) -> None:
    from amqtt.broker import Broker

    files = {"certfile": certificate, "keyfile": key, "cafile": authority}
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}", "ssl": True, **files}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
    await broker.start()
    await asyncio.Event().wait()


async def mute(port: str, certificate: str, key: str, _authority: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def take(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass

    server = await asyncio.start_server(take, "127.0.0.1", int(port), ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run({"amqtt": amqtt, "mute": mute}[sys.argv[1]](*sys.argv[2:]))

"""A protocol of two commands, a line each: `PUB address text` and `SUB pattern`.

Answers `OK`, or `ERR` with a reason. What a subscription gets comes as `MSG address text`.
"""

from functools import partial

from pydantic import Field

import hubbub

MAX_LINE = 64 * 1024


class LineSettings(hubbub.Section):
    listener: hubbub.ListenerSettings = Field(
        default=hubbub.ListenerSettings(bind=["127.0.0.1:7878"]), description="Where it listens."
    )


class LinePlugin:
    @hubbub.hookimpl
    def hubbub_config(self) -> hubbub.ConfigSection:
        return hubbub.ConfigSection("line", LineSettings)

    @hubbub.hookimpl
    def hubbub_servers(self, hub: hubbub.Hub) -> list[hubbub.Server]:
        settings = hub.config.section(LineSettings).listener
        serve = partial(hub.serve_tcp, partial(converse, hub), settings, describe, name="line")
        return [hubbub.Server("line", lambda task_status: serve(task_status=task_status))]


def describe(address: object) -> hubbub.Endpoint:
    return hubbub.Endpoint("Line", f"tcp://{address}", f"nc {str(address).replace(':', ' ')}")


async def converse(hub: hubbub.Hub, transport: hubbub.Transport) -> None:
    principal = await hub.authenticate(hubbub.Anonymous(peer=transport.peer, protocol="line"))
    if principal is None:
        transport.write(b"ERR who are you?\n")
        return
    with hub.session(principal, protocol="line", client=transport.peer) as session:
        rest = b""
        while len(rest) <= MAX_LINE and (data := await transport.receive()):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                transport.write(await obey(session, transport, line.strip()) + b"\n")
            await transport.drain()


async def obey(session: hubbub.Session, transport: hubbub.Transport, line: bytes) -> bytes:
    command, _, arguments = line.decode(errors="replace").partition(" ")
    address, _, text = arguments.partition(" ")
    try:
        if command == "PUB":
            publication = session.publish([hubbub.Message(address=address, body=text.encode())])
            if publication.refused:
                raise publication.refused[0]
            await publication.commit.wait()
        elif command == "SUB":
            session.subscribe(address, partial(deliver, transport))
        else:
            return b"ERR the commands are PUB and SUB"
    except hubbub.HubbubError as error:
        return f"ERR {error}".encode()
    return b"OK"


def deliver(transport: hubbub.Transport, batch: hubbub.Batch) -> None:
    for message in batch.messages:
        transport.write(b"MSG %s %s\n" % (message.address.encode(), message.body))

"""One client's connection, from its first byte until it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from hubbub import (
    DEFAULT_REALM,
    Anonymous,
    BusyError,
    ClientCertificate,
    Commit,
    Credentials,
    Deadline,
    DeniedError,
    HubbubError,
    Message,
    NotFoundError,
    Outcome,
    Password,
    Session,
    Transport,
    TransportClosed,
)

from . import events as ev
from .destinations import Destination, Place, parse_destination
from .encode import HEART_BEAT
from .errors import StompError
from .frames import Frame, Head
from .mapping import PROTOCOLS, Outgoing
from .protocol import ServerConnection, State
from .queueing import queue_settings, stream_settings, wants_stream
from .subscriptions import HIGH_WATER, Subscriptions

if TYPE_CHECKING:
    from .broker import Broker

MAX_UNCONFIRMED: Final = 64
"""Batches that wait to be kept, at most, before the client is read again."""
_LINGER: Final = 1.0
"""Seconds in which a client that is refused or broke a rule can read why, before it is cut off."""
_CONNECTING: Final = "connect"
_HEART_BEAT: Final = "heart-beat"
_GRACE: Final = 2
"""Intervals of silence after which a client that promised heart-beats is gone."""


class Connection:
    """Serves one client: `serve` is all there is to do with it."""

    def __init__(self, broker: Broker, transport: Transport) -> None:
        self._broker = broker
        self._transport = transport
        self._machine = ServerConnection(broker.new_session_id(), broker.protocol_settings)
        self._deadline = Deadline()
        self._bus: Session | None = None
        self._subscriptions: Subscriptions
        self._unconfirmed = 0
        self._confirmed: trio.Event | None = None
        self._error: StompError | None = None
        self._stopping = False
        self._reading = False
        self._linger = 0.0
        self._reason = "connection lost"

    async def serve(self) -> None:
        """Serve the client until it is gone."""
        broker, transport = self._broker, self._transport
        with ExitStack() as stack:
            try:
                with self._deadline:
                    self._deadline.start(broker.settings.connect_timeout, _CONNECTING)
                    broker.connections.add(self)
                    if await self._open(stack):
                        await self._run()
                await self._end()
            except TransportClosed as closed:
                self._reason = closed.reason
            finally:
                broker.connections.discard(self)
                if self._bus is not None:
                    self._bus.reason = self._reason
                    with trio.CancelScope(shield=True):
                        await self._subscriptions.close()
        await transport.aclose(linger=self._linger)

    # being ended by others

    def stop(self) -> None:
        """End the connection when what is in hand is done: the hub stops."""
        self._stopping = True
        self._interrupt()

    def fail(self, error: StompError) -> None:
        """End the connection with an ERROR."""
        if self._error is None:
            self._error = error
            self._interrupt()

    def _interrupt(self) -> None:
        if self._reading:
            self._deadline.expire()

    # CONNECT

    async def _open(self, stack: ExitStack) -> bool:
        """Receive CONNECT and let the client in, or refuse it."""
        machine, transport = self._machine, self._transport
        events: list[ev.Event] = []
        while not events:
            if self._stopping:
                return False
            self._reading = True
            data = await transport.receive()
            self._reading = False
            if not data:
                return False
            events = machine.receive_data(data)
        first = events[0]
        if isinstance(first, ev.Failed):
            self._refuse(first.error, first.reply)
            return False
        assert isinstance(first, ev.Connect)
        try:
            await self._let_in(first, stack)
        except StompError as error:
            self._refuse(error, machine.error(error))
            return False
        return True

    def _refuse(self, error: StompError, reply: bytes) -> None:
        self._reason = str(error)
        self._linger = _LINGER
        self._transport.write(reply)

    async def _let_in(self, connect: ev.Connect, stack: ExitStack) -> None:
        broker, machine, transport = self._broker, self._machine, self._transport
        if broker.hub.shutdown.requested:
            raise StompError("Server stopping", "The server is being stopped\n")
        try:
            principal = await broker.hub.authenticate(self._credentials(connect))
        except BusyError as error:
            raise StompError("Server busy", f"{error}\n") from None
        if principal is None:
            user = connect.login or ""
            raise StompError("Bad CONNECT", f"Access refused for user '{user}'\n")
        realm = broker.realm_of(connect.host, principal)
        if realm is None:
            raise StompError("Bad CONNECT", f"Virtual host '{connect.host}' access denied")
        client_id = connect.headers.get("client-id")
        bus = broker.hub.session(
            principal,
            protocol=PROTOCOLS[machine.version],
            client=client_id or machine.session,
            peer=transport.peer,
            realm=realm,
        )
        stack.enter_context(bus)
        self._bus = bus
        self._subscriptions = Subscriptions(broker, transport, machine, bus, client_id, self.fail)
        transport.write(machine.accept())

    def _credentials(self, connect: ev.Connect) -> Credentials:
        peer, protocol = self._transport.peer, PROTOCOLS[self._machine.version]
        guest = self._broker.guest and (connect.login, connect.passcode) == ("guest", "guest")
        if connect.login is not None and not guest:
            return Password(connect.login, (connect.passcode or "").encode(), peer, protocol)
        names = self._transport.certificate_names
        if names:
            return ClientCertificate(names, peer, protocol)
        return Anonymous(peer=peer, protocol=protocol)

    # connected

    async def _run(self) -> None:
        transport, machine = self._transport, self._machine
        silence = _GRACE * machine.receives_every / 1000
        if machine.sends_every:
            self._broker.hub.background.spawn(self._beat)
        events = machine.receive_data(b"")  # what came along with the CONNECT
        while True:
            self._deadline.stop()
            if events:
                await self._handle(events)
                if machine.state is State.CLOSED:
                    return
                if transport.buffered > HIGH_WATER:
                    await transport.drain()
            if self._stopping or self._error is not None:
                return
            if silence:
                self._deadline.start(silence, _HEART_BEAT)
            self._reading = True
            data = await transport.receive()
            self._reading = False
            if not data:
                return
            events = machine.receive_data(data)

    async def _beat(self) -> None:
        """Send a heart-beat whenever nothing else was sent for most of the interval."""
        transport, machine = self._transport, self._machine
        pause = machine.sends_every / 1000 / 2
        sent = transport.bytes_out
        while not transport.closed and machine.state is State.CONNECTED:
            await trio.sleep(pause)
            if transport.bytes_out == sent and not transport.buffered:
                transport.write(HEART_BEAT)
                sent += len(HEART_BEAT)
            else:
                sent = transport.bytes_out

    async def _end(self) -> None:
        """Say what is still to be said to a client that is there."""
        machine = self._machine
        if self._bus is None:
            return
        error = self._error
        if error is None and self._stopping:
            error = StompError("Server stopping", "The server is being stopped\n")
        elif error is None and self._deadline.expired:
            error = StompError("Heart-beat missing", "No heart-beat came in time\n")
        if error is not None and machine.state is State.CONNECTED:
            await self._confirm_all()
            self._refuse(error, machine.error(error))

    # what the client sends

    async def _handle(self, events: Sequence[ev.Event]) -> None:
        """Do what the events say: frames of a kind that follow one another as one batch."""
        assert self._bus is not None
        frames: list[Frame] = []
        tags: list[object] = []
        outcome = Outcome.ACCEPT
        receipt = ""
        try:
            for event in events:
                if type(event) is Frame:
                    frames.append(event)
                    continue
                if frames:
                    await self._publish(frames)
                    frames = []
                if type(event) is ev.Settle and not event.receipt:
                    if tags and _outcome_of(event) is not outcome:
                        await self._subscriptions.settle(tags, outcome)
                        tags = []
                    outcome = _outcome_of(event)
                    tags += event.tags
                    continue
                if tags:
                    await self._subscriptions.settle(tags, outcome)
                    tags = []
                if isinstance(event, ev.Failed):
                    await self._confirm_all()
                    self._refuse(event.error, event.reply)
                    return
                assert not isinstance(event, Frame | ev.Connect)
                receipt = event.receipt
                await self._obey(event)
                receipt = ""
            if frames:
                await self._publish(frames)
            if tags:
                await self._subscriptions.settle(tags, outcome)
            await self._bus.ready()
        except (StompError, HubbubError) as problem:
            await self._confirm_all()
            error = error_of(problem, receipt, self._bus.realm)
            self._refuse(error, self._machine.error(error))

    async def _obey(
        self,
        event: ev.Subscribe | ev.Unsubscribe | ev.Settle | ev.Commit | ev.Noted | ev.Disconnect,
    ) -> None:
        assert self._bus is not None
        commit: Commit | None = None
        match event:
            case ev.Settle():
                await self._settle(event)
            case ev.Subscribe():
                await self._subscriptions.add(event.subscription, event.headers)
            case ev.Unsubscribe():
                await self._subscriptions.remove(event.subscription, event.headers)
            case ev.Commit():
                await self._commit(event)
                sent = [step.receipt for step in event.steps if isinstance(step, Frame)]
                if receipts := [each for each in sent if each]:
                    self._confirm(receipts, self._bus.commit())
            case ev.Disconnect():
                self._reason = "disconnected"
        if event.receipt:
            if not isinstance(event, ev.Noted | ev.Disconnect):
                commit = self._bus.commit()
            self._confirm([event.receipt], commit)
        if isinstance(event, ev.Disconnect):
            await self._confirm_all()

    async def _settle(self, event: ev.Settle) -> None:
        await self._subscriptions.settle(event.tags, _outcome_of(event))

    async def _commit(self, event: ev.Commit) -> None:
        """Do the steps of a transaction: all that can be refused is found out before the first."""
        frames = [step for step in event.steps if isinstance(step, Frame)]
        if frames:
            await self._publish(frames, confirm=False)
        for step in event.steps:
            if isinstance(step, ev.Settle):
                await self._settle(step)

    async def _publish(self, frames: Sequence[Frame], *, confirm: bool = True) -> None:
        """Publish messages in order; with `confirm` each gets its receipt once it is kept.

        Raises:
            StompError, HubbubError: for the first that is refused; those before are published.
        """
        bus = self._bus
        assert bus is not None
        now = self._broker.now()
        messages: list[Message] = []
        receipts: list[str] = []
        known: Head | None = None
        outgoing: Outgoing | None = None
        refused: StompError | None = None
        for frame in frames:
            head = frame.head
            if head is not known or outgoing is None:
                try:
                    outgoing = head.note or await self._outgoing(head)
                    await self._prepare(outgoing, head)
                except (StompError, HubbubError) as error:
                    refused = error_of(error, frame.receipt, bus.realm)
                    break
                known = head
            messages.append(outgoing.message(frame.body, now))
            if frame.receipt:
                receipts.append(frame.receipt)
        if refused is not None and not confirm:
            raise refused
        if messages:
            publication = bus.publish(messages)
            if publication.refused:
                first = min(publication.refused)
                why = publication.refused[first]
                refused = error_of(why, frames[first].receipt, bus.realm)
                receipts = [each.receipt for each in frames[:first] if each.receipt]
            if receipts and confirm:
                self._confirm(receipts, publication.commit)
        if refused is not None:
            raise refused
        if self._unconfirmed >= MAX_UNCONFIRMED:
            await self._confirm_all(MAX_UNCONFIRMED - 1)

    async def _outgoing(self, head: Head) -> Outgoing:
        """Work out what the headers of a SEND frame say, once for all with the same bytes."""
        headers = head.headers
        destination = parse_destination(headers["destination"])
        if destination.place is Place.QUEUE and (
            wants_stream(headers) or self._subscriptions.is_stream(destination.name)
        ):
            destination = Destination(destination.text, Place.STREAM, destination.name)
        if destination.place is Place.TEMP_QUEUE:
            raise StompError(
                "Invalid destination",
                f"'{destination.text}' is not a valid destination for SEND: a temporary queue is "
                "named in the header reply-to\n",
            )
        reply_to = None
        if headers.get("reply-to", "").startswith("/temp-queue/"):
            reply_to = await self._subscriptions.temporary(parse_destination(headers["reply-to"]))
        outgoing = Outgoing(headers, destination.address(), destination.scope, reply_to=reply_to)
        if destination.place is Place.QUEUE:
            outgoing.queue = destination.name
        elif destination.place is Place.STREAM:
            outgoing.stream = destination.name
        outgoing.scope = destination.scope
        head.note = outgoing
        return outgoing

    async def _prepare(self, outgoing: Outgoing, head: Head) -> None:
        """Make the queue or stream that is sent to, if there is none."""
        broker, bus = self._broker, self._bus
        assert bus is not None
        if outgoing.queue is not None:
            if bus.find_queue(outgoing.queue) is None:
                await broker.ensure_queue(bus, outgoing.queue, queue_settings(head.headers))
        elif outgoing.stream is not None:
            await broker.ensure_stream(bus, outgoing.stream, stream_settings(head.headers))
        elif outgoing.scope is not None:
            bus.scope(outgoing.scope)  # which must be there

    # receipts

    def _confirm(self, receipts: Sequence[str], commit: Commit | None) -> None:
        """Send receipts when a commit is kept, after all those that were owed before."""
        data = b"".join(map(self._machine.receipt, receipts))
        if not self._unconfirmed and (commit is None or commit.done):
            self._transport.write(data)
            return
        assert self._bus is not None
        self._unconfirmed += 1
        self._broker.hub.acknowledger.add(commit or self._bus.commit(), partial(self._kept, data))

    def _kept(self, data: bytes, error: HubbubError | None) -> None:
        self._unconfirmed -= 1
        if self._confirmed is not None:
            self._confirmed.set()
        if error is None:
            self._transport.write(data)
        else:
            self.fail(error_of(error))  # without a receipt the client sends it again

    async def _confirm_all(self, left: int = 0) -> None:
        """Wait until no more than `left` batches wait to be kept."""
        while self._unconfirmed > left:
            self._confirmed = trio.Event()
            await self._confirmed.wait()
            self._confirmed = None


def _outcome_of(event: ev.Settle) -> Outcome:
    if event.accepted:
        return Outcome.ACCEPT
    return Outcome.RELEASE if event.requeue else Outcome.REJECT


def error_of(error: Exception, receipt: str = "", realm: str = DEFAULT_REALM) -> StompError:
    """Say a problem in RabbitMQ's words, where it has some."""
    if isinstance(error, StompError):
        error.receipt = error.receipt or receipt
        return error
    if isinstance(error, NotFoundError):
        vhost = "/" if realm == DEFAULT_REALM else realm
        text = f"NOT_FOUND - no {error.kind} '{error.name}' in vhost '{vhost}'"
        return StompError("not_found", f"{text}\n", receipt)
    if isinstance(error, DeniedError):
        text = f"ACCESS_REFUSED - {error.action} '{error.resource}' refused"
        return StompError("access_refused", f"{text} for user '{error.principal}'\n", receipt)
    return StompError("Processing error", f"{error}\n", receipt)

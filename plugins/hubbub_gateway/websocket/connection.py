"""One client's connection, from its `hello` until it is gone."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from hubbub import (
    BearerToken,
    Commit,
    Credentials,
    Deadline,
    Framed,
    HubbubError,
    Kind,
    Message,
    Outcome,
    Password,
    Principal,
    Receipt,
    Session,
    TransportClosed,
    UnavailableError,
    WebSocket,
    WebSocketClosed,
    parse_address,
)
from hubbub_gateway.authentication import realm_of
from hubbub_gateway.durations import milliseconds
from hubbub_gateway.problems import Problem, problem_of
from hubbub_gateway.representation import RepresentationError, to_message
from hubbub_gateway.reserved import is_reserved

from .codec import encode_answer, encode_error, encode_ok
from .frames import (
    Ack,
    Extend,
    Hello,
    Limits,
    Nack,
    Ok,
    Ping,
    Pong,
    Publish,
    RequestId,
    Welcome,
)
from .names import session_prefix
from .outbox import HIGH_WATER, Outbox
from .protocol import (
    Begun,
    Credited,
    Event,
    Failed,
    Finished,
    Published,
    ServerConnection,
    Settled,
)
from .reading import Credit
from .subscriptions import Subscriptions

if TYPE_CHECKING:
    from .broker import Broker, SessionKey

PROTOCOL: Final = "websocket"
"""What observers, metrics and messages call this protocol."""
MAX_BATCH: Final = 1_000
"""Frames that are taken as one batch, at most."""
MAX_UNCONFIRMED: Final = 64
"""Batches that wait to be kept, at most, before the client is read again."""

GOING_AWAY: Final = 1001
TRY_AGAIN_LATER: Final = 1013
MALFORMED: Final = 4400
UNAUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403
TIMEOUT: Final = 4408
TAKEN_OVER: Final = 4409
"""Close codes; 44xx are the statuses of HTTP that say the same."""

_HELLO: Final = "no hello came in time"
_IDLE: Final = "no subscription, and nothing was sent for too long"
_TAKEN_OVER: Final = "another connection has taken over the session"
_LEAST_EXPIRY: Final = 100
"""Milliseconds that a session is kept at least: what makes it must find it again."""
_CONFIRM_TIMEOUT: Final = 30.0
"""Seconds that a connection which ends waits for what was published to be kept."""


class Connection:
    """Serves one client: `serve` is all there is to do with it.

    Args:
        principal: who sent the handshake; None: nobody, so `hello` has to say it.
        realm: what the handshake named; empty: the principal's own.
    """

    def __init__(
        self, broker: Broker, websocket: WebSocket, principal: Principal | None, realm: str
    ) -> None:
        self.gone = trio.Event()
        """It has let go of its session."""
        self._broker = broker
        self._websocket = websocket
        self._principal = principal
        self._realm = realm
        self._machine = ServerConnection(broker.settings.max_subscriptions)
        self._deadline = Deadline()
        self._bus: Session
        self._outbox: Outbox
        self._subscriptions: Subscriptions | None = None
        self._session: SessionKey | None = None
        self._unconfirmed = 0
        self._confirmed: trio.Event | None = None
        self._close: tuple[int, str] | None = None
        self._reading = False

    async def serve(self) -> None:
        """Serve the client until it is gone.

        Raises:
            WebSocketClosed, TransportClosed: it went.
        """
        broker, websocket = self._broker, self._websocket
        shutdown = broker.hub.shutdown
        reason = "connection lost"
        shutdown.subscribe(self.stop)
        with ExitStack() as stack:
            try:
                with self._deadline:
                    self._deadline.start(broker.settings.hello_timeout, _HELLO)
                    if await self._open(stack):
                        await self._run()
                reason = await self._end()
            except WebSocketClosed as closed:
                reason = closed.reason or f"closed with {closed.code}"
                raise
            except TransportClosed as closed:
                reason = closed.reason
                raise
            finally:
                shutdown.unsubscribe(self.stop)
                self._machine.close()
                with trio.CancelScope(shield=True):
                    await self._let_go(reason)
        if self._close is not None:
            await websocket.close(*self._close)

    async def _let_go(self, reason: str) -> None:
        try:
            if self._subscriptions is not None:
                self._bus.reason = reason
                await self._subscriptions.close()
        finally:
            if self._session is not None:
                self._broker.release(self._session, self)
            self.gone.set()

    # being ended by others

    def stop(self) -> None:
        """End the connection when what is in hand is done: the hub stops."""
        self._end_with(GOING_AWAY, "the hub is stopping")

    def displace(self) -> None:
        """End the connection: another one goes on with its session."""
        self._end_with(TAKEN_OVER, _TAKEN_OVER)
        transport = self._websocket.transport
        if not self._reading and transport.buffered > HIGH_WATER:
            transport.abort(_TAKEN_OVER)  # its client does not read, so it would not hear of it

    def _end_with(self, code: int, reason: str) -> None:
        if self._close is None:
            self._close = code, reason
            if self._reading:
                self._deadline.expire()

    # hello

    async def _open(self, stack: ExitStack) -> bool:
        """Receive `hello` and let the client in, or refuse it."""
        if self._close is not None:
            return False
        first = self._machine.receive(await self._receive())
        if isinstance(first, Failed):
            self._refuse(first.id, first.problem)
            return False
        assert isinstance(first, Hello)
        try:
            await self._let_in(first, stack)
        except Problem as problem:
            self._refuse(first.id, problem)
            return False
        except HubbubError as error:
            self._refuse(first.id, problem_of(error))
            return False
        return True

    def _refuse(self, id_: RequestId, problem: Problem) -> None:
        self._fail(id_, problem)
        self._close = _CODES.get(problem.status, FORBIDDEN), problem.detail

    async def _let_in(self, hello: Hello, stack: ExitStack) -> None:
        broker, machine, websocket = self._broker, self._machine, self._websocket
        settings = broker.settings
        principal = await self._authenticate(hello)
        realm = realm_of(principal, self._realm)
        client = hello.client or f"{PROTOCOL}/{secrets.token_urlsafe(9)}"
        prefix = None if hello.session is None else session_prefix(principal, hello.session)
        if prefix is not None:
            key = (realm, prefix)
            await broker.claim(key, self)
            self._session = key
        self._bus = broker.hub.session(
            principal,
            protocol=PROTOCOL,
            client=client,
            peer=websocket.transport.peer,
            realm=realm,
        )
        stack.enter_context(self._bus)
        self._outbox = Outbox(
            websocket, machine, self._bus, hello.binary, settings.slow_subscriber_bytes,
            broker.hub.background.spawn,
        )  # fmt: skip
        expires = None
        if hello.expires is not None:
            longest = round(settings.max_session_expiry * 1000)
            expires = max(_LEAST_EXPIRY, min(milliseconds(hello.expires), longest))
        self._subscriptions = Subscriptions(
            broker, machine, self._bus, self._outbox, hello.session, expires
        )
        kept = await self._subscriptions.begin(clean=hello.clean)
        machine.welcome()
        self._outbox.send(
            Welcome(
                id=hello.id,
                server="hubbub",
                user=principal.name,
                realm=realm,
                client=client,
                session=hello.session,
                resumed=bool(kept),
                subscriptions=kept,
                limits=Limits(
                    max_frame_bytes=settings.max_frame_bytes,
                    max_subscriptions=settings.max_subscriptions,
                    max_credit=settings.max_credit,
                ),
            )
        )
        self._subscriptions.resume()

    async def _authenticate(self, hello: Hello) -> Principal:
        peer = self._websocket.transport.peer
        credentials: Credentials
        if hello.token is not None:
            credentials = BearerToken(hello.token, peer, PROTOCOL)
        elif hello.username is not None:
            password = (hello.password or "").encode(errors="surrogatepass")
            credentials = Password(hello.username, password, peer, PROTOCOL)
        elif self._principal is not None:
            return self._principal
        else:
            raise Problem(
                "unauthenticated",
                "Give a `token`, or a `username` and a `password`: this address may not use the "
                "gateway without credentials.",
            )
        principal = await self._broker.hub.authenticate(credentials)
        if principal is None:
            raise Problem("unauthenticated", "These credentials are not known.")
        return principal

    # open

    async def _run(self) -> None:
        websocket, machine = self._websocket, self._machine
        idle = self._broker.settings.idle_timeout
        while True:
            if machine.has_subscriptions:
                self._deadline.stop()
            else:
                self._deadline.start(idle, _IDLE)
            data = await self._receive()
            self._deadline.stop()
            events = [machine.receive(data)]
            while len(events) < MAX_BATCH and (more := websocket.receive_nowait()) is not None:
                events.append(machine.receive(more))
            await self._handle(events)
            if websocket.close_arrived:
                await self._confirm_all()
            if self._close is not None:
                return
            if websocket.transport.buffered > HIGH_WATER:
                await websocket.drain()

    async def _receive(self) -> str | bytes:
        self._reading = True
        try:
            return await self._websocket.receive()
        finally:
            self._reading = False

    async def _end(self) -> str:
        """Finish what is in hand; return why the connection ends."""
        if self._close is None and self._deadline.expired:
            self._close = TIMEOUT, self._deadline.phase
        with trio.move_on_after(_CONFIRM_TIMEOUT):
            await self._confirm_all()
        assert self._close is not None
        return self._close[1]

    # what the client sends

    async def _handle(self, events: Sequence[Event]) -> None:
        """Do what the events say: those of a kind that follow one another as one batch."""
        published: list[Published] = []
        settled: list[Settled] = []
        for event in events:
            if published and type(event) is not Published:
                await self._publish(published)
                published = []
            if settled and not (type(event) is Settled and _alike(event, settled[0])):
                await self._settle(settled)
                settled = []
            match event:
                case Published():
                    published.append(event)
                case Settled():
                    settled.append(event)
                case Failed():
                    self._fail(event.id, event.problem)
                case Ping():
                    if event.id is not None:
                        self._outbox.send(Pong(id=event.id, time=self._broker.now()))
                case _:
                    await self._obey(event)
        if published:
            await self._publish(published)
        if settled:
            await self._settle(settled)
        with suppress(UnavailableError):  # whoever publishes is told
            await self._bus.ready()

    async def _obey(self, event: Begun | Finished | Credited | Hello) -> None:
        assert self._subscriptions is not None
        assert not isinstance(event, Hello)
        id_ = event.request.id
        try:
            match event:
                case Begun():
                    await self._subscriptions.add(event)
                    return  # it has been answered
                case Finished():
                    await self._subscriptions.remove(event.subscription, event.tags)
                case Credited():
                    await self._subscriptions.set_credit(event.subscription, event.request.credit)
        except Problem as problem:
            self._fail(id_, problem)
        except HubbubError as error:
            self._fail(id_, problem_of(error))
        else:
            self._confirm(_oks([id_]), [id_], self._bus.commit())

    def _fail(self, id_: RequestId, problem: Problem) -> None:
        self._websocket.send(encode_error(id_, problem))

    # publish

    async def _publish(self, events: Sequence[Published]) -> None:
        """Publish messages in order; each is answered once it is kept, or with what is wrong."""
        messages: list[Message] = []
        requests: list[Publish] = []
        now = self._broker.now()
        for event in events:
            request = event.request
            try:
                message = to_message(request.message, request.to, now)
                if event.body is not None:
                    message.body = event.body
                if request.to[:1] == "$":
                    await self._prepare(message)
            except RepresentationError as error:
                self._fail(request.id, Problem("bad-message", f"{error}."))
            except Problem as problem:
                self._fail(request.id, problem)
            except HubbubError as error:
                self._fail(request.id, problem_of(error))
            else:
                messages.append(message)
                requests.append(request)
        if not messages:
            return
        try:
            publication = self._bus.publish(messages)
        except HubbubError as error:
            for request in requests:
                self._fail(request.id, problem_of(error))
            return
        unmatched, duplicates = set(publication.unmatched), publication.duplicates
        oks: list[str] = []
        ids: list[RequestId] = []
        for index, request in enumerate(requests):
            id_ = request.id
            if index in publication.refused:
                self._fail(id_, problem_of(publication.refused[index]))
                continue
            ids.append(id_)
            if id_ is None:
                continue
            if index in unmatched or index in duplicates:
                number = duplicates.get(index, messages[index].id)
                oks.append(
                    encode_answer(
                        Ok(
                            id=id_,
                            message=str(number),
                            duplicate=index in duplicates,
                            matched=index not in unmatched,
                        )
                    )
                )
            else:
                oks.append(encode_ok(id_, messages[index].id))
        self._confirm(oks, ids, publication.commit)
        if self._unconfirmed >= MAX_UNCONFIRMED:
            await self._confirm_all(MAX_UNCONFIRMED - 1)

    async def _prepare(self, message: Message) -> None:
        """Make the queue or stream that is sent to, if there is none.

        Raises:
            Problem: it takes no such message.
            HubbubError.
        """
        address = message.address
        if not address.startswith(("$queue/", "$stream/")):
            return
        if message.retain:
            raise Problem("bad-message", "Topics retain messages; queues and streams don't.")
        parsed = parse_address(address)
        if parsed.kind is Kind.QUEUE:
            if is_reserved(parsed.name):
                raise Problem("forbidden", f"The queue {parsed.name!r} is another client's own.")
            await self._broker.ensure_queue(self._bus, parsed.name)
        else:
            if message.delay is not None:
                raise Problem("bad-message", "Streams don't delay a message.")
            await self._broker.ensure_stream(self._bus, parsed.name)

    # ack, nack, extend

    async def _settle(self, events: Sequence[Settled]) -> None:
        """Settle deliveries, all in the same way; each request is answered for its own."""
        receipts: list[Receipt] = []
        numbers: list[int] = []
        owners: list[int] = []
        for index, event in enumerate(events):
            for number, tag in zip(event.numbers, event.tags, strict=True):
                if isinstance(tag, Receipt):
                    receipts.append(tag)
                    numbers.append(number)
                    owners.append(index)
                elif isinstance(tag, Credit) and not isinstance(event.request, Extend):
                    tag.give_back()
        failed = await self._end_leases(events[0].request, receipts) if receipts else ()
        lost: dict[int, list[int]] = {}
        for each in failed:
            lost.setdefault(owners[each], []).append(numbers[each])
        ids: list[RequestId] = []
        for index, event in enumerate(events):
            id_ = event.request.id
            if index in lost:
                deliveries = lost[index]
                problem = Problem(
                    "lease-over",
                    "The lease was over for: "
                    f"{', '.join(map(str, deliveries[:10]))}{', …' if len(deliveries) > 10 else ''}"
                    ". All other deliveries of the request are done with.",
                    deliveries=deliveries,
                )
                self._fail(id_, problem)
            elif id_ is not None:
                ids.append(id_)
        if ids:
            self._confirm(_oks(ids), ids, self._bus.commit())

    async def _end_leases(
        self, request: Ack | Nack | Extend, receipts: Sequence[Receipt]
    ) -> Sequence[int]:
        """Do what a request says; return the indexes of the leases that were over."""
        bus = self._bus
        match request:
            case Ack():
                return (await bus.settle(receipts, Outcome.ACCEPT)).failed
            case Nack() if request.reject:
                reason = request.reason or "rejected"
                return (await bus.settle(receipts, Outcome.REJECT, reason=reason)).failed
            case Nack() if request.delay is None or (delay := milliseconds(request.delay)) == 0:
                return (await bus.settle(receipts, Outcome.RELEASE)).failed
            case Nack():
                done = [await bus.extend(each, delay, let_go=True) for each in receipts]
            case _:
                lease = milliseconds(request.lease)
                done = [await bus.extend(each, lease) for each in receipts]
        return [index for index, fine in enumerate(done) if not fine]

    # answers that wait until something is kept

    def _confirm(self, oks: Sequence[str], ids: Sequence[RequestId], commit: Commit) -> None:
        """Send answers when a commit is kept; if it can't be, errors for the ids instead."""
        if commit.done and not self._unconfirmed:
            if oks:
                self._websocket.send_framed(Framed(oks))
            return
        self._unconfirmed += 1
        self._broker.hub.acknowledger.add(commit, partial(self._kept, oks, ids))

    def _kept(
        self, oks: Sequence[str], ids: Sequence[RequestId], error: HubbubError | None
    ) -> None:
        self._unconfirmed -= 1
        if self._confirmed is not None:
            self._confirmed.set()
        if error is not None:
            problem = problem_of(error)
            for id_ in ids:
                self._fail(id_, problem)
        elif oks:
            self._websocket.send_framed(Framed(oks))

    async def _confirm_all(self, left: int = 0) -> None:
        """Wait until no more than `left` batches wait to be kept."""
        while self._unconfirmed > left:
            self._confirmed = trio.Event()
            await self._confirmed.wait()
            self._confirmed = None


def _alike(one: Settled, other: Settled) -> bool:
    """Tell whether two requests settle in the same way, and so can be done as one."""
    a, b = one.request, other.request
    if isinstance(a, Ack):
        return isinstance(b, Ack)
    if isinstance(a, Nack):
        return isinstance(b, Nack) and (a.reject, a.delay, a.reason) == (
            b.reject,
            b.delay,
            b.reason,
        )
    return isinstance(b, Extend) and a.lease == b.lease


def _oks(ids: Iterable[RequestId]) -> list[str]:
    return [encode_answer(Ok(id=id_)) for id_ in ids if id_ is not None]


_CODES: Final = {400: MALFORMED, 401: UNAUTHENTICATED, 403: FORBIDDEN, 503: TRY_AGAIN_LATER}
"""The code that a refused `hello` is closed with, by the problem's status."""

"""What a client publishes: batches, returns, confirms, transactions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from hubbub import (
    Commit,
    DeniedError,
    HubbubError,
    Message,
    NotFoundError,
    Publication,
    RefusedError,
    UnavailableError,
)

from .channel import Mode
from .decode import Content
from .encode import encode_content, encode_method_frame
from .errors import AmqpError, Reply
from .exchanges import DELAYED, DELAYED_QUEUE, Route, later
from .mapping import NOWHERE, REPLY_TO, Template, with_reply_to
from .methods import BasicAck, BasicNack, BasicPublish, BasicReturn

if TYPE_CHECKING:
    from .channels import Channel
    from .connection import Connection

_copy: Final[Callable[[Message], Message]] = Message.__copy__  # type: ignore[attr-defined]
"""What `copy.copy` ends up with, without its detours: it is called for every message."""
_DELAYED_ADDRESS: Final = f"$queue/{DELAYED_QUEUE}"


class Pending(NamedTuple):
    """A message that is ready to be published, and what it came in."""

    channel: Channel
    content: Content
    message: Message
    route: Route
    template: Template
    number: int
    """Its place among what its channel has published, if that confirms."""


class _Owed(NamedTuple):
    """Confirms that wait for a commit: up to which number, and which of them are refused."""

    commit: Commit
    channel: Channel
    upto: int
    refused: tuple[int, ...]


class Publisher:
    """Publishes for one connection. `add` what came, then `flush`: one batch, one commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pending: list[Pending] = []
        self._messages: list[Message] = []
        self._owed: deque[_Owed] = deque()
        self._more = trio.Event()
        self._idle = trio.Event()
        self._idle.set()

    def add(self, channel: Channel, content: Content) -> None:
        """Take a message. Raises `AmqpError` if it can't be published at all."""
        pending = self.prepare(channel, content)
        self._pending.append(pending)
        self._messages.append(pending.message)

    def prepare(self, channel: Channel, content: Content) -> Pending:
        """Make the message. Raises `AmqpError`."""
        method = content.method
        assert type(method) is BasicPublish
        host = self._connection.host
        route = host.route(method.exchange, method.routing_key)
        raw = content.properties
        template = route.templates.get(raw) or route.template(raw)
        message: Message = _copy(template.prototype)
        message.body = content.body
        if method.immediate or not template.is_plain:
            template, message = self._special(channel, content, route, template, message)
        number = 0
        if channel.mode is Mode.CONFIRM:
            channel.published = number = channel.published + 1
        return Pending(channel, content, message, route, template, number)

    def _special(
        self, channel: Channel, content: Content, route: Route, template: Template, message: Message
    ) -> tuple[Template, Message]:
        """Do what only few messages ask for."""
        connection = self._connection
        method = content.method
        assert type(method) is BasicPublish
        if method.immediate:
            raise AmqpError(Reply.NOT_IMPLEMENTED, "immediate=true")
        if template.user_id is not None and template.user_id != connection.user:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"user_id property set to '{template.user_id}' but authenticated user was "
                f"'{connection.user}'",
            )
        if template.bad_expiration is not None:
            raise AmqpError(Reply.PRECONDITION_FAILED, template.bad_expiration)
        if template.wants_reply:
            if channel.reply_to is None:
                raise AmqpError(Reply.PRECONDITION_FAILED, "fast reply consumer does not exist")
            content.properties = with_reply_to(content.properties, f"{REPLY_TO}.{channel.reply_to}")
            template = route.templates.get(content.properties) or route.template(content.properties)
            message = _copy(template.prototype)
            message.body = content.body
        if template.ttl is not None:
            message.expires_at = connection.broker.now() + template.ttl
        if template.delay is not None and route.exchange.record.type == DELAYED:
            message.address = _DELAYED_ADDRESS
            message.scope = None
            message.delay = template.delay
        return template, message

    @property
    def has_pending(self) -> bool:
        """Whether something waits to be published."""
        return bool(self._messages)

    async def flush(self) -> None:
        """Publish what was added."""
        if not self._messages:
            return
        pending, self._pending = self._pending, []
        messages, self._messages = self._messages, []
        commit, refused = await self.publish(pending, messages)
        self._confirm(pending, commit, refused)

    async def publish(
        self, pending: list[Pending], messages: list[Message]
    ) -> tuple[Commit, dict[int, HubbubError]]:
        """Publish, return what is to be returned; tell the commit, and what is refused."""
        connection = self._connection
        connection.publishes = True
        bus = connection.bus
        special = any(not each.template.is_plain for each in pending)
        if special and any(message.address == _DELAYED_ADDRESS for message in messages):
            return await self._publish_with_delayed(pending, messages)
        try:
            publication = self._route(pending, messages) if special else self._route_plain(messages)
        except UnavailableError as error:
            return bus.commit(), dict.fromkeys(range(len(messages)), error)
        if not (publication.refused or publication.unmatched):
            return publication.commit, {}
        return self._sort_out(pending, messages, publication)

    def _route_plain(self, messages: list[Message]) -> Publication:
        """Publish messages by their routing keys alone."""
        publication = self._connection.bus.publish(messages)
        refused = publication.refused
        nowhere = [index for index in refused if messages[index].address == NOWHERE]
        if not nowhere:
            return publication
        return Publication(
            publication.commit,
            tuple(sorted({*publication.unmatched, *nowhere})),
            {index: error for index, error in refused.items() if index not in nowhere},
        )

    def _route(self, pending: list[Pending], messages: list[Message]) -> Publication:
        """Publish messages, some of which have further routing keys."""
        connection = self._connection
        bus, host = connection.bus, connection.host
        with bus.as_one():
            return host.publish_further(
                bus,
                self._route_plain(messages),
                (
                    (index, host.copy_for(messages[index], each.route.exchange.name, key))
                    for index, each in enumerate(pending)
                    for key in each.template.more
                ),
            )

    async def _publish_with_delayed(
        self, pending: list[Pending], messages: list[Message]
    ) -> tuple[Commit, dict[int, HubbubError]]:
        """Put delayed messages aside, and publish the others."""
        connection = self._connection
        host = connection.host
        await connection.broker.delay_queue(host)
        refused: dict[int, HubbubError] = {}
        now = [i for i, message in enumerate(messages) if message.address != _DELAYED_ADDRESS]
        if now:
            _, part = await self.publish([pending[i] for i in now], [messages[i] for i in now])
            refused = {now[index]: error for index, error in part.items()}
        for index, message in enumerate(messages):
            if message.address != _DELAYED_ADDRESS:
                continue
            address = pending[index].route.address
            if not connection.bus.allowed("publish", address):
                refused[index] = DeniedError(connection.user, "publish", address)
                continue
            try:
                host.bus.publish([message])
            except UnavailableError as error:
                refused[index] = error
        self._refuse(pending, refused)
        return connection.bus.commit(), refused

    def _sort_out(
        self,
        pending: list[Pending],
        messages: list[Message],
        publication: Publication,
    ) -> tuple[Commit, dict[int, HubbubError]]:
        """Deal with what nobody took: alternate exchanges, streams, returns, refusals."""
        connection = self._connection
        commit = publication.commit
        host = connection.host
        refused: dict[int, HubbubError] = {}
        unmatched = list(publication.unmatched)
        for index, error in publication.refused.items():
            if isinstance(error, NotFoundError):
                # The name may be a stream's by now, or no more.
                host.forget_routes()
                unmatched.append(index)
            else:
                refused[index] = error
        for index in sorted(unmatched):
            each = pending[index]
            alternate = each.route.exchange.alternate
            result: Publication | None = None
            if alternate is not None and alternate in host.exchanges:
                result = host.pass_on([messages[index]], host.exchanges[alternate])
            elif not each.route.exchange.name:
                fresh = host.route("", each.route.key)
                if fresh.address != messages[index].address:
                    again = host.copy_for(messages[index], "", each.route.key)
                    again.address = fresh.address
                    result = connection.bus.forward([again])
            if result is None or result.unmatched or result.refused:
                self._return(each, messages[index])
            else:
                commit = later(commit, result.commit)
        self._refuse(pending, refused)
        return commit, refused

    def _return(self, each: Pending, message: Message) -> None:
        """Give a message back that is mandatory, for nobody is there to take it."""
        method = each.content.method
        assert type(method) is BasicPublish
        connection = self._connection
        if not method.mandatory:
            return
        number = each.channel.number
        returned = BasicReturn(
            Reply.NO_ROUTE, Reply.NO_ROUTE.name, method.exchange, method.routing_key
        )
        connection.write(
            encode_content(
                number, returned, each.content.properties, message.body,
                connection.machine.frame_max,
            )
        )  # fmt: skip

    def _refuse(self, pending: list[Pending], refused: dict[int, HubbubError]) -> None:
        """Close the channels of clients that may not publish what they did."""
        for index, error in refused.items():
            if isinstance(error, RefusedError | NotFoundError | UnavailableError):
                continue
            each = pending[index]
            name = each.route.exchange.name
            self._connection.fail_channel(
                each.channel.number,
                AmqpError(
                    Reply.ACCESS_REFUSED
                    if isinstance(error, DeniedError)
                    else Reply.PRECONDITION_FAILED,
                    f"access to exchange '{name}' in vhost '{self._connection.vhost_name}' "
                    f"refused for user '{self._connection.user}'"
                    if isinstance(error, DeniedError)
                    else str(error),
                    method=BasicPublish.id,
                ),
            )

    # confirms

    def _confirm(
        self, pending: list[Pending], commit: Commit, refused: dict[int, HubbubError]
    ) -> None:
        upto: dict[Channel, int] = {}
        for each in pending:
            if each.number:
                upto[each.channel] = each.number
        if not upto:
            return
        for channel, number in upto.items():
            numbers = tuple(
                pending[index].number for index in refused if pending[index].channel is channel
            )
            self._owed.append(_Owed(commit, channel, number, numbers))
        if len(self._owed) == len(upto) and commit.done:
            self._pay(len(upto), kept=True)
        else:
            self._idle = trio.Event() if self._idle.is_set() else self._idle
            self._more.set()

    async def run(self) -> None:
        """Confirm what is committed, in order, until cancelled."""
        while True:
            while not self._owed:
                self._idle.set()
                self._more = trio.Event()
                await self._more.wait()
            kept = True
            try:
                await self._owed[0].commit.wait()
            except UnavailableError:
                kept = False
            first = self._owed[0].commit
            count = 0
            for owed in self._owed:
                if owed.commit is not first and not (kept and owed.commit.done):
                    break
                count += 1
            self._pay(count, kept=kept)

    async def settled(self) -> None:
        """Wait until nothing is owed."""
        if self._owed:
            await self._idle.wait()

    def _pay(self, count: int, *, kept: bool) -> None:
        """Confirm the first of what is owed; one ack for all of a channel."""
        upto: dict[Channel, int] = {}
        refused: dict[Channel, list[int]] = {}
        for _ in range(count):
            owed = self._owed.popleft()
            upto[owed.channel] = owed.upto
            if owed.refused:
                refused.setdefault(owed.channel, []).extend(owed.refused)
        for channel, number in upto.items():
            if not self._connection.is_current(channel):
                continue
            if not kept:
                self._tell(channel, BasicNack(number, True, False))
                channel.confirmed = number
                continue
            bad = refused.get(channel, [])
            for each in bad:
                self._tell(channel, BasicNack(each, False, False))
            good = number
            while good in bad:
                good -= 1
            if good > channel.confirmed:
                self._tell(channel, BasicAck(good, good > channel.confirmed + 1))
            channel.confirmed = number

    def _tell(self, channel: Channel, method: BasicAck | BasicNack) -> None:
        self._connection.write(encode_method_frame(channel.number, method))

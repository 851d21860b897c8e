"""Endpoints: subscriptions whose target is a URL that a plugin delivers to.

Each has a queue of its own, as lasting as the subscription, and a pump that takes batches from it
under a lease. What the endpoint took is settled; what it did not take comes again after a growing
pause, until the queue gives it up. So nothing is settled before its target has it.
"""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import trio

from .address import scheme_of, spell_queue
from .bus import Losses
from .config import EndpointSettings
from .engine.contract import Delivery, Engine, QueueSettings
from .errors import RefusedError
from .hookspecs import Send
from .net.shutdown import Shutdown
from .plugins import suggest
from .session import Session
from .supervisor import Backoff

_PREFIX = "$endpoint/"
"""What the names of the queues start with; the rest is the id of the subscription."""
_LONGEST_WAIT = 600_000
"""Milliseconds that a pump waits for a message before it asks again."""
_SPARE = 10_000
"""Milliseconds that a lease is longer than its delivery may take."""


class MakeSender(Protocol):
    """Asks a plugin for the function that delivers to a URL."""

    def __call__(self, url: str, session: Session) -> Send:
        """Raise `ValueError` if the URL is not one of its kind."""
        ...


class Log(Protocol):
    """The part of a structlog logger that is needed here."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log something that may be a passing trouble."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log something that somebody has to look at."""


class _Endpoint:
    """One subscription to a URL, and how its pump is doing."""

    def __init__(self, realm: str, id_: str, url: str, settings: QueueSettings) -> None:
        self.realm = realm
        self.id = id_
        self.url = url
        self.settings = settings
        self.failures = 0
        """Deliveries that raised, one after the other."""
        self.held_until = 0.0
        """When the next batch may be taken, on Trio's clock."""
        self.life = trio.CancelScope()
        self.stopping = False
        self._taking = trio.CancelScope()

    @property
    def queue(self) -> str:
        """The name of its queue."""
        return _PREFIX + self.id

    def taking(self) -> trio.CancelScope:
        """Return a scope that `stop` cancels."""
        self._taking = trio.CancelScope()
        return self._taking

    def stop(self) -> None:
        """Take nothing more; what is under way goes on."""
        self.stopping = True
        self._taking.cancel()


class Endpoints:
    """Pumps messages to all endpoints of a hub.

    Args:
        engine: has the queues.
        settings: batches, deadlines, pauses.
        makers: ask a plugin for a sender, by scheme.
        make_session: makes the session of an endpoint, from its realm, id and scheme.
        shutdown: bounds what is under way when the hub stops.
        lost: hears of messages that are given up.
        log: hears of endpoints that fail: of the 1st, 2nd, 4th, 8th … failure in a row.
        rng: gives the chance in the pauses.
    """

    def __init__(
        self,
        engine: Engine,
        settings: EndpointSettings,
        makers: Mapping[str, MakeSender],
        make_session: Callable[[str, str, str], Session],
        shutdown: Shutdown,
        lost: Losses,
        log: Log,
        rng: random.Random | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._makers = makers
        self._make_session = make_session
        self._shutdown = shutdown
        self._lost = lost
        self._log = log
        self._random = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._backoff = Backoff(first=settings.first_pause, longest=settings.longest_pause)
        self._endpoints: dict[tuple[str, str], _Endpoint] = {}
        self._nursery: trio.Nursery | None = None
        self._detached: set[tuple[str, str]] = set()
        self._detaching = trio.Event()
        self.failures = 0
        """Deliveries that raised, since the start."""

    def __len__(self) -> int:
        return len(self._endpoints)

    def has(self, target: str) -> bool:
        """Tell whether a target is a URL, not an address."""
        return scheme_of(target, self._makers) is not None

    def attach(self, realm: str, id_: str, url: str, *, durable: bool) -> str:
        """Begin to deliver for the subscription `id_`; return the name of the queue it feeds.

        An endpoint of the same id is replaced, and what waits for it goes to the new one. Before
        `running`, nothing is delivered yet, and no plugin asked.

        Raises:
            RefusedError: no plugin delivers to this URL.
        """
        settings = self._settings
        endpoint = _Endpoint(
            realm,
            id_,
            url,
            QueueSettings(
                durable=durable,
                lease=round(settings.timeout * 1000) + _SPARE,
                max_length=settings.max_messages,
                max_bytes=settings.max_bytes,
                max_receives=settings.max_tries,
                message_ttl=None if settings.max_age is None else round(settings.max_age * 1000),
                dead_letter=settings.dead_letter,
            ),
        )
        if self._nursery is not None:
            self._start(endpoint, self._nursery)
        self._engine.ensure_queue(realm, endpoint.queue, endpoint.settings)
        former = self._endpoints.get((realm, id_))
        if former is not None:
            former.life.cancel()
        self._endpoints[realm, id_] = endpoint
        return endpoint.queue

    def detach(self, realm: str, id_: str) -> None:
        """Deliver no more for a subscription, and drop what waits; no error if it has no URL."""
        endpoint = self._endpoints.pop((realm, id_), None)
        if endpoint is not None:
            endpoint.life.cancel()
            self._detached.add((realm, endpoint.queue))
            self._detaching.set()

    # running

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver inside the context; leaving it finishes what is under way."""
        await self._sweep()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for endpoint in self._endpoints.values():
                try:
                    self._start(endpoint, nursery)
                except RefusedError as error:  # what is published to it waits
                    self._log.error("endpoint can't be used", id=endpoint.id, reason=str(error))
            remover = await nursery.start(self._remove)
            try:
                yield
            finally:
                self._nursery = None
                remover.cancel()
                self._shutdown.limit(nursery.cancel_scope)
                for endpoint in self._endpoints.values():
                    endpoint.stop()

    async def _sweep(self) -> None:
        """Delete the queues of subscriptions that are gone, such as routes no longer configured."""
        wanted = {(each.realm, each.queue) for each in self._endpoints.values()}
        for queue in self._engine.all_queues():
            if queue.name.startswith(_PREFIX) and (queue.realm, queue.name) not in wanted:
                await self._delete(queue.realm, queue.name)

    async def _remove(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Delete the queues of endpoints that were detached."""
        with trio.CancelScope() as scope:
            task_status.started(scope)
            while True:
                await self._detaching.wait()
                self._detaching = trio.Event()
                wanted = {(each.realm, each.queue) for each in self._endpoints.values()}
                while self._detached:
                    place = self._detached.pop()
                    if place not in wanted:
                        await self._delete(*place)

    async def _delete(self, realm: str, name: str) -> None:
        queue = self._engine.find_queue(realm, name)
        if queue is not None:
            counts = queue.counts()
            waiting = counts.visible + counts.in_flight + counts.delayed
            if waiting:
                self._lost("subscription ended", waiting, spell_queue(name))
            await self._engine.delete_queue(queue)

    def _start(self, endpoint: _Endpoint, nursery: trio.Nursery) -> None:
        scheme = endpoint.url.partition(":")[0]
        make = self._makers.get(scheme)
        if make is None:
            hint = suggest(scheme, self._makers)
            raise RefusedError(f"no plugin delivers to {scheme}: URLs{hint}")
        session = self._make_session(endpoint.realm, endpoint.id, scheme)
        session.adopt(spell_queue(endpoint.queue))
        try:
            send = make(endpoint.url, session)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        except Exception as error:
            self._log.error("endpoint failed", id=endpoint.id, exc_info=error)
            raise RefusedError(f"the plugin for {scheme}: URLs failed") from error
        nursery.start_soon(self._keep_pumping, endpoint, session, send)

    async def _keep_pumping(self, endpoint: _Endpoint, session: Session, send: Send) -> None:
        with endpoint.life, session:
            attempt = 0
            while not endpoint.stopping:
                try:
                    await self._pump(endpoint, session, send)
                except Exception as error:  # somebody deleted its queue, say
                    self._log.error("endpoint failed", id=endpoint.id, exc_info=error)
                    pause = self._backoff.pause(attempt, self._random.random())
                    attempt += 1
                    with endpoint.taking():
                        await trio.sleep(pause)

    async def _pump(self, endpoint: _Endpoint, session: Session, send: Send) -> None:
        queue = self._engine.ensure_queue(endpoint.realm, endpoint.queue, endpoint.settings)
        if queue.settings != endpoint.settings:
            await queue.configure(endpoint.settings)
        free = trio.Semaphore(self._settings.concurrency)
        async with trio.open_nursery() as nursery:
            with endpoint.taking():
                while True:
                    await free.acquire()
                    await trio.sleep_until(endpoint.held_until)
                    deliveries = await session.receive(
                        endpoint.queue, self._settings.batch, wait=_LONGEST_WAIT
                    )
                    if deliveries:
                        nursery.start_soon(self._deliver, endpoint, session, send, deliveries, free)
                    else:
                        free.release()

    async def _deliver(
        self,
        endpoint: _Endpoint,
        session: Session,
        send: Send,
        deliveries: Sequence[Delivery],
        free: trio.Semaphore,
    ) -> None:
        """Hand over one batch, and settle what arrived."""
        try:
            arrived = await self._send(endpoint, send, deliveries)
            done = [each.receipt for each, good in zip(deliveries, arrived, strict=True) if good]
            if done:
                await session.settle(done)
            for delivery, good in zip(deliveries, arrived, strict=True):
                if not good:
                    pause = self._backoff.pause(delivery.receives - 1, self._random.random())
                    await session.extend(delivery.receipt, round(pause * 1000))
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                for delivery in deliveries:
                    await session.extend(delivery.receipt, 0)
            raise
        finally:
            free.release()

    async def _send(
        self, endpoint: _Endpoint, send: Send, deliveries: Sequence[Delivery]
    ) -> Sequence[bool]:
        try:
            with trio.fail_after(self._settings.timeout):
                arrived = await send([each.message for each in deliveries])
            if len(arrived) != len(deliveries):
                text = f"it answered for {len(arrived)} of {len(deliveries)} messages"
                raise RuntimeError(text)
        except Exception as error:
            self.failures += 1
            endpoint.failures += 1
            if endpoint.failures & (endpoint.failures - 1) == 0:
                self._log.warning(
                    "endpoint does not take messages", id=endpoint.id,
                    failures=endpoint.failures, exc_info=error,
                )  # fmt: skip
            # One that fails is not asked for every message that waits.
            pause = self._backoff.pause(endpoint.failures - 1, self._random.random())
            endpoint.held_until = trio.current_time() + pause
            return [False] * len(deliveries)
        endpoint.failures = 0
        endpoint.held_until = 0.0
        return arrived

"""SNS of one hub: its parts put together, from start to stop."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import trio

from hubbub import DEFAULT_REALM, HttpRoute, Request, Response, Server
from hubbub_aws import AwsService, AwsSettings
from hubbub_aws.errors import ErrorTraits
from hubbub_aws.models import load_model
from hubbub_aws.services import Service
from hubbub_sns.application_events import ApplicationEvents
from hubbub_sns.archive import Archive, Replays
from hubbub_sns.deduplication import Deduplicator
from hubbub_sns.deliveries import Deliveries
from hubbub_sns.envelopes import Envelopes
from hubbub_sns.fanout import Fanout
from hubbub_sns.feedback import Feedback
from hubbub_sns.filters import Filters
from hubbub_sns.lines import LineFile
from hubbub_sns.mobile import Mobile, is_phone
from hubbub_sns.outbox import Outbox
from hubbub_sns.permissions import Permissions
from hubbub_sns.protection import Guard
from hubbub_sns.publishing import Publishing
from hubbub_sns.reports import Reports
from hubbub_sns.senders import Senders
from hubbub_sns.settings import SnsSettings
from hubbub_sns.signing import Signer
from hubbub_sns.store import Store
from hubbub_sns.subscriptions import Subscriptions
from hubbub_sns.tagging import Tagging
from hubbub_sns.topics import Topics

if TYPE_CHECKING:
    from hubbub import Hub

UNSIGNED = frozenset({"ConfirmSubscription", "Unsubscribe"})
OPT_OUT = "/sns/opt-out"


class Sns:
    """The parts of SNS. Make one with `running`."""

    def __init__(self, hub: "Hub", store: Store, signer: Signer, filters: Filters) -> None:
        settings = hub.config.section(SnsSettings)
        data = hub.config.hub.data
        outbox = LineFile(settings.outbox or data / "sns-outbox.jsonl", settings.outbox_max_bytes)
        reports = LineFile(
            settings.reports or data / "sns-reports.jsonl", settings.reports_max_bytes
        )
        self._aws = hub.config.section(AwsSettings)
        self._signer = signer
        self.store = store
        self.outbox = Outbox(outbox, hub.clock)
        self.reports = Reports(hub, reports)
        feedback = Feedback(self.reports, hub.clock)
        guard = Guard(store, self.reports, hub.clock)
        events = ApplicationEvents(store, hub.clock)
        self.mobile = Mobile(hub, settings, store, self.outbox, feedback, events)
        self.deduplicator = Deduplicator(store, hub.clock)
        self.archive = Archive(store, hub.clock)
        envelopes = Envelopes(
            signer, store.session().lossy, sign_for_queues=settings.sign_for_queues
        )
        fanout = Fanout(hub, store, envelopes, filters, feedback, guard)
        self.senders = Senders(settings, envelopes, self.mobile, self.outbox)
        self.deliveries = Deliveries(hub, settings, store, fanout, self.senders, feedback)
        replays = Replays(store, fanout, guard)
        self.subscriptions = Subscriptions(
            hub, store, signer, fanout, filters, self.deliveries, replays
        )
        self._families = (
            Topics(store, self.archive, self.subscriptions, self.deduplicator),
            self.subscriptions,
            Publishing(store, self.deduplicator, self.mobile, guard),
            Permissions(store),
            Tagging(store),
            self.mobile,
        )

    @classmethod
    @asynccontextmanager
    async def running(cls, hub: "Hub", filters: Filters) -> AsyncIterator["Sns"]:
        """Load everything and attach the subscriptions; end them on leaving."""
        store = Store(hub)
        try:
            signer = await Signer.load(
                store.session(DEFAULT_REALM), hub.config.section(SnsSettings).key_size
            )
            sns = cls(hub, store, signer, filters)
            await store.load()
            await sns.deduplicator.load()
            await sns.outbox.load()
            for topic in store.topics.values():
                sns.archive.attach(topic)
            await sns.subscriptions.attach_all()
            try:
                yield sns
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(1):
                    await sns.senders.close()
        finally:
            store.close()

    def servers(self) -> Iterable[Server]:
        """Return what runs as long as the hub."""
        yield self.deliveries.server()
        yield Server("sns-subscriptions", self.subscriptions.serve)
        yield self.reports.server()

    def service(self) -> AwsService:
        """Return the service at the AWS endpoint."""
        model = Service(
            load_model("sns"),
            errors={"VerificationException": ErrorTraits("VerificationException")},
        )
        operations = {
            name: function
            for family in self._families
            for name, function in family.operations().items()
        }
        return AwsService(
            model,
            operations,
            "sns create-topic --name alerts",
            unsigned=UNSIGNED,
            pages={self._signer.path: self._certificate},
        )

    async def _certificate(self, request: Request) -> Response:
        headers = [("Content-Type", "application/x-pem-file")]
        return Response(200, headers, await self._signer.certificate())

    def routes(self) -> Iterable[HttpRoute]:
        """Return the pages of the admin listener."""
        yield from self.outbox.routes()
        yield from self.reports.routes()
        yield HttpRoute("POST", OPT_OUT, self._opt_out)

    async def _opt_out(self, request: Request) -> Response:
        """Note that a phone number wants no SMS, as if it had answered STOP."""
        form = parse_qs((await request.body(10_000)).decode("utf-8", "replace"))
        phone = form.get("phone", [""])[0]
        account = form.get("account", [self._aws.account])[0]
        if not is_phone(phone):
            return Response(400, body=b"give phone=+49...\n")
        await self.mobile.opt_out(account, self._aws.realm(account, self._aws.region), phone)
        return Response(204)

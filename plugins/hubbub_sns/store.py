"""What SNS knows, in memory and in documents, and the sessions that it acts with."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from hubbub import DEFAULT_REALM, Commit, OwnSessions, Session
from hubbub_sns.devices import Devices
from hubbub_sns.records import Application, Endpoint, Phones, Subscription, Topic, encode

if TYPE_CHECKING:
    from hubbub import Hub

PROTOCOL = "sns"
TOPIC = "sns.topic"
SUBSCRIPTION = "sns.subscription"
APPLICATION = "sns.application"
ENDPOINT = "sns.endpoint"
PHONES = "sns.phones"

_Record = TypeVar("_Record")


class Store:
    """The topics, subscriptions and the rest of one hub. Close it when the hub stops."""

    def __init__(self, hub: "Hub") -> None:
        self._sessions = OwnSessions(hub, PROTOCOL)
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.applications: dict[str, Application] = {}
        self.devices = Devices()
        self.phones: dict[str, Phones] = {}
        self._of_topic: dict[str, dict[str, Subscription]] = {}
        self._tokens: dict[str, Subscription] = {}

    def session(self, realm: str = DEFAULT_REALM) -> Session:
        """Return SNS's own session in a realm."""
        return self._sessions.of(realm)

    def close(self) -> None:
        """End all sessions, and with them what they subscribed."""
        self._sessions.close()

    async def load(self) -> None:
        """Take back what was kept."""
        session = self.session()
        async for topic in _all(session, TOPIC, Topic):
            self.topics[topic.arn] = topic
        async for subscription in _all(session, SUBSCRIPTION, Subscription):
            self._index(subscription)
        async for application in _all(session, APPLICATION, Application):
            self.applications[application.arn] = application
        async for endpoint in _all(session, ENDPOINT, Endpoint):
            self.devices.add(endpoint)
        async for phones in _all(session, PHONES, Phones):
            self.phones[phones.account] = phones

    # topics

    def save_topic(self, topic: Topic) -> Commit:
        """Keep a topic."""
        self.topics[topic.arn] = topic
        return self.session(topic.realm).put_document(TOPIC, topic.arn, encode(topic))

    def drop_topic(self, topic: Topic) -> Commit:
        """Forget a topic."""
        self.topics.pop(topic.arn, None)
        return self.session(topic.realm).drop_document(TOPIC, topic.arn)

    # subscriptions

    def _index(self, subscription: Subscription) -> None:
        former = self.subscriptions.get(subscription.arn)
        if former is not None:
            self._tokens.pop(former.token, None)
        self.subscriptions[subscription.arn] = subscription
        self._of_topic.setdefault(subscription.topic, {})[subscription.arn] = subscription
        if subscription.token:
            self._tokens[subscription.token] = subscription

    def subscriptions_of(self, topic: str) -> Mapping[str, Subscription]:
        """Return the subscriptions of a topic, by ARN."""
        return self._of_topic.get(topic, {})

    def by_token(self, token: str) -> Subscription | None:
        """Return the subscription that a token confirms."""
        return self._tokens.get(token)

    def save_subscription(self, subscription: Subscription) -> Commit:
        """Keep a subscription."""
        self._index(subscription)
        return self.session(subscription.realm).put_document(
            SUBSCRIPTION, subscription.arn, encode(subscription)
        )

    def drop_subscription(self, subscription: Subscription) -> Commit:
        """Forget a subscription."""
        self.subscriptions.pop(subscription.arn, None)
        self._tokens.pop(subscription.token, None)
        peers = self._of_topic.get(subscription.topic, {})
        peers.pop(subscription.arn, None)
        if not peers:
            self._of_topic.pop(subscription.topic, None)
        return self.session(subscription.realm).drop_document(SUBSCRIPTION, subscription.arn)

    # the rest

    def save_application(self, application: Application) -> Commit:
        """Keep a platform application."""
        self.applications[application.arn] = application
        return self.session(application.realm).put_document(
            APPLICATION, application.arn, encode(application)
        )

    def drop_application(self, application: Application) -> Commit:
        """Forget a platform application and its endpoints."""
        del self.applications[application.arn]
        for endpoint in self.devices.of(application.arn):
            self.drop_endpoint(endpoint)
        return self.session(application.realm).drop_document(APPLICATION, application.arn)

    def save_endpoint(self, endpoint: Endpoint) -> Commit:
        """Keep the endpoint of a device."""
        self.devices.add(endpoint)
        return self.session(endpoint.realm).put_document(ENDPOINT, endpoint.arn, encode(endpoint))

    def drop_endpoint(self, endpoint: Endpoint) -> Commit:
        """Forget the endpoint of a device."""
        self.devices.discard(endpoint)
        return self.session(endpoint.realm).drop_document(ENDPOINT, endpoint.arn)

    def phones_of(self, account: str, realm: str) -> Phones:
        """Return what an account has said of SMS."""
        found = self.phones.get(account)
        return Phones(account=account, realm=realm) if found is None else found

    def save_phones(self, phones: Phones) -> Commit:
        """Keep what an account has said of SMS."""
        self.phones[phones.account] = phones
        return self.session(phones.realm).put_document(PHONES, phones.account, encode(phones))


async def _all(session: Session, namespace: str, kind: type[_Record]) -> AsyncIterator[_Record]:
    async for document in session.documents(namespace):
        yield msgspec.json.decode(document.value, type=kind)

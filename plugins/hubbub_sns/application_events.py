"""Events of platform applications: what befalls their devices, published to topics they name."""

import msgspec

from hubbub import Clock, Message, UnavailableError
from hubbub_sns.errors import invalid_parameter
from hubbub_sns.messages import message_uuid, timestamp
from hubbub_sns.names import parse_arn
from hubbub_sns.records import Application, Endpoint
from hubbub_sns.store import Store

CREATED = "EndpointCreated"
DELETED = "EndpointDeleted"
UPDATED = "EndpointUpdated"
FAILED = "DeliveryFailure"

EVENT_ATTRIBUTES = frozenset(f"Event{event}" for event in (CREATED, DELETED, UPDATED, FAILED))
"""The attributes of applications that hold the ARN of a topic for each event."""


def check_event_topic(attribute: str, value: str) -> None:
    """Check the value of one of `EVENT_ATTRIBUTES`: empty, or an ARN of SNS. Raises `AwsError`."""
    if value and parse_arn(value, f"Attributes Reason: {attribute}").service != "sns":
        raise invalid_parameter(f"Attributes Reason: {attribute}: {value} is not a topic's ARN")


class ApplicationEvents:
    """Publishes events to the topics that applications name for them.

    An event whose topic does not exist is lost, and counted; nothing waits for it.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def changed(self, application: Application, endpoint: Endpoint, event: str) -> None:
        """Tell that a device was created, changed or deleted."""
        self._publish(application, event, {"EndpointArn": endpoint.arn})

    def failed(self, endpoint: Endpoint, message: Message, kind: str, reason: str) -> None:
        """Tell that a device will not get a message."""
        application = self._store.applications.get(endpoint.application)
        if application is None:
            return
        details = {
            "DeliveryAttempts": 1,
            "EndpointArn": endpoint.arn,
            "FailureMessage": reason,
            "FailureType": kind,
            "MessageId": message_uuid(message.identity),
        }
        self._publish(application, FAILED, details)

    def _publish(self, application: Application, event: str, details: dict[str, object]) -> None:
        arn = application.attributes.get(f"Event{event}")
        if not arn:
            return
        topic = self._store.topics.get(arn)
        if topic is None:
            self._store.session(application.realm).lost("no such topic", 1, arn)
            return
        now = self._clock.now()
        body = {
            **details,
            "EventType": event,
            "Resource": application.arn,
            "Service": "SNS",
            "Time": timestamp(now),
        }
        message = Message(address=topic.name, body=msgspec.json.encode(dict(sorted(body.items()))))
        session = self._store.session(topic.realm)
        try:
            session.publish([message])
        except UnavailableError as error:
            session.lost(str(error), 1, arn)

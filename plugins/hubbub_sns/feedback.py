"""Delivery status: what became of deliveries, for topics, applications and SMS that ask for it."""

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping

from hubbub import Clock, Message
from hubbub_aws.arns import Arn
from hubbub_sns.messages import message_uuid
from hubbub_sns.records import Topic
from hubbub_sns.reports import Reports
from hubbub_sns.sampling import sampled

_PREFIXES = {
    "application": "Application", "firehose": "Firehose", "http": "HTTP", "https": "HTTP",
    "lambda": "Lambda", "sqs": "SQS",
}  # fmt: skip


class Feedback:
    """Reports deliveries where somebody wants to know."""

    def __init__(self, reports: Reports, clock: Clock) -> None:
        self._reports = reports
        self._clock = clock

    def delivered(
        self, topic: Topic, protocol: str, endpoint: str, message: Message,
        status: int = 200, answer: str = "", attempts: int = 1,
    ) -> None:  # fmt: skip
        """Report that a subscriber took a message, if the topic samples that."""
        prefix = _PREFIXES.get(protocol)
        if prefix is None or not self._samples(topic.attributes, f"{prefix}Success"):
            return
        group = _group(topic.region, topic.account, topic.name)
        self._report(group, message, endpoint, status, answer, attempts, topic=topic.arn)

    def failed(
        self, topic: Topic, protocol: str, endpoint: str, message: Message,
        status: int, answer: str, attempts: int = 1,
    ) -> None:  # fmt: skip
        """Report that a subscriber did not take a message."""
        prefix = _PREFIXES.get(protocol)
        if prefix is None or not topic.attributes.get(f"{prefix}FailureFeedbackRoleArn"):
            return
        group = f"{_group(topic.region, topic.account, topic.name)}/Failure"
        self._report(
            group, message, endpoint, status, answer, attempts, topic=topic.arn, success=False
        )

    def pushed(self, application: str, attributes: Mapping[str, str], endpoint: str,
               message: Message) -> None:  # fmt: skip
        """Report that a push notification was taken, if its application samples that."""
        if self._samples(attributes, "Success"):
            arn = Arn.parse(application)
            group = _group(arn.region, arn.account, arn.resource)
            self._report(group, message, endpoint, 200, "kept in the outbox", 1)

    def texted(
        self, region: str, account: str, attributes: Mapping[str, str], phone: str,
        message: Message, problem: str,
    ) -> None:  # fmt: skip
        """Report what became of an SMS. `problem`: why it was not sent, if so."""
        if not attributes.get("DeliveryStatusIAMRole"):
            return
        rate = attributes.get("DeliveryStatusSuccessSamplingRate") or "100"
        group = _group(region, account, "DirectPublishToPhoneNumber")
        if problem:
            self._report(f"{group}/Failure", message, phone, 400, problem, 1, success=False)
        elif sampled(int(rate)):
            self._report(group, message, phone, 200, "kept in the outbox", 1)

    def _samples(self, attributes: Mapping[str, str], prefix: str) -> bool:
        """Tell whether a success is to be reported. Without a rate, all are."""
        if not attributes.get(f"{prefix}FeedbackRoleArn"):
            return False
        rate = attributes.get(f"{prefix}FeedbackSampleRate") or "100"
        return sampled(int(rate))

    def _report(
        self, group: str, message: Message, destination: str, status: int, answer: str,
        attempts: int, *, topic: str | None = None, success: bool = True,
    ) -> None:  # fmt: skip
        notification = {
            "messageMD5Sum": hashlib.md5(message.body, usedforsecurity=False).hexdigest(),
            "messageId": message_uuid(message.identity),
        }
        if topic is not None:
            notification["topicArn"] = topic
        moment = dt.datetime.fromtimestamp(message.published / 1000, dt.UTC)
        notification["timestamp"] = f"{moment:%Y-%m-%d %H:%M:%S}.{message.published % 1000:03}"
        delivery = {
            "deliveryId": str(uuid.uuid4()),
            "destination": destination,
            "providerResponse": answer,
            "dwellTimeMs": max(0, self._clock.now() - message.published),
            "attempts": attempts,
            "statusCode": status,
        }
        self._reports.add(
            group,
            str(uuid.uuid4()),
            {
                "notification": notification,
                "delivery": delivery,
                "status": "SUCCESS" if success else "FAILURE",
            },
        )


def _group(region: str, account: str, name: str) -> str:
    return f"sns/{region}/{account}/{name}"

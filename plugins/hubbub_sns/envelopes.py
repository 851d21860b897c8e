"""Envelopes: what subscribers get around a message, byte for byte as AWS lays it out."""

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from hubbub import Message
from hubbub_aws.attributes import Attribute
from hubbub_sns.messages import Content, content_of, message_uuid, sequence_number, timestamp
from hubbub_sns.records import Subscription, Topic
from hubbub_sns.signing import Signer

_json = msgspec.json.Encoder().encode

SUBSCRIBE = "SubscriptionConfirmation"
UNSUBSCRIBE = "UnsubscribeConfirmation"

_END = b"\n}"


def confirm_url(subscription: Subscription) -> str:
    """Return what a subscriber visits to confirm its subscription."""
    return (
        f"{subscription.base_url}/?Action=ConfirmSubscription&TopicArn={subscription.topic}"
        f"&Token={subscription.token}"
    )


def unsubscribe_url(subscription: Subscription) -> str:
    """Return what a subscriber visits to end its subscription."""
    return (
        f"{subscription.base_url}/?Action=Unsubscribe&SubscriptionArn="
        f"{quote(subscription.arn, safe=':')}"
    )


class Envelopes:
    """Makes envelopes, signed where AWS signs them.

    `lossy` hears of every field of a message that an envelope can't carry.
    """

    def __init__(
        self, signer: Signer, lossy: Callable[[str], None], *, sign_for_queues: bool = True
    ) -> None:
        self._signer = signer
        self._lossy = lossy
        self._sign_for_queues = sign_for_queues

    def notification(
        self, message: Message, topic: Topic, subscription: Subscription,
        cache: dict[Any, Any] | None = None, *, replayed: bool = False,
    ) -> bytes:  # fmt: skip
        """Return the envelope of a message, in JSON.

        `cache` keeps what further subscriptions of the topic have in common. `replayed` says that
        the message comes from the archive.
        """
        key = (topic.arn, subscription.protocol, subscription.base_url, message.id)
        parts: tuple[bytes, bytes] | None = None if cache is None else cache.get(key)
        if parts is None:
            parts = self._parts(message, topic, subscription)
            if cache is not None:
                cache[key] = parts
        head, tail = parts
        if replayed:
            tail = tail[: -len(_END)] + b',\n  "Replayed" : "true"' + _END
        return head + unsubscribe_url(subscription).encode() + tail

    def _parts(
        self, message: Message, topic: Topic, subscription: Subscription
    ) -> tuple[bytes, bytes]:
        content = self._content(message, subscription)
        fields = self._fields(message, topic, content)
        lines = [
            *fields.items(),
            *self._signature(fields, topic, subscription).items(),
        ]
        head = "{\n" + "".join(f'  "{name}" : {_text(value)},\n' for name, value in lines)
        tail = '"'
        if content.attributes:
            attributes = ",\n".join(
                f"    {_text(name)} : {_attribute(each)}"
                for name, each in content.attributes.items()
            )
            tail += f',\n  "MessageAttributes" : {{\n{attributes}\n  }}'
        return f'{head}  "UnsubscribeURL" : "'.encode(), tail.encode() + _END

    def _content(self, message: Message, subscription: Subscription) -> Content:
        content = content_of(message, subscription.protocol)
        for field in content.lost:
            self._lossy(field)
        return content

    def _fields(self, message: Message, topic: Topic, content: Content) -> dict[str, str]:
        fields = {"Type": "Notification", "MessageId": message_uuid(message.identity)}
        if topic.fifo:
            fields["SequenceNumber"] = sequence_number(message.identity)
        fields["TopicArn"] = topic.arn
        if content.subject is not None:
            fields["Subject"] = content.subject
        fields["Message"] = content.text
        fields["Timestamp"] = timestamp(message.published)
        return fields

    def _signature(
        self, fields: Mapping[str, str], topic: Topic, subscription: Subscription
    ) -> dict[str, str]:
        """Sign; messages of FIFO topics go without, as in AWS."""
        if topic.fifo or (subscription.protocol == "sqs" and not self._sign_for_queues):
            return {}
        version = topic.signature_version
        return {
            "SignatureVersion": version,
            "Signature": self._signer.sign(fields, version),
            "SigningCertURL": subscription.base_url + self._signer.path,
        }

    def confirmation(
        self, kind: str, message: Message, topic: Topic, subscription: Subscription
    ) -> bytes:
        """Return the message that asks a subscriber to confirm, or says that it was taken off."""
        if kind == SUBSCRIBE:
            text = (
                f"You have chosen to subscribe to the topic {topic.arn}.\nTo confirm the "
                "subscription, visit the SubscribeURL included in this message."
            )
        else:
            text = (
                f"You have chosen to deactivate subscription {subscription.arn}.\nTo cancel this "
                "operation and restore the subscription, visit the SubscribeURL included in this "
                "message."
            )
        fields = {
            "Type": kind,
            "MessageId": message_uuid(message.identity),
            "Token": subscription.token,
            "TopicArn": topic.arn,
            "Message": text,
            "SubscribeURL": confirm_url(subscription),
            "Timestamp": timestamp(message.published),
        }
        version = topic.signature_version
        fields |= {
            "SignatureVersion": version,
            "Signature": self._signer.sign(fields, version),
            "SigningCertURL": subscription.base_url + self._signer.path,
        }
        lines = ",\n".join(f'  "{name}" : {_text(value)}' for name, value in fields.items())
        return f"{{\n{lines}\n}}".encode()

    def lambda_event(self, message: Message, topic: Topic, subscription: Subscription) -> bytes:
        """Return the event that a function is invoked with."""
        content = self._content(message, subscription)
        fields = self._fields(message, topic, content)
        signature = self._signature(fields, topic, subscription)
        if "SigningCertURL" in signature:
            signature["SigningCertUrl"] = signature.pop("SigningCertURL")
        record: dict[str, Any] = {
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": subscription.arn,
            "Sns": {
                **fields,
                "Subject": content.subject,
                **signature,
                "UnsubscribeUrl": unsubscribe_url(subscription),
                "MessageAttributes": {
                    name: _attribute_value(each) for name, each in content.attributes.items()
                },
            },
        }
        return _json({"Records": [record]})


def _text(value: str) -> str:
    return _json(value).decode()


def _attribute_value(attribute: Attribute) -> dict[str, str]:
    value = attribute.value
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode("ascii")
    return {"Type": attribute.data_type, "Value": value}


def _attribute(attribute: Attribute) -> str:
    return _json(_attribute_value(attribute)).decode()

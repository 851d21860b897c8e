"""Subscriptions: Subscribe, ConfirmSubscription, Unsubscribe, lists and attributes."""

import re
import secrets
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast, get_args
from urllib.parse import urlsplit

import msgspec
import trio

from hubbub import queue_address, stream_address
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.arns import Arn
from hubbub_aws.protocols import Params
from hubbub_sns.access import demand, principal_arn, refused
from hubbub_sns.archive import Replays, read_replay_policy
from hubbub_sns.deliveries import Deliveries
from hubbub_sns.delivery_policies import effective_subscription_policy, read_subscription_policy
from hubbub_sns.envelopes import SUBSCRIBE, UNSUBSCRIBE
from hubbub_sns.errors import invalid_parameter, not_found, not_null
from hubbub_sns.fanout import Fanout
from hubbub_sns.filters import ATTRIBUTES, BODY, Filters
from hubbub_sns.messages import control_message
from hubbub_sns.mobile import is_sms_endpoint
from hubbub_sns.names import FIFO_SUFFIX, parse_arn, parse_subscription, pattern_of
from hubbub_sns.pages import paginate
from hubbub_sns.policy_syntax import PolicyError, parse_json
from hubbub_sns.records import Protocol, Subscription, Topic
from hubbub_sns.signing import Signer
from hubbub_sns.store import Store
from hubbub_sns.topics import locate

if TYPE_CHECKING:
    from hubbub import Hub

TOKEN_LIFE = 2 * 86_400_000
"""Milliseconds for which a token confirms a subscription."""
_SWEEP = 3600.0
"""Seconds between looks for subscriptions that nobody confirmed."""
_PENDING = "pending confirmation"
_CONFIRMED_BY_HAND = frozenset({"http", "https", "email", "email-json"})
_PROTOCOLS = frozenset(get_args(Protocol))
_TOKEN = re.compile(r"[0-9a-f]{64,512}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_NAMES = frozenset(
    {
        "DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery",
        "RedrivePolicy", "ReplayPolicy", "SubscriptionRoleArn",
    }
)  # fmt: skip
_DEFAULTS = {"FilterPolicyScope": ATTRIBUTES, "RawMessageDelivery": "false"}


class Subscriptions:
    """The actions on subscriptions, and what happens to them in time."""

    def __init__(
        self, hub: "Hub", store: Store, signer: Signer, fanout: Fanout, filters: Filters,
        deliveries: Deliveries, replays: Replays,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._store = store
        self._signer = signer
        self._fanout = fanout
        self._filters = filters
        self._deliveries = deliveries
        self._replays = replays
        self._nursery: trio.Nursery | None = None
        self._lock = trio.Lock()

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "ConfirmSubscription": self.confirm_subscription,
            "GetSubscriptionAttributes": self.get_subscription_attributes,
            "ListSubscriptions": self.list_subscriptions,
            "ListSubscriptionsByTopic": self.list_subscriptions_by_topic,
            "SetSubscriptionAttributes": self.set_subscription_attributes,
            "Subscribe": self.subscribe,
            "Unsubscribe": self.unsubscribe,
        }

    async def serve(self, task_status: trio.TaskStatus[list[Any]]) -> None:
        """Run replays, and drop what nobody confirmed, until the hub stops."""
        try:
            async with trio.open_nursery() as self._nursery:
                for subscription in list(self._store.subscriptions.values()):
                    if subscription.replay is not None:
                        self._nursery.start_soon(self._replays.run, subscription)
                if self._store.subscriptions:
                    self._nursery.start_soon(self._signer.prepare)
                self._nursery.start_soon(self._sweep)
                task_status.started([])
                await self._hub.shutdown.wait()
                self._nursery.cancel_scope.cancel()
        finally:
            self._nursery = None

    async def _sweep(self) -> None:
        while True:
            now = self._hub.clock.now()
            for subscription in list(self._store.subscriptions.values()):
                if not subscription.active and subscription.token_until <= now:
                    await self.remove(subscription)
            await trio.sleep(_SWEEP)

    async def attach_all(self) -> None:
        """Let all subscriptions have messages: at the start."""
        for subscription in self._store.subscriptions.values():
            await self._deliveries.prepare(subscription)
            self._fanout.attach(subscription)

    # subscribing

    async def subscribe(self, context: Context, params: Params) -> Params:
        """Subscribe an endpoint to a topic; one that is there already must be the same."""
        protocol = params.get("Protocol")
        if protocol is None:
            raise not_null("protocol")
        endpoint = params.get("Endpoint")
        arn = parse_arn(params.get("TopicArn"), "TopicArn")
        if protocol not in _PROTOCOLS:
            raise invalid_parameter(f"Amazon SNS does not support this protocol string: {protocol}")
        located = locate(context, self._store, str(arn))
        topic = located.topic
        if not endpoint:
            raise invalid_parameter("Endpoint")
        _check_endpoint(protocol, endpoint)
        if protocol == "application" and self._store.devices.get(endpoint) is None:
            raise invalid_parameter(
                f"Endpoint Reason: Endpoint does not exist for endpoint arn{endpoint}"
            )
        if topic.fifo and protocol != "sqs":
            raise invalid_parameter(f"Invalid protocol type: {protocol}")
        if protocol == "sqs" and endpoint.endswith(FIFO_SUFFIX) and not topic.fifo:
            raise invalid_parameter(
                "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to "
                "standard SNS topics"
            )
        demand(context, located.session, "subscribe", pattern_of(topic.name), topic.arn)
        self._check_target(context, protocol, endpoint, topic)
        given: Mapping[str, str] = params.get("Attributes") or {}
        attributes = self._read_attributes(topic, protocol, endpoint, given)
        async with self._lock:  # two of the same at once are one subscription
            present = self._find(topic, protocol, endpoint)
            if present is None:
                present = await self._make(context, topic, protocol, endpoint, attributes)
            else:
                self._again(present, attributes)
        await located.session.commit().wait()
        return _answer(present, params)

    async def _make(
        self, context: Context, topic: Topic, protocol: str, endpoint: str,
        attributes: dict[str, str],
    ) -> Subscription:  # fmt: skip
        pending = protocol in _CONFIRMED_BY_HAND
        subscription = Subscription(
            arn=f"{topic.arn}:{uuid.uuid4()}", topic=topic.arn, realm=topic.realm,
            account=context.account, protocol=cast("Protocol", protocol), endpoint=endpoint,
            principal=principal_arn(context), base_url=context.url, attributes=attributes,
            pending=pending, authenticated=not pending,
        )  # fmt: skip
        await self._signer.prepare()  # a message may follow in the next turn
        await self._deliveries.prepare(subscription)
        if pending:
            self._ask(subscription, SUBSCRIBE)
        self._store.save_subscription(subscription)
        self._begin(subscription)
        return subscription

    def _begin(self, subscription: Subscription) -> None:
        """Let a subscription have messages, from the archive first if it wants that."""
        if "ReplayPolicy" in subscription.attributes and subscription.active:
            self._start_replay(subscription)
        self._fanout.attach(subscription)
        self._deliveries.start(subscription)

    def _start_replay(self, subscription: Subscription) -> None:
        subscription.replay = 0
        subscription.replay_status = "In progress"
        self._store.save_subscription(subscription)
        if self._nursery is not None:
            self._nursery.start_soon(self._replays.run, subscription)

    def _find(self, topic: Topic, protocol: str, endpoint: str) -> Subscription | None:
        for each in self._store.subscriptions_of(topic.arn).values():
            if (each.protocol, each.endpoint) == (protocol, endpoint) and not each.deleted:
                return each
        return None

    def _again(self, present: Subscription, attributes: Mapping[str, str]) -> None:
        """Check a subscription that is there; one that is pending is asked again."""
        before = {**_DEFAULTS, **present.attributes}
        if any(before.get(name, "") != value for name, value in attributes.items()):
            raise invalid_parameter(
                "Attributes Reason: Subscription already exists with different attributes"
            )
        if present.pending:
            self._ask(present, SUBSCRIBE)
            self._store.save_subscription(present)

    def _ask(self, subscription: Subscription, kind: str) -> None:
        """Send a token to the endpoint."""
        if not subscription.token or subscription.token_until <= self._hub.clock.now():
            subscription.token = secrets.token_hex(128)
            subscription.token_until = self._hub.clock.now() + TOKEN_LIFE
        session = self._store.session(subscription.realm)
        message = control_message(subscription.topic, kind)
        message.id, message.published = session.new_id(), self._hub.clock.now()
        session.enqueue(subscription.queue, [message])

    def _check_target(self, context: Context, protocol: str, endpoint: str, topic: Topic) -> None:
        """Check that the caller may write where its subscription leads. Raises `AwsError`."""
        if protocol not in {"sqs", "firehose"}:
            return
        arn = Arn.parse(endpoint)
        if protocol == "sqs":
            address = str(queue_address(arn.resource))
        else:
            address = str(stream_address(arn.resource.partition("/")[2]))
        session = context.session(arn.account, arn.region)
        demand(context, session, "publish", address, endpoint)

    async def confirm_subscription(self, context: Context, params: Params) -> Params:
        """Confirm a subscription by the token that its endpoint got."""
        token = params.get("Token")
        if token is None:
            raise not_null("token")
        try:
            arn = Arn.parse(params.get("TopicArn") or "")
        except ValueError:
            raise invalid_parameter("Topic") from None
        if arn.region != context.region and context.call.identity.access_key is not None:
            raise invalid_parameter("Topic")
        subscription = self._store.by_token(token)
        if subscription is None or subscription.token_until <= self._hub.clock.now():
            if _TOKEN.fullmatch(token):
                raise invalid_parameter("Token")
            raise AwsError("InvalidParameterException", "Invalid token")
        own = Arn.parse(subscription.topic)
        # AWS takes another topic's name beside a right token.
        if (own.region, own.account) != (arn.region, arn.account):
            raise invalid_parameter("Topic")
        if not subscription.active:
            restored = subscription.deleted
            subscription.pending = subscription.deleted = False
            signed = context.call.identity.access_key is not None
            if signed and (params.get("AuthenticateOnUnsubscribe") or "").lower() == "true":
                subscription.owner_unsubscribes = True
                subscription.authenticated = True
            if restored:
                topic = self._store.topics[subscription.topic]
                topic.deleted_subscriptions -= 1
                self._store.save_topic(topic)
            self._begin(subscription)
            await self._store.save_subscription(subscription).wait()
        return {"SubscriptionArn": subscription.arn}

    async def unsubscribe(self, context: Context, params: Params) -> Params:
        """End a subscription; no error where there is none.

        Who visits the link in a message need not say who it is; the endpoint is told then, and can
        take it back.
        """
        arn = parse_subscription(params.get("SubscriptionArn"))
        subscription = self._store.subscriptions.get(arn)
        if subscription is None or subscription.deleted:
            return {}
        signed = context.call.identity.access_key is not None
        if not signed and subscription.owner_unsubscribes:
            raise refused(context, arn)
        if signed:
            session = context.session()
            topic = self._store.topics[subscription.topic]
            demand(context, session, "subscribe", pattern_of(topic.name), arn)
        if not signed and subscription.protocol in {"http", "https"}:
            await self._deactivate(subscription)
        else:
            await self.remove(subscription)
        await self._store.session(subscription.realm).commit().wait()
        return {}

    async def _deactivate(self, subscription: Subscription) -> None:
        subscription.deleted = True
        subscription.deleted_at = self._hub.clock.now()
        self._count_deleted(subscription)
        self._fanout.detach(subscription)
        subscription.token = ""
        self._ask(subscription, UNSUBSCRIBE)
        self._store.save_subscription(subscription)

    def _count_deleted(self, subscription: Subscription) -> None:
        topic = self._store.topics.get(subscription.topic)
        if topic is not None:
            topic.deleted_subscriptions += 1
            self._store.save_topic(topic)

    async def remove(self, subscription: Subscription) -> None:
        """Forget a subscription and all that waits for it; kept when the session's commit is."""
        if subscription.active:
            self._count_deleted(subscription)
        self._replays.cancel(subscription)
        self._fanout.detach(subscription)
        self._store.drop_subscription(subscription)
        await self._deliveries.stop(subscription)

    # lists

    async def list_subscriptions(self, context: Context, params: Params) -> Params:
        """Return the subscriptions of the caller, in its region."""
        mine = [
            each
            for each in self._store.subscriptions.values()
            if each.account == context.account and Arn.parse(each.arn).region == context.region
        ]
        return _listed(mine, params)

    async def list_subscriptions_by_topic(self, context: Context, params: Params) -> Params:
        """Return the subscriptions of a topic."""
        topic = locate(context, self._store, params.get("TopicArn")).topic
        return _listed(self._store.subscriptions_of(topic.arn).values(), params)

    # attributes

    def _locate(self, context: Context, params: Params) -> Subscription:
        text = params.get("SubscriptionArn")
        if text is None:
            raise not_null("subscriptionArn")
        parse_arn(text, "SubscriptionArn")
        if Arn.parse(parse_subscription(text)).region != context.region:
            raise invalid_parameter("SubscriptionArn")
        subscription = self._store.subscriptions.get(text)
        if subscription is None or subscription.deleted:
            raise not_found("Subscription")
        return subscription

    async def get_subscription_attributes(self, context: Context, params: Params) -> Params:
        """Return the attributes of a subscription, those that AWS fills in included."""
        subscription = self._locate(context, params)
        topic = self._store.topics[subscription.topic]
        attributes = {
            "ConfirmationWasAuthenticated": _bool(subscription.authenticated),
            "Endpoint": subscription.told_endpoint,
            "Owner": subscription.account,
            "PendingConfirmation": _bool(subscription.pending),
            "Protocol": subscription.protocol,
            "RawMessageDelivery": "false",
            "SubscriptionArn": subscription.arn,
            "SubscriptionPrincipal": subscription.principal,
            "TopicArn": subscription.topic,
        }
        own = dict(subscription.attributes)
        if "FilterPolicy" in own:
            own.setdefault("FilterPolicyScope", ATTRIBUTES)
        else:
            own.pop("FilterPolicyScope", None)
        if subscription.protocol in {"http", "https"}:
            attributes["EffectiveDeliveryPolicy"] = _json(
                effective_subscription_policy(
                    topic.attributes.get("DeliveryPolicy", ""), own.get("DeliveryPolicy", "")
                )
            )
        if subscription.replay_status:
            attributes["ReplayStatus"] = subscription.replay_status
        return {"Attributes": attributes | own}

    async def set_subscription_attributes(self, context: Context, params: Params) -> Params:
        """Change an attribute of a subscription."""
        subscription = self._locate(context, params)
        topic = self._store.topics[subscription.topic]
        session = context.session()
        demand(context, session, "subscribe", pattern_of(topic.name), subscription.arn)
        name = params.get("AttributeName")
        if name is None:
            raise not_null("attributeName")
        if name not in _NAMES:
            raise invalid_parameter("AttributeName")
        value = params.get("AttributeValue") or ""
        wanted = {**subscription.attributes, name: value}
        try:
            self._check_attributes(topic, subscription.protocol, subscription.endpoint, wanted)
        except PolicyError as error:
            raise invalid_parameter(str(error)) from None
        if wanted.get(name):
            subscription.attributes = wanted
        else:
            subscription.attributes = {k: v for k, v in wanted.items() if k != name}
        self._store.save_subscription(subscription)
        if name == "ReplayPolicy":
            self._replays.cancel(subscription)
            subscription.replay = None
            subscription.replay_status = ""
            self._begin(subscription)
        else:
            self._fanout.attach(subscription)
        await self._store.session(subscription.realm).commit().wait()
        return {}

    def _read_attributes(
        self, topic: Topic, protocol: str, endpoint: str, given: Mapping[str, str]
    ) -> dict[str, str]:
        """Check the attributes of a new subscription. Raises `AwsError`."""
        for name in given:
            if name not in _NAMES:
                raise invalid_parameter(f"Attributes Reason: Unknown attribute: {name}")
        attributes = dict(given)
        try:
            self._check_attributes(topic, protocol, endpoint, attributes)
        except PolicyError as error:
            raise invalid_parameter(f"Attributes Reason: {error}") from None
        return {name: value for name, value in attributes.items() if value}

    def _check_attributes(
        self, topic: Topic, protocol: str, endpoint: str, attributes: dict[str, str]
    ) -> None:
        """Check attributes, and put them into the form in which they are told.

        Raises:
            PolicyError: the text goes into the error, after the prefix of the request.
        """
        raw = attributes.get("RawMessageDelivery")
        if raw is not None:
            if raw.lower() not in {"true", "false"}:
                raise PolicyError(
                    f"RawMessageDelivery: Invalid value [{raw}]. Must be true or false."
                )
            attributes["RawMessageDelivery"] = raw.lower()
            if raw.lower() == "true" and protocol not in {"sqs", "http", "https", "firehose"}:
                raise PolicyError(
                    f"RawMessageDelivery: Delivery protocol [{protocol}] does not support raw "
                    "message delivery."
                )
        scope = attributes.get("FilterPolicyScope", ATTRIBUTES)
        if scope not in {ATTRIBUTES, BODY}:
            raise PolicyError(
                f"FilterPolicyScope: Invalid value [{scope}]. Please use either MessageBody or "
                "MessageAttributes"
            )
        policy = attributes.get("FilterPolicy")
        if policy:
            self._filters.make(policy, scope)
            if policy.strip() == "{}":
                attributes["FilterPolicy"] = ""
        for name in ("RedrivePolicy", "DeliveryPolicy"):
            if attributes.get(name, "").strip() == "{}":
                attributes[name] = ""  # as with the other policies, an empty one is none
        if attributes.get("RedrivePolicy"):
            _check_redrive(attributes["RedrivePolicy"], topic, endpoint)
        if attributes.get("DeliveryPolicy"):
            if protocol not in {"http", "https"}:
                raise PolicyError(
                    f"DeliveryPolicy: Delivery protocol [{protocol}] does not support delivery "
                    "policies"
                )
            attributes["DeliveryPolicy"] = _json(
                read_subscription_policy(attributes["DeliveryPolicy"])
            )
        if attributes.get("ReplayPolicy"):
            if read_replay_policy(attributes["ReplayPolicy"]) is None:
                attributes["ReplayPolicy"] = ""
            elif not topic.attributes.get("ArchivePolicy"):
                raise PolicyError("ReplayPolicy: the topic has no ArchivePolicy")


def _check_redrive(text: str, topic: Topic, endpoint: str) -> None:
    policy = parse_json("RedrivePolicy", text)
    target = policy.get("deadLetterTargetArn") if isinstance(policy, dict) else None
    if not isinstance(target, str):
        raise PolicyError("RedrivePolicy: deadLetterTargetArn is required")
    try:
        arn = Arn.parse(target)
    except ValueError:
        raise PolicyError("RedrivePolicy: deadLetterTargetArn is an invalid arn") from None
    if arn.service != "sqs":
        raise PolicyError("RedrivePolicy: deadLetterTargetArn is an invalid arn")
    to_fifo = endpoint.endswith(FIFO_SUFFIX)
    if topic.fifo and to_fifo and not arn.resource.endswith(FIFO_SUFFIX):
        raise PolicyError(
            "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
        )
    if not topic.fifo and arn.resource.endswith(FIFO_SUFFIX):
        raise PolicyError(
            "RedrivePolicy: must use a standard queue as DLQ for a subscription to a standard topic"
        )


def _check_endpoint(protocol: str, endpoint: str) -> None:
    """Check that an endpoint is one of its protocol. Raises `AwsError`."""
    match protocol:
        case "sqs" | "lambda" | "firehose" | "application":
            name, service, form = {
                "sqs": ("SQS endpoint", "sqs", r"[^/:]+"),
                "lambda": ("Lambda endpoint", "lambda", r"function:.+"),
                "firehose": ("Firehose endpoint", "firehose", r"deliverystream/.+"),
                "application": ("ApplicationEndpoint", "sns", r"endpoint/.+"),
            }[protocol]
            try:
                arn = Arn.parse(endpoint)
            except ValueError:
                raise invalid_parameter(f"{name} ARN") from None
            if arn.service != service or not re.fullmatch(form, arn.resource):
                raise invalid_parameter(f"{name} ARN")
        case "http" | "https":
            try:
                parts = urlsplit(endpoint)
                valid = parts.scheme == protocol and bool(parts.hostname)
            except ValueError:
                valid = False
            if not valid:
                raise invalid_parameter("Endpoint must match the specified protocol")
        case "sms":
            if not is_sms_endpoint(endpoint):
                raise AwsError("InvalidParameterException", f"Invalid SMS endpoint: {endpoint}")
        case _:
            if not _EMAIL.fullmatch(endpoint):
                raise invalid_parameter("Email address")


def _answer(subscription: Subscription, params: Params) -> Params:
    if subscription.pending and not params.get("ReturnSubscriptionArn"):
        return {"SubscriptionArn": _PENDING}
    return {"SubscriptionArn": subscription.arn}


def _listed(subscriptions: Iterable[Subscription], params: Params) -> Params:
    found = {each.arn: each for each in subscriptions}
    page, token = paginate(list(found), params.get("NextToken"))
    result: Params = {"Subscriptions": [_entry(found[arn]) for arn in page]}
    if token is not None:
        result["NextToken"] = token
    return result


def _entry(subscription: Subscription) -> Params:
    arn = subscription.arn
    if subscription.deleted:
        arn = "Deleted"
    elif subscription.pending:
        arn = "PendingConfirmation"
    return {
        "SubscriptionArn": arn,
        "Owner": subscription.account,
        "Protocol": subscription.protocol,
        "Endpoint": subscription.told_endpoint,
        "TopicArn": subscription.topic,
    }


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

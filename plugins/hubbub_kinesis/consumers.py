"""Registered consumers (enhanced fan-out)."""

from collections.abc import Callable, Mapping

from hubbub_aws import Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import in_use, invalid_argument, limit_exceeded
from hubbub_kinesis.feeding import QueueState
from hubbub_kinesis.locating import Located, Locator, check_created, no_such_consumer
from hubbub_kinesis.pages import named_page
from hubbub_kinesis.readers import ReaderBook
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.state import Book, Consumer
from hubbub_kinesis.tags import check_tags

_PAGE = 100


class Consumers:
    """The actions on consumers. `leaves` is told the stream and name of each that goes."""

    def __init__(
        self,
        now: Callable[[], int],
        settings: KinesisSettings,
        book: Book,
        queues: ReaderBook[QueueState],
        locator: Locator,
        leaves: Callable[[int, str], None],
    ) -> None:
        self._now = now
        self._settings = settings
        self._book = book
        self._queues = queues
        self._locate = locator
        self._leaves = leaves

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "DeregisterStreamConsumer": self.deregister_stream_consumer,
            "DescribeStreamConsumer": self.describe_stream_consumer,
            "ListStreamConsumers": self.list_stream_consumers,
            "RegisterStreamConsumer": self.register_stream_consumer,
        }

    async def register_stream_consumer(self, context: Context, params: Params) -> Params:
        """Register a consumer of a stream."""
        stream = self._locate.active(context, params)
        name: str = params["ConsumerName"]
        consumers = self._locate.consumers(stream)
        if name in consumers:
            raise in_use(
                f"Consumer {name} under stream {stream.name} already exists for account "
                f"{stream.account}."
            )
        realm = stream.session.realm
        limit = self._locate.consumer_limit(realm)
        queues = len(self._queues.of_stream(realm, stream.info.number))
        if len(consumers) + queues >= limit:
            raise limit_exceeded(
                f"Stream {stream.name} under account {stream.account} has "
                f"{len(consumers) + queues} registered consumers. Limit: {limit}."
            )
        tags: dict[str, str] = dict(params.get("Tags") or {})
        check_tags(stream.name, stream.account, {}, tags)
        now, delay = self._now(), self._settings.create_delay
        consumer = Consumer(name, now, tags=tags)
        if delay:
            consumer.active_at = now + round(delay * 1000)
        consumers[name] = consumer
        await self._keep(stream)
        return {"Consumer": self._describe(stream, consumer)}

    async def deregister_stream_consumer(self, context: Context, params: Params) -> Params:
        """Remove a consumer; its subscriptions end."""
        stream, consumer = self._find(context, params)
        delay = self._settings.delete_delay
        if delay:
            consumer.gone_at = self._now() + round(delay * 1000)
        else:
            del stream.state.consumers[consumer.name]
        self._leaves(stream.info.number, consumer.name)
        await self._keep(stream)
        return {}

    async def describe_stream_consumer(self, context: Context, params: Params) -> Params:
        """Describe a consumer."""
        stream, consumer = self._find(context, params)
        description = self._describe(stream, consumer)
        description["StreamARN"] = stream.arn
        return {"ConsumerDescription": description}

    async def list_stream_consumers(self, context: Context, params: Params) -> Params:
        """List the consumers of a stream, in order of name, in pages."""
        stream = self._locate.stream(context, params)
        check_created(stream, params)
        consumers = sorted(self._locate.consumers(stream).values(), key=lambda each: each.name)
        limit = params.get("MaxResults", _PAGE)
        listed = f"consumers {stream.name} {stream.account}"
        found, more = named_page(consumers, limit, listed, params, self._now())
        return {"Consumers": [self._describe(stream, each) for each in found], **more}

    def _find(self, context: Context, params: Params) -> tuple[Located, Consumer]:
        arn, name = params.get("ConsumerARN"), params.get("ConsumerName")
        if arn is not None:
            return self._locate.consumer(context, arn)
        if name is None or params.get("StreamARN") is None:
            raise invalid_argument(
                "Either ConsumerARN or both of StreamARN and ConsumerName should be provided."
            )
        stream = self._locate.stream(context, {"StreamARN": params["StreamARN"]})
        consumer = self._locate.consumers(stream).get(name)
        if consumer is None:
            raise no_such_consumer(stream, name)
        return stream, consumer

    def _describe(self, stream: Located, consumer: Consumer) -> Params:
        return {
            "ConsumerName": consumer.name,
            "ConsumerARN": stream.consumer_arn(consumer),
            "ConsumerStatus": str(consumer.status(self._now())),
            "ConsumerCreationTimestamp": consumer.created // 1000,
        }

    async def _keep(self, stream: Located) -> None:
        await self._book.keep(stream.session, stream.name, stream.state).wait()

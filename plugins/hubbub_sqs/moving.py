"""StartMessageMoveTask, CancelMessageMoveTask, ListMessageMoveTasks.

A task moves the messages of a dead-letter queue to one queue, or each back to where it came from.
Tasks are kept as documents: one that was running when the hub stopped goes on when it starts. A
message leaves its source after it is kept at its destination, so a crash can double a few and lose
none.
"""

import contextlib
import uuid
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import trio

from hubbub import (
    Endpoint,
    HubbubError,
    Message,
    NotFoundError,
    Outcome,
    Principal,
    Receipt,
    Server,
    Session,
    UnavailableError,
    queue_address,
)
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_sqs.errors import (
    invalid_parameter,
    invalid_value,
    missing_parameter,
    no_such_resource,
)
from hubbub_sqs.queues import Located, demand, locate_arn

if TYPE_CHECKING:
    from hubbub import Hub

NAMESPACE = "sqs.move-task"
PROTOCOL = "sqs-move"
MAX_RATE = 500
MAX_LISTED = 10
"""Tasks of one source that are remembered and listed."""

_BATCH = 100
"""Messages moved in one go where no rate is set."""
_STEPS_PER_SECOND = 10
_LEASE = 60_000
_RETRY = 1.0
"""Seconds until a task tries again while the store takes nothing."""


class Status(StrEnum):
    """What a task is doing."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class Task(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One task, as it is kept. `source` and `destination` are names of queues."""

    id: str
    realm: str
    source: str
    source_arn: str
    destination: str | None = None
    destination_arn: str | None = None
    rate: int | None = None
    to_move: int = 0
    moved: int = 0
    started: int = 0
    status: Status = Status.RUNNING
    failure: str | None = None

    @property
    def handle(self) -> str:
        """What names it to clients."""
        content = {"taskId": self.id, "sourceArn": self.source_arn}
        return b64encode(msgspec.json.encode(content)).decode("ascii")

    @property
    def active(self) -> bool:
        """Whether it still moves messages."""
        return self.status in {Status.RUNNING, Status.CANCELLING}

    def as_result(self) -> Params:
        """Return it as ListMessageMoveTasks answers it."""
        result: Params = {
            "Status": str(self.status),
            "SourceArn": self.source_arn,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "StartedTimestamp": self.started,
        }
        if self.status is Status.RUNNING:
            result["TaskHandle"] = self.handle
        if self.destination_arn is not None:
            result["DestinationArn"] = self.destination_arn
        if self.rate is not None:
            result["MaxNumberOfMessagesPerSecond"] = self.rate
        if self.failure is not None:
            result["FailureReason"] = self.failure
        return result


class _MoveError(Exception):
    """A task can't go on; its text is the failure reason."""


class Moving:
    """The move tasks of one hub."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._principal = Principal("sqs", realms=("*",))
        self._tasks: dict[str, Task] = {}
        self._cancelled: dict[str, trio.Event] = {}
        self._nursery: trio.Nursery | None = None

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "CancelMessageMoveTask": self.cancel_message_move_task,
            "ListMessageMoveTasks": self.list_message_move_tasks,
            "StartMessageMoveTask": self.start_message_move_task,
        }

    def server(self) -> Server:
        """Return the service that runs the tasks."""
        return Server("sqs-move-tasks", self._serve)

    async def _serve(self, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        with self._session("default") as session:
            async for document in session.documents(NAMESPACE):
                task = msgspec.json.decode(document.value, type=Task)
                self._tasks[task.id] = task
        try:
            async with trio.open_nursery() as self._nursery:
                for task in self._tasks.values():
                    if task.active:
                        self._begin(self._nursery, task)
                task_status.started([])
                await self._hub.shutdown.wait()
                self._nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            self._tasks.clear()
            self._cancelled.clear()

    def _session(self, realm: str) -> Session:
        return self._hub.session(
            self._principal, protocol=PROTOCOL, client="sqs/move-task", realm=realm
        )

    # actions

    async def start_message_move_task(self, context: Context, params: Params) -> Params:
        """Begin to move the messages of a dead-letter queue."""
        source = self._locate(context, params, "SourceArn", "consume")
        if not any(info.settings.dead_letter == source.address for info in source.session.queues()):
            raise invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
        destination = None
        if params.get("DestinationArn"):
            destination = self._locate(context, params, "DestinationArn", "publish")
            _check_destination(source, destination)
        rate = params.get("MaxNumberOfMessagesPerSecond")
        if rate is not None and not 1 <= rate <= MAX_RATE:
            raise invalid_value(
                rate, "MaxNumberOfMessagesPerSecond", f"Must be between 1 and {MAX_RATE}."
            )
        if self._nursery is None:
            raise AwsError("ServiceUnavailable", "Message move tasks are not running now.")
        if any(task.active for task in self._of(source)):
            raise invalid_parameter(
                "There is already a task running. Only one active task is allowed for a source "
                "queue arn at a given time."
            )
        task = Task(
            id=str(uuid.uuid4()),
            realm=source.session.realm,
            source=source.name,
            source_arn=params["SourceArn"],
            destination=None if destination is None else destination.name,
            destination_arn=params.get("DestinationArn") or None,
            rate=rate,
            to_move=source.info.counts().visible,
            started=self._hub.clock.now(),
        )
        self._tasks[task.id] = task
        self._forget_old(source)
        self._begin(self._nursery, task)
        with self._session(task.realm) as session:
            await _keep(session, task)
        return {"TaskHandle": task.handle}

    async def cancel_message_move_task(self, context: Context, params: Params) -> Params:
        """Stop a task; what it has moved stays moved."""
        handle = params.get("TaskHandle")
        if not handle:
            raise missing_parameter("TaskHandle")
        id_, source_arn = _read_handle(handle)
        source = self._locate(context, {"SourceArn": source_arn}, "SourceArn", "consume")
        task = self._tasks.get(id_)
        if task is None or task not in self._of(source):
            raise AwsError("ResourceNotFoundException", "Task does not exist.")
        if not task.active:
            raise AwsError("UnsupportedOperation", "Only an active task can be cancelled.")
        task.status = Status.CANCELLING
        self._cancelled[task.id].set()
        with self._session(task.realm) as session:
            await _keep(session, task)
        return {"ApproximateNumberOfMessagesMoved": task.moved}

    async def list_message_move_tasks(self, context: Context, params: Params) -> Params:
        """Return the latest tasks of a source, the newest first."""
        source = self._locate(context, params, "SourceArn", "consume")
        limit = params.get("MaxResults", 1)
        if not 1 <= limit <= MAX_LISTED:
            raise invalid_value(limit, "MaxResults", f"Must be between 1 and {MAX_LISTED}.")
        return {"Results": [task.as_result() for task in self._of(source)[:limit]]}

    def _locate(
        self, context: Context, params: Mapping[str, str], name: str, action: str
    ) -> Located:
        """Find the queue that a parameter names, which the caller must be allowed to use."""
        arn = params.get(name)
        if not arn:
            raise missing_parameter(name)
        try:
            found = locate_arn(context, arn)
        except ValueError:
            raise invalid_parameter(
                f"You must use this format to specify the {name}: "
                "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
            ) from None
        if found is None:
            raise no_such_resource(name)
        demand(found.session, found.address, action)
        return found

    def _of(self, source: Located) -> Sequence[Task]:
        """The tasks of a source, the newest first."""
        return [
            task
            for task in reversed(self._tasks.values())
            if (task.realm, task.source) == (source.session.realm, source.name)
        ]

    def _forget_old(self, source: Located) -> None:
        for task in self._of(source)[MAX_LISTED:]:
            del self._tasks[task.id]
            source.session.drop_document(NAMESPACE, task.id)

    # moving

    def _begin(self, nursery: trio.Nursery, task: Task) -> None:
        cancelled = self._cancelled[task.id] = trio.Event()
        if task.status is Status.CANCELLING:
            cancelled.set()
        nursery.start_soon(self._run, task, cancelled)

    async def _run(self, task: Task, cancelled: trio.Event) -> None:
        with self._session(task.realm) as session:
            try:
                await self._move_all(session, task, cancelled)
            except _MoveError as error:
                task.status, task.failure = Status.FAILED, str(error)
            except NotFoundError:
                task.status, task.failure = Status.FAILED, _GONE
            except HubbubError as error:
                self._hub.log.warning("move task failed", source=task.source, reason=str(error))
                task.status, task.failure = Status.FAILED, "InternalError"
            else:
                done = not cancelled.is_set()
                task.status = Status.COMPLETED if done else Status.CANCELLED
            self._cancelled.pop(task.id, None)
            await _keep(session, task)

    async def _move_all(self, session: Session, task: Task, cancelled: trio.Event) -> None:
        step, pause = _BATCH, 0.0
        if task.rate is not None:
            step = max(1, task.rate // _STEPS_PER_SECOND)
            pause = step / task.rate
        due = trio.current_time()
        while not cancelled.is_set():
            try:
                moved = await self._move_some(session, task, step)
            except UnavailableError:
                with trio.move_on_after(_RETRY):
                    await cancelled.wait()
                continue
            if not moved:
                return
            task.moved += moved
            await _keep(session, task)
            due = max(due + pause, trio.current_time() - pause)
            with trio.move_on_at(due):
                await cancelled.wait()
            await trio.lowlevel.checkpoint()

    async def _move_some(self, session: Session, task: Task, limit: int) -> int:
        """Move up to so many messages; return how many, 0 at the end of the queue."""
        deliveries = await session.receive(task.source, limit, lease=_LEASE)
        if not deliveries:
            return 0
        moved: list[Receipt] = []
        try:
            copies = [_copy(each.message, task, session) for each in deliveries]
            publication = session.publish(copies)
            await publication.commit.wait()
            moved = [
                each.receipt
                for index, each in enumerate(deliveries)
                if index not in publication.refused
            ]
            if publication.refused:
                raise _refusal(publication.refused.values())
        finally:
            rest = [each.receipt for each in deliveries if each.receipt not in moved]
            with trio.CancelScope(shield=True):
                if moved:
                    settlement = await session.settle(moved)
                    await settlement.commit.wait()
                if rest:
                    with contextlib.suppress(HubbubError):
                        await session.settle(rest, Outcome.RELEASE)
        return len(moved)


_GONE = "AWS.SimpleQueueService.NonExistentQueue"


def _refusal(errors: Iterable[HubbubError]) -> _MoveError:
    error = next(iter(errors))
    return _MoveError(_GONE if isinstance(error, NotFoundError) else str(error))


def _copy(message: Message, task: Task, session: Session) -> Message:
    """Make the message that goes to the destination: a new one, as AWS has it."""
    name = task.destination
    if name is None:
        if not message.deaths:
            raise _MoveError("CouldNotDetermineMessageSource")
        name = message.deaths[0].queue
    info = session.find_queue(name)
    if info is None:
        raise _MoveError(_GONE)
    # Within five minutes the old id would make it a duplicate of itself.
    dedup_id = str(uuid.uuid4()) if info.settings.fifo else None
    return msgspec.structs.replace(
        message, address=str(queue_address(name)), scope=None, origin_id=None, deaths=(),
        prior_receives=0, delay=None, dedup_id=dedup_id, hops=0, retain=False,
    )  # fmt: skip


def _check_destination(source: Located, destination: Located) -> None:
    if source.info.number == destination.info.number:
        raise invalid_parameter("Source and destination queues can't be the same.")
    if source.session.realm != destination.session.realm:
        raise invalid_parameter("Source and destination queues must be of the same account.")
    if source.settings.fifo != destination.settings.fifo:
        raise invalid_parameter("Source and destination queues must be of the same type.")


async def _keep(session: Session, task: Task) -> None:
    with contextlib.suppress(UnavailableError):  # the store reports it; the task goes on
        await session.put_document(NAMESPACE, task.id, msgspec.json.encode(task)).wait()


def _read_handle(handle: str) -> tuple[str, str]:
    try:
        content = msgspec.json.decode(b64decode(handle, validate=True), type=dict[str, str])
        return content["taskId"], content["sourceArn"]
    except (Base64Error, ValueError, KeyError, msgspec.MsgspecError):
        raise invalid_parameter("Value for parameter TaskHandle is invalid.") from None

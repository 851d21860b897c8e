"""The core's own sections of hubbub.toml."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
)

from hubbub.address import check_pattern
from hubbub.auth import ACTIONS, EVERYTHING, check_password_hash
from hubbub.engine.contract import DEFAULT_REALM, QueueSettings
from hubbub.scram import check_verifier
from hubbub.server import ListenerSettings

from .templates import TemplateText
from .values import AddressText, Duration, PatternText, Size, Unit, listed


class Section(BaseModel):
    """Base of all tables of hubbub.toml, those of plugins too: unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True
    )


class HubSettings(Section):
    """The hub itself, and where it keeps its data."""

    data: Path = Field(
        default=Path("hubbub-data"), description="Folder for everything that is kept."
    )
    engine: str = Field(
        default="embedded", description="What keeps queues, streams and subscriptions."
    )
    durability: Literal["full", "os", "memory"] = Field(
        default="full",
        description='When something counts as kept: "full": written and synced to the disk; "os": '
        'handed to the operating system, lost if the machine fails; "memory": nothing is '
        "written at all.",
    )
    memory_limit: Size = Field(
        default=512_000_000,
        ge=1_000_000,
        description="Memory for messages that wait; what is beyond is kept on the disk alone, but "
        "for about 270 bytes that a queue knows of each.",
    )
    max_retained: int = Field(
        default=100_000,
        ge=0,
        description="Topics that may have a retained message. Messages for more are refused; one "
        "that has one may always have another that is not larger.",
    )
    max_retained_bytes: Size = Field(
        default=256_000_000, ge=0, description="Memory for retained messages; likewise."
    )
    stop_deadline: Duration = Field(
        default=10.0, description="Time to finish what is in hand when stopping."
    )


class LogSettings(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important events that are logged."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description='"auto" is "console" on a terminal and "json" elsewhere.'
    )


class AdminListenerSettings(ListenerSettings):
    """Where the admin listener listens."""

    bind: list[str] = Field(
        default=["127.0.0.1:8079"],
        description='Addresses to listen on, such as "127.0.0.1:8079". Port 0 takes a free one.',
    )


class AdminSettings(Section):
    """The admin listener: console, metrics, health. Whoever reaches it may use it."""

    enabled: bool = Field(default=True, description="Whether there is one.")
    listener: AdminListenerSettings = Field(
        default_factory=AdminListenerSettings, description="Where it listens."
    )
    metrics_queues: int = Field(
        default=1_000,
        ge=0,
        description="Queues with metrics of their own, by name; the rest is counted together.",
    )


PermissionActions: TypeAlias = Annotated[
    list[Literal["publish", "subscribe", "consume", "configure", "*"]],
    BeforeValidator(listed),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*ACTIONS, EVERYTHING]},
                {"type": "array", "items": {"enum": [*ACTIONS, EVERYTHING]}},
            ]
        }
    ),
]


def _resource(text: str) -> str:
    if text != EVERYTHING:
        check_pattern(text.replace("{user}", "user"))
    return text


Resources: TypeAlias = Annotated[
    list[Annotated[str, AfterValidator(_resource)]],
    BeforeValidator(listed),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class PermissionSettings(Section):
    """One rule: actions on resources, allowed or denied. Denying wins over allowing."""

    action: PermissionActions = Field(
        default=["*"],
        description='One or more of "publish", "subscribe", "consume", "configure"; "*": all.',
    )
    resource: Resources = Field(
        default=["*"],
        description='One or more address patterns: "sensors/#", "$queue/orders", "$stream/#"; "*": '
        'everything. "{user}" is the name of the user.',
    )
    effect: Literal["allow", "deny"] = Field(
        default="allow", description="Whether this is allowed or denied."
    )


Realms: TypeAlias = Annotated[list[str], BeforeValidator(listed)]


class AuthSettings(Section):
    """How clients prove who they are. Users are in `[[users]]`."""

    anonymous: Literal["loopback", "always", "never"] = Field(
        default="loopback",
        description='Who needs no credentials: "loopback": clients on this machine. Behind a proxy '
        'on this machine everybody seems to be one: use "never" there.',
    )
    anonymous_permissions: list[PermissionSettings] = Field(
        default=[PermissionSettings()], description="What clients without credentials may do."
    )
    anonymous_realms: Realms = Field(default=["*"], description='Realms they may enter; "*": all.')
    timeout: Duration = Field(
        default=10.0, gt=0, description="Time in which credentials must be verified."
    )
    verifiers: int = Field(
        default=2, ge=1, le=64, description="Passwords that are verified at once."
    )
    max_waiting: int = Field(
        default=1_000, ge=1, description="Passwords that wait for it; more are refused."
    )
    cache_ttl: Duration = Field(
        default=60.0, description="How long a verified password is not verified again."
    )
    cache_entries: int = Field(
        default=10_000, ge=1, description="Verified passwords that are remembered."
    )
    decision_ttl: Duration = Field(
        default=60.0, gt=0, description="How long the answers of authorisers are remembered."
    )
    decision_entries: int = Field(
        default=20_000, ge=1, description="Answers of authorisers that are remembered."
    )


class PluginSettings(Section):
    """Which plugins are used."""

    enable: list[str] | None = Field(
        default=None, description="Plugins to use; default: all that are installed."
    )
    disable: list[str] = Field(default=[], description="Plugins not to use.")
    start_failure: Literal["exit", "retry"] = Field(
        default="exit",
        description="When a server can't start, because its port is taken say: end with an "
        "error, or go on with the others and try again.",
    )


class EndpointSettings(Section):
    """How messages are delivered to URLs, each subscription or route by itself."""

    batch: Annotated[int, Unit("messages")] = Field(
        default=10, ge=1, le=1_000, description="The most messages that are handed over at once."
    )
    concurrency: int = Field(
        default=4, ge=1, le=1_000, description="Batches that are under way to one URL at once."
    )
    timeout: Duration = Field(
        default=30.0, gt=0, description="Time in which a batch must have been taken."
    )
    first_pause: Duration = Field(
        default=1.0,
        gt=0,
        description="Pause before what was not taken is tried again; doubled each time.",
    )
    longest_pause: Duration = Field(default=300.0, gt=0, description="The longest such pause.")
    max_tries: int | None = Field(
        default=50, ge=1, description="Tries after which a message is given up."
    )
    max_age: Duration | None = Field(
        default=86_400.0, gt=0, description="Age at which a message is given up."
    )
    max_messages: Annotated[int, Unit("messages")] = Field(
        default=100_000,
        ge=1,
        description="Messages that wait for one URL; above, the oldest are given up.",
    )
    max_bytes: Size = Field(
        default=256 * 2**20, ge=1024, description="Bytes of them; the same holds above."
    )
    dead_letter: AddressText | None = Field(
        default=None,
        description="Address for messages that are given up; default: dropped and counted.",
    )


class RoleSettings(Section):
    """A set of permissions for several users."""

    name: str = Field(min_length=1, description="Its name.")
    permissions: list[PermissionSettings] = Field(default=[], description="What it allows.")


class AccessKeySettings(Section):
    """An AWS access key of a user."""

    id: str = Field(min_length=1, max_length=128, description="The access key id.")
    secret: SecretStr = Field(min_length=1, description="The secret access key.")


class UserSettings(Section):
    """A user. One without permissions and roles may do everything in its realms."""

    name: str = Field(min_length=1, max_length=1024, description="The user name.")
    password_hash: Annotated[str, AfterValidator(check_password_hash)] | None = Field(
        default=None, description="Argon2 hash of the password, from `hubbub hash-password`."
    )
    password: SecretStr | None = Field(
        default=None, description="The password itself; better keep its hash."
    )
    scram_sha_256: Annotated[str, AfterValidator(check_verifier)] | None = Field(
        default=None,
        description="What SCRAM-SHA-256 verifies the password with, from `hubbub hash-password "
        "--scram`, written as PostgreSQL does. It serves for logins that send the password, too.",
    )
    tokens: list[SecretStr] = Field(default=[], description="Bearer tokens.")
    access_keys: list[AccessKeySettings] = Field(default=[], description="AWS access keys.")
    certificates: list[str] = Field(
        default=[], description="Common or alternative names of client certificates."
    )
    realms: Realms = Field(
        default=[DEFAULT_REALM], description='Realms the user may enter; "*": all.'
    )
    roles: list[str] = Field(default=[], description="Roles whose permissions it has.")
    permissions: list[PermissionSettings] = Field(default=[], description="What it may do.")


class TransformSettings(Section):
    """One transform of a route."""

    use: str = Field(description="Name of the transform; plugins bring them.")
    options: dict[str, Any] = Field(default={}, description="Options of the transform.")


class MapSettings(Section):
    """What a route sets in the messages it passes on, from templates such as "{topic[1]}"."""

    key: TemplateText | None = Field(
        default=None, description="Partition key or message group; a template."
    )
    content_type: TemplateText | None = Field(default=None, description="A template.")
    headers: dict[str, TemplateText] = Field(
        default={},
        description="Headers to set, each a template. One that lacks a field is left out.",
    )


class RouteSettings(Section):
    """A route: messages published to matching topics go to other addresses too."""

    name: str = Field(min_length=1, description="Its name, and the id of its subscriptions.")
    realm: str = Field(default=DEFAULT_REALM, min_length=1, description="Where it applies.")
    source: PatternText = Field(alias="from", description='Pattern of topics: "alarms/#".')
    to: Annotated[list[str], BeforeValidator(listed), Field(min_length=1)] = Field(
        description='Addresses: topics, "$queue/NAME", "$stream/NAME"; or URLs that a plugin '
        "delivers to."
    )
    filter: dict[str, Any] | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="Which messages: a kind of filter and its specification, such as { policy = "
        '{ level = ["high"] } }; default: all.',
    )
    transform: list[TransformSettings] = Field(
        default=[], description="Transforms, applied in order."
    )
    map: MapSettings = Field(default_factory=MapSettings, description="What to set.")


class QueueSection(Section):
    """A queue that is there from the start. What is not set has the queue's own default."""

    name: str = Field(min_length=1, description="Its name.")
    realm: str = Field(default=DEFAULT_REALM, min_length=1, description="Where it is.")
    durable: bool = Field(default=True, description="Kept over a restart, with its messages.")
    expires: Duration | None = Field(default=None, description="Idle time after which it goes.")
    lease: Duration = Field(default=30.0, description="How long a receiver has a message.")
    delay: Duration = Field(default=0.0, description="Time a new message is hidden first.")
    retention: Duration | None = Field(default=None, description="Age at which messages go.")
    message_ttl: Duration | None = Field(
        default=None, description="Age at which messages expire and are dead-lettered."
    )
    max_length: Annotated[int, Unit("messages")] | None = Field(
        default=None, ge=0, description="The most messages that wait."
    )
    max_bytes: Size | None = Field(default=None, description="The most bytes that wait.")
    overflow: Literal["drop-head", "reject", "reject-dead-letter"] = Field(
        default="drop-head", description="What gives when it is full."
    )
    max_message_bytes: Size | None = Field(default=None, description="The largest message.")
    max_in_flight: Annotated[int, Unit("messages")] | None = Field(
        default=None, ge=1, description="The most messages leased at once."
    )
    max_receives: int | None = Field(
        default=None, ge=1, description="Receives after which a message is dead-lettered."
    )
    gives_up_early: bool = Field(
        default=False,
        description="Whether that happens when the last of these receives ends, in place of when "
        "one more is tried.",
    )
    dead_letter: AddressText | None = Field(
        default=None, description="Address for messages that are given up."
    )
    dead_letter_rests: bool = Field(
        default=False,
        description="While the queue at `dead_letter` is missing, `max_receives` rests, and no "
        "message is lost.",
    )
    priorities: int = Field(default=0, ge=0, le=255, description="The highest priority.")
    fifo: bool = Field(default=False, description="Order per group.")
    fair: bool = Field(
        default=False, description="A group with many messages in flight waits for the others."
    )
    content_dedup: bool = Field(
        default=False, description="Deduplicate by content where there is no id."
    )
    dedup_scope: Literal["queue", "group"] = Field(
        default="queue", description="Where ids are unique."
    )
    dedup_window: Duration = Field(default=300.0, description="How long ids are remembered.")
    single_active: bool = Field(default=False, description="One consumer at a time.")
    labels: dict[str, str] = Field(default={}, description="What protocols keep with it.")

    def settings(self) -> QueueSettings:
        """Return the settings as engines take them, in milliseconds."""
        values: dict[str, Any] = {}
        for name in QueueSettings.__struct_fields__:
            if name in type(self).model_fields:
                value = getattr(self, name)
                values[name] = round(value * 1000) if isinstance(value, float) else value
        return QueueSettings(**values)


class StreamSection(Section):
    """A stream that is there from the start."""

    name: str = Field(min_length=1, description="Its name.")
    realm: str = Field(default=DEFAULT_REALM, min_length=1, description="Where it is.")
    shards: int = Field(default=1, ge=1, le=1_000, description="Open shards to begin with.")
    retention: Duration | None = Field(
        default=86_400.0, description="How long records stay readable."
    )
    max_bytes: Size | None = Field(
        default=None, description="Size above which the oldest records go."
    )

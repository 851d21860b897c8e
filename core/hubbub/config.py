"""hubbub.toml: its keys, and how it is read, checked and overridden from the environment.

Everything has a default. Each key `key` of a table `[section]` can be set by the environment
variable `HUBBUB_SECTION__KEY` too, which wins over the file: its value is taken as text where the
key holds text, and read as TOML elsewhere.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
)

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo

from .address import (
    Address,
    AddressError,
    Kind,
    check_pattern,
    parse_address,
    queue_address,
    stream_address,
)
from .auth import ACTIONS, EVERYTHING, ResourcePattern, check_password_hash
from .engine.contract import DEFAULT_REALM, QueueSettings
from .errors import HubbubError
from .filters import FilterError, compile_filter
from .hookspecs import Hooks
from .message import HeaderValue, Message
from .plugins import PluginManager, State, installed_plugins, suggest
from .server import ListenerSettings
from .server import parse_address as parse_listener_address

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ENVIRONMENT_PREFIX: Final = "HUBBUB_"
_MAX_FILE_BYTES = 4 * 1024 * 1024
_MAX_TEMPLATE = 4096

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
Path_: TypeAlias = tuple[str | int, ...]
"""A place in a document: keys, and indexes in arrays."""


# Types of values


class Unit(str):
    """The unit of a field, for the reference: `Annotated[int, Unit("messages")]`."""

    __slots__ = ()


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]i?B|B)", re.ASCII)
_BYTES = {"B": 1} | {
    prefix + unit: base**power
    for power, prefixes in enumerate(("kK", "M", "G", "T"), start=1)
    for prefix in prefixes
    for unit, base in (("B", 1000), ("iB", 1024))
}


def parse_duration(value: object) -> object:
    """Turn "500ms", "10s", "5m", "1.5h" or "7d" into seconds; anything else stays as it is.

    Raises:
        ValueError: a text is none of these.
    """
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError('should be seconds, or text such as "500ms", "10s", "5m", "1h" or "7d"')
    return round(float(match[1]) * _SECONDS[match[2]], 6)


def parse_size(value: object) -> object:
    """Turn "64KiB", "512MB" or "1.5GiB" into bytes; anything else stays as it is.

    Raises:
        ValueError: a text is none of these.
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError('should be bytes, or text such as "64KiB", "512MB" or "2GiB"')
    return int(float(match[1]) * _BYTES[match[2]])


def _schema(kind: str, pattern: re.Pattern[str]) -> WithJsonSchema:
    text = {"type": "string", "pattern": f"^{pattern.pattern}$"}
    return WithJsonSchema({"anyOf": [{"type": kind, "minimum": 0}, text]})


Duration: TypeAlias = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False),
    BeforeValidator(parse_duration),
    Unit("seconds"),
    _schema("number", _DURATION),
]
"""Seconds; written as a number of seconds, or as text with a unit."""

Size: TypeAlias = Annotated[
    int, Field(ge=0), BeforeValidator(parse_size), Unit("bytes"), _schema("integer", _SIZE)
]
"""Bytes; written as a number of bytes, or as text with a unit."""


def _address(text: str) -> str:
    parse_address(text)
    return text


def _pattern(text: str) -> str:
    check_pattern(text)
    return text


AddressText: TypeAlias = Annotated[str, AfterValidator(_address)]
"""An address such as "alarms/fire", "$queue/orders" or "$stream/telemetry"."""

PatternText: TypeAlias = Annotated[str, AfterValidator(_pattern)]
"""A pattern of topics such as "alarms/#"."""


def _listener_address(text: str) -> str:
    parse_listener_address(text)
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Template:
    r"""Text with fields of a message in it, such as `{topic[1]}-{header.device|unknown}`.

    | field | becomes |
    |---|---|
    | `{topic}` | the address the message was published to |
    | `{topic[0]}`, `{topic[-1]}` | one level of it, counted from 0, or from the end |
    | `{header.NAME}` | a header, as text |
    | `{id}`, `{type}`, `{message_id}`, `{correlation_id}`, `{group}` | a field of the message |
    | `{app_id}`, `{user_id}`, `{content_type}`, `{timestamp}` | likewise |
    | `{protocol}`, `{client}` | how, and by whom, it was published |
    | `{FIELD\|TEXT}` | the field, or TEXT if the message has none |
    | `{{`, `}}` | a brace |

    What lacks a field without such a TEXT is not set at all.

    Raises:
        ValueError: the text is no template; says why.
    """

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_TEMPLATE:
            raise ValueError(f"a template has at most {_MAX_TEMPLATE} characters")
        self.text = text
        self._parts: list[str | tuple[Callable[[Message], str | None], str | None]] = []
        end = 0
        for match in _TEMPLATE_PART.finditer(text):
            self._literal(text[end : match.start()])
            end = match.end()
            if match[0] in {"{{", "}}"}:
                self._literal(match[0][0])
            elif match[1] is None:
                raise ValueError(f"a single {match[0]!r}; write {match[0] * 2!r} for the character")
            else:
                name, bar, default = match[1].partition("|")
                self._parts.append((_template_field(name), default if bar else None))
        self._literal(text[end:])

    def _literal(self, text: str) -> None:
        if text:
            self._parts.append(text)

    def render(self, message: Message) -> str | None:
        """Fill in the fields; None if the message lacks one that has no default."""
        result: list[str] = []
        for part in self._parts:
            if isinstance(part, str):
                result.append(part)
                continue
            get, default = part
            value = get(message)
            if value is None:
                value = default
            if value is None:
                return None
            result.append(value)
        return "".join(result)


_TEMPLATE_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_TEMPLATE_LEVEL = re.compile(r"topic\[(-?\d{1,4})\]")
_TEMPLATE_FIELDS = (
    "id", "content_type", "correlation_id", "type", "message_id", "app_id", "user_id", "group",
    "timestamp", "protocol", "client",
)  # fmt: skip


def _template_field(name: str) -> Callable[[Message], str | None]:
    if name == "topic":
        return lambda message: message.address
    if match := _TEMPLATE_LEVEL.fullmatch(name):
        index = int(match[1])

        def level(message: Message) -> str | None:
            levels = message.address.split("/")
            return levels[index] if -len(levels) <= index < len(levels) else None

        return level
    if name.startswith("header.") and len(name) > len("header."):
        header = name.removeprefix("header.")
        return lambda message: _as_text(message.headers.get(header))
    if name in _TEMPLATE_FIELDS:
        return lambda message: _as_text(getattr(message, name))
    known = ("topic", "topic[0]", "header.NAME", *_TEMPLATE_FIELDS)
    raise ValueError(f"no field {{{name}}}{suggest(name, known)} (there are {', '.join(known)})")


def _as_text(value: HeaderValue) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


def _template(text: str) -> str:
    Template(text)
    return text


TemplateText: TypeAlias = Annotated[str, AfterValidator(_template)]
"""The text of a `Template`."""


# Sections


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
        description="Memory for bodies of waiting messages; more are kept on the disk alone.",
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

    bind: list[Annotated[str, AfterValidator(_listener_address)]] = Field(
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
    BeforeValidator(_listed),
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
    BeforeValidator(_listed),
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


Realms: TypeAlias = Annotated[list[str], BeforeValidator(_listed)]


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
    to: Annotated[list[AddressText], BeforeValidator(_listed), Field(min_length=1)] = Field(
        description='Addresses: topics, "$queue/NAME", "$stream/NAME".'
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
    dead_letter: AddressText | None = Field(
        default=None, description="Address for messages that are given up."
    )
    priorities: int = Field(default=0, ge=0, le=255, description="The highest priority.")
    fifo: bool = Field(default=False, description="Order per group, and deduplication.")
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


_TABLES: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "hub": HubSettings,
        "log": LogSettings,
        "admin": AdminSettings,
        "auth": AuthSettings,
        "plugins": PluginSettings,
    }
)
_ARRAYS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "users": UserSettings,
        "role": RoleSettings,
        "route": RouteSettings,
        "queue": QueueSection,
        "stream": StreamSection,
    }
)


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """A table of hubbub.toml: `[name]`, or `[[name]]` if there may be `many`.

    `plugin` is its owner, empty for the core's own.
    """

    name: str
    model: type[BaseModel]
    many: bool = False
    plugin: str = ""


def sections(manager: PluginManager) -> list[SectionSpec]:
    """Return all sections: the core's own, then the plugins', in order of plugin."""
    owned = manager.sections()
    return [
        *_core_sections(),
        *(SectionSpec(each.name, each.model, plugin=owner) for owner, each in owned),
    ]


def _core_sections() -> list[SectionSpec]:
    return [
        *(SectionSpec(name, model) for name, model in _TABLES.items()),
        *(SectionSpec(name, model, many=True) for name, model in _ARRAYS.items()),
    ]


def json_schema(manager: PluginManager) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of hubbub.toml."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for spec in sections(manager):
        schema = spec.model.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= schema.pop("$defs", {})
        properties[spec.name] = {"type": "array", "items": schema} if spec.many else schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hubbub.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


# Reading


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the configuration.

    `source` is a file, or what else it came from; `key` the place in dotted form, such as
    "route[0].to"; `line` and `column` count from 1.
    """

    source: str
    key: str
    text: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part)
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class ConfigError(HubbubError):
    """The configuration can't be used; `problems` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, checked. `Config()` is that of an empty file."""

    hub: HubSettings = field(default_factory=HubSettings)
    log: LogSettings = field(default_factory=LogSettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    plugins: PluginSettings = field(default_factory=PluginSettings)
    users: tuple[UserSettings, ...] = ()
    roles: tuple[RoleSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    queues: tuple[QueueSection, ...] = ()
    streams: tuple[StreamSection, ...] = ()
    plugin_sections: tuple[BaseModel, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def section(self, model: type[M]) -> M:
        """Return a plugin's own section; its defaults where it is not configured.

        Raises:
            pydantic.ValidationError: it is not configured, and has keys without default.
        """
        for section in self.plugin_sections:
            if type(section) is model:
                return section
        return model()


def load_config(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    manager: Callable[[PluginSettings], PluginManager] | None = None,
) -> Config:
    """Read the configuration.

    Args:
        path: the file; None for none.
        environment: variables; those that start with HUBBUB_ and contain "__" override the file.
        settings: what overrides both, by section and key (options of the command line, tests).
        manager: makes the plugin manager that knows the plugins' sections.

    Raises:
        ConfigError: anything is wrong; it names every problem, not only the first.
    """
    reader = _Reader(path, environment or {}, settings or {})
    # A file that can't be parsed says nothing about what else may be wrong.
    config = Config() if reader.problems else reader.read(manager or _installed)
    if reader.problems:
        raise ConfigError(reader.problems)
    return config


def _installed(settings: PluginSettings) -> PluginManager:
    known = {entry.name for entry in installed_plugins()}
    enable = settings.enable
    return PluginManager(
        enable=None if enable is None else [name for name in enable if name in known],
        disable=[name for name in settings.disable if name in known],
    )


class _Reader:
    """Reads one configuration, and collects all problems."""

    def __init__(
        self,
        path: Path | None,
        environment: Mapping[str, str],
        settings: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._file = str(path) if path else "configuration"
        self._environment = environment
        self._settings = settings
        self._positions = Positions("")
        self._origins: dict[Path_, str] = {}
        self._document: dict[str, Any] = {}
        if path is not None:
            self._read_file(path)

    def read(self, make_manager: Callable[[PluginSettings], PluginManager]) -> Config:
        core = {spec.name: spec for spec in _core_sections()}
        self._override(core)
        manager = make_manager(self._chosen_plugins())
        specs = {spec.name: spec for spec in sections(manager)}
        self._override({name: spec for name, spec in specs.items() if name not in core})
        self._check_sections_exist(specs, manager)
        found = {name: self._check_section(spec) for name, spec in specs.items()}
        self._check_plugin_names(manager)
        self._check_users(found["users"], found["role"])
        self._check_routes(found["route"])
        self._check_plugged(manager)
        self._check_queues(found["queue"], found["stream"])
        self.problems.sort(key=lambda each: (each.line is None, each.line or 0, each.column or 0))
        tables: dict[str, Any] = {
            name: found[name].get((name,)) or model() for name, model in _TABLES.items()
        }
        return Config(
            **tables,
            users=tuple(found["users"].values()),
            roles=tuple(found["role"].values()),
            routes=tuple(found["route"].values()),
            queues=tuple(found["queue"].values()),
            streams=tuple(found["stream"].values()),
            plugin_sections=tuple(
                section
                for name, spec in specs.items()
                if spec.plugin
                for section in found[name].values()
            ),
            warnings=tuple(self._warnings),
        )

    # problems

    def _problem(self, path: Path_, text: str, *, at_key: bool = False) -> None:
        self.problems.append(self._locate(path, text, at_key=at_key))

    def _locate(self, path: Path_, text: str, *, at_key: bool = False) -> Problem:
        for end in range(len(path), 0, -1):
            origin = self._origins.get(path[:end])
            if origin is not None:
                return Problem(origin, _dotted(path), text)
        line, column = self._positions.find(path, at_key=at_key) or (None, None)
        return Problem(self._file, _dotted(path), text, line, column)

    # where it comes from

    def _read_file(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            self.problems.append(Problem(self._file, "", error.strerror or str(error)))
            return
        if len(data) > _MAX_FILE_BYTES:
            self.problems.append(Problem(self._file, "", f"larger than {_MAX_FILE_BYTES} bytes"))
            return
        try:
            text = data.decode().replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - data.rfind(b"\n", 0, error.start)
            self.problems.append(Problem(self._file, "", "not UTF-8", line, column))
            return
        try:
            self._document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(_syntax_problem(self._file, text, error))
            return
        self._positions = Positions(text)

    def _override(self, specs: Mapping[str, SectionSpec]) -> None:
        """Put what comes from the environment and from `settings` into the document."""
        for variable, text in sorted(self._environment.items()):
            section, *keys = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            if not variable.startswith(ENVIRONMENT_PREFIX) or not keys:
                continue
            spec = specs.get(section)
            if spec is not None:
                self._override_from(variable, text, spec, keys)
        for section, values in self._settings.items():
            if section in specs:
                for key, value in values.items():
                    self._put((section, key), value, f"option {key}")

    def _override_from(
        self, variable: str, text: str, spec: SectionSpec, keys: Sequence[str]
    ) -> None:
        origin = f"environment variable {variable}"
        path = (spec.name, *keys)
        if spec.many:
            text = f"[[{spec.name}]] can't be set from the environment"
            self.problems.append(Problem(origin, _dotted(path), text))
            return
        annotation: Any = spec.model
        metadata: Sequence[Any] = ()
        for key in keys:
            fields = _fields(annotation)
            if key in fields:
                annotation, metadata = fields[key].annotation, fields[key].metadata
            elif _is_mapping(annotation):
                annotation, metadata = get_args(annotation)[1], ()
            else:
                hint = suggest(key, fields)
                self.problems.append(Problem(origin, _dotted(path), f"unknown key{hint}"))
                return
        self._put(path, _value_of(text, annotation, metadata), origin)

    def _put(self, path: Path_, value: object, origin: str) -> None:
        table: Any = self._document
        for key in path[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                return  # what stands there is wrong, and is reported as such
        table[path[-1]] = value
        self._origins[path] = origin

    def _chosen_plugins(self) -> PluginSettings:
        """Return the choice of plugins; what is wrong with it is reported later, with the rest."""
        try:
            return PluginSettings.model_validate(self._document.get("plugins", {}))
        except ValidationError:
            return PluginSettings()

    # sections

    def _check_sections_exist(
        self, specs: Mapping[str, SectionSpec], manager: PluginManager
    ) -> None:
        states = {plugin.name: plugin for plugin in manager}
        for name in self._document:
            if name in specs:
                continue
            plugin = states.get(name)
            if plugin is None:
                self._problem((name,), f"unknown section{suggest(name, specs)}", at_key=True)
            elif plugin.state is State.FAILED:
                self._problem((name,), f"its plugin failed: {plugin.error}", at_key=True)
            elif plugin.state is not State.DISABLED:
                self._problem((name,), "its plugin has no such section", at_key=True)
        for variable in self._environment:
            section, mark, _ = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
            if not variable.startswith(ENVIRONMENT_PREFIX) or not mark or section in specs:
                continue
            if section not in states:
                origin = f"environment variable {variable}"
                hint = suggest(section, specs)
                self.problems.append(Problem(origin, "", f"unknown section {section!r}{hint}"))

    def _check_section(self, spec: SectionSpec) -> dict[Path_, Any]:
        """Return the valid tables of a section, by their places."""
        name = spec.name
        if not spec.many:
            value = self._document.get(name, {})
            if isinstance(value, dict):
                return self._check_table(spec.model, (name,), value)
            self._problem((name,), f"should be a table; write [{name}]", at_key=True)
            return {}
        items = self._document.get(name, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            self._problem((name,), f"should be an array of tables; write [[{name}]]", at_key=True)
            return {}
        found: dict[Path_, Any] = {}
        for index, item in enumerate(items):
            found |= self._check_table(spec.model, (name, index), item)
        return found

    def _check_table(
        self, model: type[BaseModel], path: Path_, value: dict[str, Any]
    ) -> dict[Path_, Any]:
        try:
            return {path: model.model_validate(value)}
        except ValidationError as error:
            texts: dict[tuple[Path_, bool], list[str]] = {}
            for each in error.errors(include_url=False, include_context=True):
                place, text, at_key = _explain(model, value, each)
                texts.setdefault((path + place, at_key), []).append(text)
            for (place, at_key), alternatives in texts.items():
                self._problem(place, " or ".join(dict.fromkeys(alternatives)), at_key=at_key)
            return {}

    # what a single section can't tell

    def _check_plugin_names(self, manager: PluginManager) -> None:
        known = {plugin.name for plugin in manager}
        chosen = self._chosen_plugins()
        for key, names in (("enable", chosen.enable or []), ("disable", chosen.disable)):
            for index, name in enumerate(names):
                if name not in known:
                    text = f"no plugin {name!r} is installed{suggest(name, known)}"
                    self._problem(("plugins", key, index), text)

    def _check_unique(self, what: str, things: Iterable[tuple[Path_, object]]) -> None:
        seen: dict[object, Path_] = {}
        for path, thing in things:
            first = seen.setdefault(thing, path)
            if first is not path:
                self._problem(path, f"this {what} is in {_dotted(first[:2])} already")

    def _check_users(self, users: "_Tables", roles: "_Tables") -> None:
        self._check_unique("name", (((*path, "name"), user.name) for path, user in users.items()))
        self._check_unique("name", (((*path, "name"), role.name) for path, role in roles.items()))
        for key in ("tokens", "certificates", "access_keys"):
            proofs = [
                ((*path, key, index), proof.id if isinstance(proof, AccessKeySettings) else proof)
                for path, user in users.items()
                for index, proof in enumerate(getattr(user, key))
            ]
            self._check_unique("one", proofs)
        known = [role.name for role in roles.values()]
        for path, user in users.items():
            for index, role in enumerate(user.roles):
                if role not in known:
                    text = f"there is no [[role]] {role!r}{suggest(role, known)}"
                    self._problem((*path, "roles", index), text)
            if user.password is not None:
                if user.password_hash is not None:
                    self._problem((*path, "password"), "there is a password_hash already")
                text = "a password in plain text; `hubbub hash-password` makes a password_hash"
                self._warnings.append(self._locate((*path, "password"), text))
            elif not (user.password_hash or user.tokens or user.access_keys or user.certificates):
                text = "nobody can log in as this user: it has no password_hash or other proof"
                self._warnings.append(self._locate((*path, "name"), text))

    def _check_routes(self, routes: "_Tables") -> None:
        names = (((*path, "name"), (route.realm, route.name)) for path, route in routes.items())
        self._check_unique("name", names)
        for path, route in routes.items():
            if route.source.startswith(("$queue/", "$stream/")):
                text = "a route begins at topics; a queue or stream has consumers instead"
                self._problem((*path, "from"), text)
        self._check_loops({path: route for path, route in routes.items() if route.filter is None})

    def _check_plugged(self, manager: PluginManager) -> None:
        """Check what plugins add to routes, of routes with other problems too."""
        kinds: dict[str, Callable[[Any], object]] = {
            "policy": compile_filter,
            **manager.collect(Hooks.hubbub_filters),
        }
        transforms = manager.collect(Hooks.hubbub_transforms)
        for index, filters in self._raw("route", "filter", dict):
            for kind, specification in filters.items():
                place = ("route", index, "filter", kind)
                if kind not in kinds:
                    text = f"no plugin knows this kind of filter{suggest(kind, kinds)}"
                    self._problem(place, text, at_key=True)
                    continue
                try:
                    kinds[kind](specification)
                except FilterError as error:
                    self._problem((*place, *error.path), error.reason)
                except Exception as error:
                    self._problem(place, str(error) or type(error).__name__)
        for index, used in self._raw("route", "transform", list):
            for number, transform in enumerate(used):
                name = transform.get("use") if isinstance(transform, dict) else None
                if isinstance(name, str) and name not in transforms:
                    text = f"no plugin has this transform{suggest(name, transforms)}"
                    self._problem(("route", index, "transform", number, "use"), text)

    def _raw(self, section: str, key: str, kind: type[T]) -> Iterator[tuple[int, T]]:
        """Find a key's values in an array of tables, as they are in the document."""
        tables = self._document.get(section)
        for index, table in enumerate(tables if isinstance(tables, list) else ()):
            value = table.get(key) if isinstance(table, dict) else None
            if isinstance(value, kind):
                yield index, value

    def _check_loops(self, routes: "_Tables") -> None:
        """Find routes that lead back to themselves, be it over others; a filter may end a loop."""
        leads_to: dict[Path_, list[tuple[int, Path_]]] = {
            path: [
                (index, other_path)
                for index, address in enumerate(route.to)
                for other_path, other in routes.items()
                if other.realm == route.realm and ResourcePattern(other.source).covers(address)
            ]
            for path, route in routes.items()
        }
        for path in routes:
            for index, start in leads_to[path]:
                reached, waiting = {start}, [start]
                while waiting:
                    for _, each in leads_to[waiting.pop()]:
                        if each not in reached:
                            reached.add(each)
                            waiting.append(each)
                if path in reached:
                    text = "messages would go round for ever: this leads back to the same route"
                    self._problem((*path, "to", index), text)

    def _check_queues(self, queues: "_Tables", streams: "_Tables") -> None:
        for tables, make_address in ((queues, queue_address), (streams, stream_address)):
            names = (((*path, "name"), (each.realm, each.name)) for path, each in tables.items())
            self._check_unique("name", names)
            for path, each in tables.items():
                try:
                    make_address(each.name)
                except AddressError as error:
                    self._problem((*path, "name"), str(error))
        for path, queue in queues.items():
            if queue.dead_letter is None:
                continue
            if parse_address(queue.dead_letter) == Address(Kind.QUEUE, queue.name):
                self._problem((*path, "dead_letter"), "a queue can't be its own dead-letter queue")


_Tables: TypeAlias = Mapping[Path_, Any]


def _dotted(path: Path_) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if re.fullmatch(r"[\w-]+", part) else f'"{part}"'
            text += f".{shown}" if text else shown
    return text


def _syntax_problem(file: str, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    message = str(error)
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place:
        return Problem(file, "", message[: place.start()], int(place[1]), int(place[2]))
    lines = text.splitlines() or [""]
    message = message.removesuffix(" (at end of document)")
    return Problem(file, "", message, len(lines), len(lines[-1]) + 1)


def _value_of(text: str, annotation: object, metadata: Sequence[Any]) -> object:
    """Read the value of an environment variable: text for a key that takes it, else TOML."""
    form: Any = Annotated[(annotation, *metadata)] if metadata else annotation
    adapter: TypeAdapter[Any] = TypeAdapter(form)
    candidates: list[object] = [text]
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    else:
        # Where both would do, a list or table was not meant as text.
        candidates.insert(0 if isinstance(value, list | dict) else 1, value)
    for candidate in candidates:
        try:
            adapter.validate_python(candidate)
        except ValidationError:
            continue
        return candidate
    return candidates[0]


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Find the models in a type such as `list[Model] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _fields(annotation: object) -> dict[str, FieldInfo]:
    """Return the fields of the models in a type, by the names they have in a file."""
    return {
        info.alias or name: info
        for model in _models(annotation)
        for name, info in model.model_fields.items()
    }


def _is_mapping(annotation: object) -> bool:
    return get_origin(annotation) is dict


def _explain(
    model: type[BaseModel], value: object, error: "ErrorDetails"
) -> tuple[Path_, str, bool]:
    """Return where in `value` an error is, what to say of it, and if it is about a key."""
    annotation: object = model
    place: Path_ = ()
    missing = error["type"] == "missing"
    for part in error["loc"]:
        # What is not in the value (names of union members, of validators) is not shown.
        if not _is_in(part, value):
            break
        value = cast("Any", value)[part]
        fields = _fields(annotation)
        place = (*place, part)
        if error["type"] == "extra_forbidden" and place == error["loc"]:
            return place, f"unknown key{suggest(str(part), fields)}", True
        if isinstance(part, str) and part in fields:
            annotation = fields[part].annotation
    if missing:
        return place, f"missing key {str(error['loc'][-1])!r}", True
    text = error["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    if error["type"] == "literal_error" and isinstance(value, str):
        text += suggest(value, re.findall(r"'([^']*)'", text))
    return place, text, False


def _is_in(part: str | int, value: object) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


# Places in a TOML document


class Positions:
    """Where keys and values stand in a TOML document that tomllib has accepted.

    Only finds places, so it need not check anything: the document is known to be right.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._keys: dict[Path_, int] = {}
        self._values: dict[Path_, int] = {}
        self._arrays: dict[Path_, int] = {}
        """The index of the last table of each array of tables."""
        self._scan()

    def find(self, path: Path_, *, at_key: bool = False) -> tuple[int, int] | None:
        """Return line and column, from 1, of a value (or its key), or of what it is in."""
        for end in range(len(path), 0, -1):
            first, second = (self._keys, self._values)
            if not at_key or end < len(path):
                first, second = (self._values, self._keys)
            offset = first.get(path[:end], second.get(path[:end]))
            if offset is not None:
                line_start = self._text.rfind("\n", 0, offset) + 1
                return self._text.count("\n", 0, offset) + 1, offset - line_start + 1
        return None

    def paths(self) -> set[Path_]:
        """Return all places that are known."""
        return self._keys.keys() | self._values.keys()

    def _scan(self) -> None:
        table: Path_ = ()
        while self._skip_blank():
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._header(many=True)
                self._at += 2
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._header(many=False)
                self._at += 1
            else:
                self._pair(table)

    def _skip_blank(self) -> bool:
        """Go to the next thing that is not space, newline or comment; False at the end."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at < len(self._text)

    def _header(self, *, many: bool) -> Path_:
        table: Path_ = ()
        keys = self._key()
        for number, (key, offset) in enumerate(keys, start=1):
            table = (*table, key)
            self._keys.setdefault(table, offset)
            if many and number == len(keys):
                self._arrays[table] = self._arrays.get(table, -1) + 1
            if table in self._arrays:
                table = (*table, self._arrays[table])
                self._keys.setdefault(table, offset)
        return table

    def _key(self) -> list[tuple[str, int]]:
        """Read a key, dotted or not: its parts and where they are."""
        parts: list[tuple[str, int]] = []
        while True:
            self._skip_blank()
            start = self._at
            if self._text[start] in "\"'":
                self._string()
                quoted = self._text[start : self._at]
                parts.append((tomllib.loads(f"key = {quoted}")["key"], start))
            else:
                match = _BARE_KEY.match(self._text, start)
                assert match is not None
                self._at = match.end()
                parts.append((match[0], start))
            self._skip_blank()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _pair(self, table: Path_) -> None:
        for key, offset in self._key():
            table = (*table, key)
            self._keys.setdefault(table, offset)
        self._at += 1  # the "="
        self._value(table)

    def _value(self, path: Path_) -> None:
        self._skip_blank()
        self._values[path] = self._at
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._items("]", path, array=True)
        elif first == "{":
            self._items("}", path, array=False)
        else:
            match = _SCALAR.match(self._text, self._at)
            assert match is not None
            self._at = match.end()

    def _items(self, end: str, path: Path_, *, array: bool) -> None:
        self._at += 1
        index = 0
        while self._skip_blank() and self._text[self._at] != end:
            if array:
                self._value((*path, index))
                index += 1
            else:
                self._pair(path)
            self._skip_blank()
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _string(self) -> None:
        match = _STRING.match(self._text, self._at)
        assert match is not None
        self._at = match.end()


_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)

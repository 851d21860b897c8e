"""The `[[route]]` entries of the configuration: subscriptions that change what they pass on."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from .bus import Batch, Bus, FilterSpec
from .config import RouteSettings, Template
from .engine.contract import Enqueued
from .errors import RefusedError
from .hookspecs import Transform
from .message import Message


class Route:
    """One route to one of its targets, to which `deliver` delivers.

    `transforms` are the plugins', by name. `failed` is told when one raises; its message is
    dropped from the route and counted.
    """

    def __init__(
        self,
        bus: Bus,
        settings: RouteSettings,
        target: str,
        deliver: Callable[[Batch], Enqueued | None],
        transforms: Mapping[str, Transform],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._bus = bus
        self._name = settings.name
        self._target = target
        self._pass_on = deliver
        for each in settings.transform:
            if each.use not in transforms:
                raise RefusedError(f"route {self._name!r}: no plugin has a transform {each.use!r}")
        self._transforms = [
            (each.use, transforms[each.use], each.options) for each in settings.transform
        ]
        self._failed = failed
        self._key = _template(settings.map.key)
        self._content_type = _template(settings.map.content_type)
        self._headers = {name: Template(text) for name, text in settings.map.headers.items()}
        self._changes = bool(self._transforms or self._key or self._content_type or self._headers)

    def deliver(self, batch: Batch) -> Enqueued | None:
        """Pass a batch on; what the target refuses is refused to the publisher."""
        if not self._changes:
            return self._pass_on(batch)
        made: list[Message] = []
        indexes: list[int] = []
        for index, message in enumerate(batch.messages):
            changed = self._change(message)
            if changed is not None:
                made.append(changed)
                indexes.append(index)
        if not made:
            return None
        result = self._pass_on(Batch(made))
        if result is None or not result.refused:
            return result
        refused = {indexes[index]: reason for index, reason in result.refused.items()}
        return Enqueued(result.commit, refused, {})

    def _change(self, message: Message) -> Message | None:
        changed: Message | None = message
        for name, transform, options in self._transforms:
            try:
                changed = transform(changed, options) if changed is not None else None
            except Exception as error:
                self._failed(name, error)
                self._bus.lost("transform failed", 1, self._target)
                return None
        if changed is None:
            return None
        fields: dict[str, object] = {"id": self._bus.engine.next_id()}
        if self._key and (key := self._key.render(message)) is not None:
            fields["group"] = key
        if self._content_type and (kind := self._content_type.render(message)) is not None:
            fields["content_type"] = kind
        if self._headers:
            filled = {name: each.render(message) for name, each in self._headers.items()}
            fields["headers"] = changed.headers | {
                name: value for name, value in filled.items() if value is not None
            }
        # The properties in the bytes of the first protocol would hide what was changed.
        return msgspec.structs.replace(changed, wire=None, **fields)


def add_routes(
    bus: Bus,
    routes: Sequence[RouteSettings],
    transforms: Mapping[str, Transform],
    failed: Callable[[str, Exception], None],
) -> None:
    """Subscribe every route to its pattern, once per target."""
    for settings in routes:
        kind_and_spec = next(iter((settings.filter or {}).items()), None)
        for number, target in enumerate(settings.to):
            id_ = f"route/{settings.name}/{number}"
            if bus.endpoints.has(target):
                deliver = bus.delivery_to_url(settings.realm, id_, target, durable=True)
            else:
                deliver = bus.delivery_to(settings.realm, target)
            bus.subscribe(
                settings.realm,
                settings.source,
                Route(bus, settings, target, deliver, transforms, failed).deliver,
                filter=None if kind_and_spec is None else FilterSpec(*kind_and_spec),
                id=id_,
            )


def _template(text: str | None) -> Template | None:
    return None if text is None else Template(text)

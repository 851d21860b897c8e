"""Checks of what no single section can tell: names, users, routes, queues.

Each takes the document, to which it tells problems, and valid tables by their places.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias

from hubbub.address import (
    Address,
    AddressError,
    Kind,
    parse_address,
    queue_address,
    scheme_of,
    stream_address,
)
from hubbub.auth import ResourcePattern
from hubbub.filters import FilterError, compile_filter
from hubbub.hookspecs import Hooks
from hubbub.plugins import PluginManager, suggest

from .document import Document
from .positions import Place
from .problems import dotted
from .sections import (
    AccessKeySettings,
    PluginSettings,
    QueueSection,
    RoleSettings,
    RouteSettings,
    StreamSection,
    UserSettings,
)

Users: TypeAlias = Mapping[Place, UserSettings]
Roles: TypeAlias = Mapping[Place, RoleSettings]
Routes: TypeAlias = Mapping[Place, RouteSettings]
Queues: TypeAlias = Mapping[Place, QueueSection]
Streams: TypeAlias = Mapping[Place, StreamSection]


def check_plugin_names(document: Document, chosen: PluginSettings, manager: PluginManager) -> None:
    """Every plugin that is named exists."""
    known = {plugin.name for plugin in manager}
    for key, names in (("enable", chosen.enable or []), ("disable", chosen.disable)):
        for index, name in enumerate(names):
            if name not in known:
                text = f"no plugin {name!r} is installed{suggest(name, known)}"
                document.problem(("plugins", key, index), text)


def check_users(document: Document, users: Users, roles: Roles) -> None:
    """Names and proofs belong to one user each, and the roles of users exist."""
    _check_names(document, {place: user.name for place, user in users.items()})
    _check_names(document, {place: role.name for place, role in roles.items()})
    for key in ("tokens", "certificates", "access_keys"):
        proofs = [
            ((*place, key, index), proof.id if isinstance(proof, AccessKeySettings) else proof)
            for place, user in users.items()
            for index, proof in enumerate(getattr(user, key))
        ]
        _check_unique(document, "one", proofs)
    known = [role.name for role in roles.values()]
    for place, user in users.items():
        for index, role in enumerate(user.roles):
            if role not in known:
                text = f"there is no [[role]] {role!r}{suggest(role, known)}"
                document.problem((*place, "roles", index), text)
        if user.password is not None:
            for other in ("password_hash", "scram_sha_256"):
                if getattr(user, other) is not None:
                    document.problem((*place, "password"), f"there is a {other} already")
            text = "a password in plain text; `hubbub hash-password` makes a password_hash"
            document.warn((*place, "password"), text)
        elif not (
            user.password_hash
            or user.scram_sha_256
            or user.tokens
            or user.access_keys
            or user.certificates
        ):
            text = "nobody can log in as this user: it has no password_hash or other proof"
            document.warn((*place, "name"), text)


def check_routes(document: Document, routes: Routes, manager: PluginManager) -> None:
    """Routes begin at topics, and none leads back to itself."""
    schemes = manager.collect(Hooks.hubbub_endpoints).keys()
    _check_names(document, {place: (route.realm, route.name) for place, route in routes.items()})
    for place, route in routes.items():
        if route.source.startswith(("$queue/", "$stream/")):
            text = "a route begins at topics; a queue or stream has consumers instead"
            document.problem((*place, "from"), text)
    unfiltered = {place: route for place, route in routes.items() if route.filter is None}
    _check_loops(document, unfiltered, schemes)


def _check_loops(document: Document, routes: Routes, schemes: Collection[str]) -> None:
    """Find routes that lead back to themselves, be it over others; a filter may end a loop."""
    leads_to: dict[Place, list[tuple[int, Place]]] = {
        place: [
            (index, other_place)
            for index, address in enumerate(route.to)
            for other_place, other in routes.items()
            if other.realm == route.realm
            and scheme_of(address, schemes) is None
            and ResourcePattern(other.source).covers(address)
        ]
        for place, route in routes.items()
    }
    for place in routes:
        for index, start in leads_to[place]:
            reached, waiting = {start}, [start]
            while waiting:
                for _, each in leads_to[waiting.pop()]:
                    if each not in reached:
                        reached.add(each)
                        waiting.append(each)
            if place in reached:
                text = "messages would go round for ever: this leads back to the same route"
                document.problem((*place, "to", index), text)


def check_plugged(document: Document, manager: PluginManager) -> None:
    """Check what plugins add to routes, of routes with other problems too."""
    kinds: dict[str, Callable[[Any], object]] = {
        "policy": compile_filter,
        **manager.collect(Hooks.hubbub_filters),
    }
    schemes = manager.collect(Hooks.hubbub_endpoints).keys()
    transforms = manager.collect(Hooks.hubbub_transforms)
    for index, target in document.raw("route", "to", str):
        _check_target(document, ("route", index, "to"), target, schemes)
    for index, targets in document.raw("route", "to", list):
        for number, target in enumerate(targets):
            if isinstance(target, str):
                _check_target(document, ("route", index, "to", number), target, schemes)
    for index, filters in document.raw("route", "filter", dict):
        for kind, specification in filters.items():
            place = ("route", index, "filter", kind)
            if kind not in kinds:
                text = f"no plugin knows this kind of filter{suggest(kind, kinds)}"
                document.problem(place, text, at_key=True)
                continue
            try:
                kinds[kind](specification)
            except FilterError as error:
                document.problem((*place, *error.path), error.reason)
            except Exception as error:
                document.problem(place, str(error) or type(error).__name__)
    for index, used in document.raw("route", "transform", list):
        for number, transform in enumerate(used):
            name = transform.get("use") if isinstance(transform, dict) else None
            if isinstance(name, str) and name not in transforms:
                text = f"no plugin has this transform{suggest(name, transforms)}"
                document.problem(("route", index, "transform", number, "use"), text)


def _check_target(document: Document, place: Place, target: str, schemes: Collection[str]) -> None:
    """A route leads to an address, or to a URL that a plugin delivers to."""
    scheme = scheme_of(target, schemes)
    if scheme is None:
        try:
            parse_address(target)
        except AddressError as error:
            document.problem(place, str(error))
    elif scheme not in schemes:
        text = f"no plugin delivers to {scheme}: URLs{suggest(scheme, schemes)}"
        document.problem(place, text)


def check_queues(document: Document, queues: Queues, streams: Streams) -> None:
    """Names can be spelled in an address, and belong to one queue or stream each."""
    _check_names(document, {place: (each.realm, each.name) for place, each in queues.items()})
    _check_names(document, {place: (each.realm, each.name) for place, each in streams.items()})
    spelled = [(place, queue.name, queue_address) for place, queue in queues.items()]
    spelled += [(place, stream.name, stream_address) for place, stream in streams.items()]
    for place, name, make_address in spelled:
        try:
            make_address(name)
        except AddressError as error:
            document.problem((*place, "name"), str(error))
    for place, queue in queues.items():
        if queue.dead_letter is None:
            continue
        if parse_address(queue.dead_letter) == Address(Kind.QUEUE, queue.name):
            text = "a queue can't be its own dead-letter queue"
            document.problem((*place, "dead_letter"), text)


def _check_names(document: Document, names: Mapping[Place, object]) -> None:
    _check_unique(document, "name", (((*place, "name"), name) for place, name in names.items()))


def _check_unique(document: Document, what: str, things: Iterable[tuple[Place, object]]) -> None:
    seen: dict[object, Place] = {}
    for place, thing in things:
        first = seen.setdefault(thing, place)
        if first is not place:
            document.problem(place, f"this {what} is in {dotted(first[:2])} already")

"""AWS Query (Smithy ``awsQuery``): a form in, XML out."""

import base64
import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from hubbub_aws.errors import AwsError, WireError, malformed
from hubbub_aws.models import Operation
from hubbub_aws.protocols.base import Codec, Parse, Result, Serialize, as_params
from hubbub_aws.protocols.json import parse_blob
from hubbub_aws.protocols.tree import INTEGER_BOUNDS, Convert, type_error
from hubbub_aws.shapes import CompiledStructures, Shape
from hubbub_aws.timestamps import format_iso_8601, format_rfc_822, parse_timestamp

Form = dict[str, Any]
"""A form whose keys are split at their dots: ``A.1.B=x`` is ``{"A": {"1": {"B": "x"}}}``."""

Node = str | Form

MAX_FIELDS = 10_000
MAX_KEY_DEPTH = 32
_OWN_VALUE = ""  # where a key has both a value and keys below it
_SURROGATE = re.compile("[\ud800-\udfff]")  # a byte that did not decode
_INDEX = re.compile(r"[0-9]{1,6}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_DOUBLE = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?([eE][+-]?[0-9]{1,4})?|NaN|Infinity)")


def parse_form(text: str) -> Form:
    """Read a form body, a query string, or both joined by ``&``. Of equal keys the first counts.

    Raises `AwsError` for text that is not UTF-8, and beyond `MAX_FIELDS` or `MAX_KEY_DEPTH`.
    """
    if text.count("&") >= MAX_FIELDS:
        raise malformed(f"The form has more than {MAX_FIELDS} fields")
    if not text.isascii() and _SURROGATE.search(text):
        raise malformed("The form is not UTF-8")
    form: Form = {}
    for field in text.split("&"):
        if not field:
            continue
        name, _, encoded = field.partition("=")
        key, value = _decoded(name), _decoded(encoded)
        if "." not in key:
            _add(form, key, value)
            continue
        path = key.split(".")
        if len(path) > MAX_KEY_DEPTH:
            raise malformed("The form is nested too deeply")
        node = form
        for part in path[:-1]:
            below = node.get(part)
            if below is None:
                below = node[part] = {}
            elif type(below) is str:
                below = node[part] = {_OWN_VALUE: below}
            node = below
        _add(node, path[-1], value)
    return form


def _decoded(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise malformed("The form is not UTF-8") from None


def _add(node: Form, key: str, value: str) -> None:
    present = node.get(key)
    if present is None:
        node[key] = value
    elif type(present) is dict:
        present.setdefault(_OWN_VALUE, value)


class QueryCodec(Codec):
    """AWS Query for a service with this XML namespace."""

    content_type = "text/xml"

    def __init__(self, namespace: str, *, error_detail: bool = False) -> None:
        self._namespace = namespace
        self._error_detail = "<Detail/>" if error_detail else ""
        self._parsers = _FormParsers()
        self._writers = _XmlWriters()

    def parser(self, operation: Operation) -> Parse:
        """Compile the reader of an operation's input, given as a `Form`."""
        if operation.input is None:
            return lambda _form: {}
        return self._parsers.compile(operation.input)

    def serializer(self, operation: Operation) -> Serialize:
        """Compile the writer of an operation's output: ``<NameResponse><NameResult>…``."""
        name = operation.name
        head = f'<?xml version="1.0"?><{name}Response xmlns="{self._namespace}">'
        tail = "<ResponseMetadata><RequestId>"
        end = f"</RequestId></ResponseMetadata></{name}Response>"
        if operation.output is None:
            return lambda _result, request_id: f"{head}{tail}{escape(request_id)}{end}".encode()
        write = self._writers.compile(operation.output)
        wrapper = operation.result_wrapper
        start, close, empty = ("", "", "") if wrapper is None else _tags(wrapper)

        def serialize(result: Result, request_id: str) -> bytes:
            out = [head, start]
            write(as_params(result), out)
            if len(out) == 2:
                out[1] = empty
            else:
                out.append(close)
            out += (tail, escape(request_id), end)
            return "".join(out).encode()

        return serialize

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """``<ErrorResponse><Error><Type>…``."""
        fault = "Sender" if error.sender else "Receiver"
        members = "".join(
            f"<{name}>{escape(str(value))}</{name}>" for name, value in error.members.items()
        )
        namespace = f' xmlns="{self._namespace}"' if self._namespace else ""
        return (
            f'<?xml version="1.0"?><ErrorResponse{namespace}><Error>'
            f"<Type>{fault}</Type><Code>{escape(error.query_code)}</Code>"
            f"<Message>{escape(error.query_message or '')}</Message>{members}{self._error_detail}"
            f"</Error><RequestId>{escape(request_id)}</RequestId></ErrorResponse>"
        ).encode()


def _tags(name: str) -> tuple[str, str, str]:
    """The tags of an element: what opens it, what closes it, and what it is if it is empty."""
    return f"<{name}>", f"</{name}>", f"<{name}/>"


def _wire_name(shape: Shape, member_name: str) -> str:
    """The name by which a structure's member stands in a form or in XML."""
    if shape.type == "list" and shape.flattened:
        # A flattened list has no name of its own: its entries carry theirs.
        return shape.member.location_name or shape.location_name or member_name
    return shape.location_name or member_name


class _FormParsers:
    """Compiles shapes to functions from a form's node to a value."""

    def __init__(self) -> None:
        self._structures = CompiledStructures[Convert]()

    def compile(self, shape: Shape) -> Convert:
        if shape.type == "structure":
            return self._structures.get(shape, self._structure)
        if shape.type == "list":
            return self._list(shape)
        if shape.type == "map":
            return self._map(shape)
        return _LEAF_PARSERS[shape.type]

    def _structure(self, shape: Shape) -> Convert:
        fields = []
        for member_name, member in shape.members.items():
            wire_name = _wire_name(member, member_name)
            # An empty list comes under the name of the member, whatever its entries are called.
            empty_name = member.location_name or member_name
            is_list = member.type == "list" and empty_name != wire_name
            # The AWS SDK for Java calls a map by the name of the member (TagQueue's "Tags").
            is_map = member.type == "map" and member_name != wire_name
            fields.append(
                (
                    wire_name,
                    member_name,
                    self.compile(member),
                    empty_name if is_list else None,
                    is_map,
                )
            )

        def parse(node: Node) -> dict[str, Any]:
            if type(node) is not dict:
                raise malformed("Expected null")
            result = {}
            get = node.get
            for wire_name, member_name, parse_member, empty_name, is_map in fields:
                item = get(wire_name)
                if item is None and is_map:
                    item = get(member_name)
                if item is not None:
                    result[member_name] = parse_member(item)
                elif empty_name is not None and get(empty_name) == "":
                    result[member_name] = []
            return result

        return parse

    def _list(self, shape: Shape) -> Convert:
        parse_member = self.compile(shape.member)
        inner_name = None if shape.flattened else (shape.member.location_name or "member")

        def parse(node: Node) -> list[Any]:
            if type(node) is str:
                # No index at all: an empty list, or the only entry of a flattened one.
                if not node:
                    return []
                if inner_name is None:
                    return [parse_member(node)]
                raise malformed("Expected list or null")
            entries = node if inner_name is None else node.get(inner_name)  # type: ignore[union-attr]
            if type(entries) is not dict:
                raise malformed("Expected list or null")
            return [parse_member(entry) for entry in _in_order(entries)]

        return parse

    def _map(self, shape: Shape) -> Convert:
        key_name = shape.key.location_name or "key"
        value_name = shape.value.location_name or "value"
        parse_key = self.compile(shape.key)
        parse_value = self.compile(shape.value)
        absent: Node = {} if shape.value.type == "structure" else ""
        flattened = shape.flattened

        def parse(node: Node) -> dict[str, Any]:
            if node == "":
                return {}
            if type(node) is dict and not flattened:
                node = node.get("entry", "")
            if type(node) is not dict:
                raise malformed("Expected map or null")
            result = {}
            # `Attribute.Name=…`: the only entry of something flattened may have no index.
            for entry in [node] if flattened and key_name in node else _in_order(node):
                if type(entry) is not dict:
                    raise malformed("Expected map or null")
                # A name or value left out is the service's to complain of.
                value = entry.get(value_name, absent)
                result[parse_key(entry.get(key_name, ""))] = parse_value(value)
            return result

        return parse


def _in_order(entries: Form) -> list[Node]:
    for index in entries:
        if not _INDEX.fullmatch(index):
            raise malformed(f"'{index[:64]}' is not the index of a list entry")
    return [entries[index] for index in sorted(entries, key=int)]


def _leaf(node: Node, kind: str) -> str:
    if type(node) is not str:
        raise type_error(node, kind)
    return node


def _parse_string(node: Node) -> str:
    return node if type(node) is str else _leaf(node, "string")


def _parse_integer(kind: str) -> Convert:
    bound = INTEGER_BOUNDS[kind]

    def parse(node: Node) -> int:
        text = _leaf(node, kind)
        if not _INTEGER.fullmatch(text):
            raise type_error(text, kind)
        value = int(text)
        if not -bound <= value < bound:
            raise malformed(f"Numeric value ({value}) out of range of {kind}")
        return value

    return parse


def _parse_boolean(node: Node) -> bool:
    text = _leaf(node, "boolean").lower()
    if text not in ("true", "false"):
        raise type_error(text, "boolean")
    return text == "true"


def _parse_double(node: Node) -> float:
    text = _leaf(node, "double")
    if not _DOUBLE.fullmatch(text):
        raise type_error(text, "double")
    return float(text)


def _parse_time(node: Node) -> float:
    text = _leaf(node, "timestamp")
    try:
        return parse_timestamp(text)
    except (ValueError, OverflowError):
        raise type_error(text, "timestamp") from None


def _parse_blob(node: Node) -> bytes:
    return parse_blob(_leaf(node, "blob"))


_LEAF_PARSERS: Mapping[str, Convert] = {
    "blob": _parse_blob,
    "boolean": _parse_boolean,
    "character": _parse_string,
    "double": _parse_double,
    "float": _parse_double,
    "integer": _parse_integer("integer"),
    "long": _parse_integer("long"),
    "string": _parse_string,
    "timestamp": _parse_time,
}

_TO_ESCAPE = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xd;"}


def escape(text: str) -> str:
    """Text as XML content. What XML 1.0 cannot hold (section 2.2) becomes U+FFFD."""
    if _TO_ESCAPE.search(text) is None:
        return text
    return _TO_ESCAPE.sub(lambda found: _ESCAPED.get(found[0], "\ufffd"), text)


Write = Callable[[Any, list[str]], None]


class _XmlWriters:
    """Compiles shapes to functions that append a value's XML to a list of strings."""

    def __init__(self) -> None:
        self._structures = CompiledStructures[Write]()

    def compile(self, shape: Shape) -> Write:
        """The writer of the content of an element of this shape."""
        if shape.type == "structure":
            return self._structures.get(shape, self._structure)
        if shape.type == "list":
            return self._list(shape)
        if shape.type == "map":
            return self._map(shape)
        to_text = _text_of(shape)

        def write(value: Any, out: list[str]) -> None:
            out.append(to_text(value))

        return write

    def _structure(self, shape: Shape) -> Write:
        fields = [
            (member_name, self._member(member, _wire_name(member, member_name)))
            for member_name, member in shape.members.items()
            if not member.is_event_stream
        ]

        def write(value: Mapping[str, Any], out: list[str]) -> None:
            get = value.get
            for member_name, write_member in fields:
                item = get(member_name)
                if item is not None:
                    write_member(item, out)

        return write

    def _member(self, shape: Shape, name: str) -> Write:
        """The writer of a whole element, or of as many as a flattened shape has entries."""
        if shape.flattened and shape.type == "list":
            return self._repeated(shape.member, name)
        if shape.flattened and shape.type == "map":
            return self._entries(shape, name)
        start, end, empty = _tags(name)
        if shape.type not in ("structure", "list", "map"):
            to_text = _text_of(shape)

            def write_simple(value: Any, out: list[str]) -> None:
                out += (start, to_text(value), end)

            return write_simple
        write_content = self.compile(shape)

        def write(value: Any, out: list[str]) -> None:
            out.append(start)
            before = len(out)
            write_content(value, out)
            if len(out) == before:
                out[-1] = empty
            else:
                out.append(end)

        return write

    def _repeated(self, member: Shape, name: str) -> Write:
        write_entry = self._member(member, name)

        def write(value: Any, out: list[str]) -> None:
            for item in value:
                write_entry(item, out)

        return write

    def _list(self, shape: Shape) -> Write:
        return self._repeated(shape.member, shape.member.location_name or "member")

    def _map(self, shape: Shape) -> Write:
        return self._entries(shape, "entry")

    def _entries(self, shape: Shape, name: str) -> Write:
        start, end, _ = _tags(name)
        write_key = self._member(shape.key, shape.key.location_name or "key")
        write_value = self._member(shape.value, shape.value.location_name or "value")

        def write(value: Mapping[str, Any], out: list[str]) -> None:
            for key, item in value.items():
                out.append(start)
                write_key(key, out)
                write_value(item, out)
                out.append(end)

        return write


def _text_of(shape: Shape) -> Callable[[Any], str]:
    if shape.type == "timestamp":
        formats: Mapping[str, Callable[[Any], str]] = {
            "iso8601": format_iso_8601,
            "rfc822": format_rfc_822,
            "unixTimestamp": lambda seconds: str(round(seconds, 3)),
        }
        return formats[shape.traits.get("timestampFormat", "iso8601")]
    return _TEXT[shape.type]


def _double_text(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


_TEXT: Mapping[str, Callable[[Any], str]] = {
    "blob": lambda value: base64.b64encode(value).decode("ascii"),
    "boolean": lambda value: "true" if value else "false",
    "character": escape,
    "double": _double_text,
    "float": _double_text,
    "integer": str,
    "long": str,
    "string": escape,
}


class BareCodec(Codec):
    """What AWS's front ends answer before they know a service: an element named as the error."""

    content_type = "text/xml"

    def parser(self, operation: Operation) -> Parse:
        """No operation is known here. Raises `NotImplementedError`."""
        raise NotImplementedError(operation.name)

    def serializer(self, operation: Operation) -> Serialize:
        """No operation is known here. Raises `NotImplementedError`."""
        raise NotImplementedError(operation.name)

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """``<UnknownOperationException/>``, or with a ``<Message>`` inside."""
        if error.message is None:
            return f"<{error.code}/>\n".encode()
        message = escape(error.message)
        return f"<{error.code}>\n  <Message>{message}</Message>\n</{error.code}>\n".encode()


def invalid_action(action: str, version: str | None) -> AwsError:
    """An action the service does not have, in the framework's words."""
    message = f"Could not find operation {action} for version {version or 'NO_VERSION_SPECIFIED'}"
    return AwsError("UnknownOperationException", query_message=message)


def misplaced_action(action: str) -> AwsError:
    """An action that the URL of a resource does not have."""
    message = f"The action {action} is not valid for this endpoint."
    return AwsError("UnknownOperationException", query_message=message)


def missing_action() -> AwsError:
    """A request in Query that names no action."""
    message = "The request is missing an action or a required parameter."
    return AwsError("MissingAction", message)

"""Parsers and serialisers of documents (JSON, CBOR), compiled from shapes.

The two protocols differ in their leaves only. The messages of type errors are those of AWS's
service framework.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from hubbub_aws.errors import AwsError, malformed
from hubbub_aws.protocols.base import Structure
from hubbub_aws.shapes import CompiledStructures, Shape

Convert = Callable[[Any], Any]

_TOKENS: Mapping[type, str] = {
    str: "STRING_VALUE",
    int: "NUMBER_VALUE",
    float: "NUMBER_VALUE",
    bytes: "BINARY_VALUE",
    type(None): "NULL_VALUE",
}
_TITLES = {
    "blob": "a Blob",
    "boolean": "a Boolean",
    "character": "a Character",
    "double": "a Double",
    "float": "a Float",
    "integer": "an Integer",
    "long": "a Long",
    "string": "a String",
    "timestamp": "a Timestamp",
}
_STRUCTURE_START = "Start of structure or map found where not expected."
_LIST_START = "Start of list found where not expected"
INTEGER_BOUNDS = {"integer": 2**31, "long": 2**63}


_CLASSES: Mapping[type, str] = {
    bool: "class java.lang.Boolean",
    str: "class java.lang.String",
    int: "class com.amazon.coral.value.json.numbers.TruncatingBigNumber",
    float: "class com.amazon.coral.value.json.numbers.TruncatingBigNumber",
}
_CLASS_TITLES = {
    **_TITLES,
    "boolean": "an Boolean",
    "string": "an String",
    "timestamp": "milliseconds since epoch",
}


class WrongTypeError(AwsError):
    """A value of another type than its shape's (`expected`, such as ``integer``)."""

    def __init__(self, value: object, expected: str) -> None:
        if isinstance(value, dict):
            message = _STRUCTURE_START
        elif isinstance(value, list):
            message = _LIST_START
        else:
            if isinstance(value, bool):
                token = "TRUE_VALUE" if value else "FALSE_VALUE"
            else:
                token = _TOKENS.get(type(value), "VALUE")
            message = f"{token} can not be converted to {_TITLES[expected]}"
        super().__init__("SerializationException", message)
        self.value = value
        self.expected = expected

    def in_classes(self) -> AwsError:
        """The same in the words of services that name the classes of their framework."""
        found = type(self.value)
        if found not in _CLASSES:
            return self
        name = _CLASSES[found]
        if self.expected == "boolean" and isinstance(self.value, str):
            name = f"'{self.value.upper()}'"
        return malformed(f"{name} can not be converted to {_CLASS_TITLES[self.expected]}")


def type_error(value: object, expected: str) -> AwsError:
    """A value of another type than its shape's (`expected`, such as ``integer``)."""
    return WrongTypeError(value, expected)


def parse_string(value: Any) -> str:
    """A string, and no other type: AWS converts none."""
    if type(value) is not str:
        raise type_error(value, "string")
    return value


def parse_boolean(value: Any) -> bool:
    """A boolean."""
    if type(value) is not bool:
        raise type_error(value, "boolean")
    return value


def integer_parser(kind: str, *, saturates: bool = False) -> Convert:
    """A parser of ``integer`` or ``long``; a fraction is cut off, as AWS does.

    `saturates`: what is out of range becomes the nearest number in it.
    """
    bound = INTEGER_BOUNDS[kind]

    def parse(value: Any) -> int:
        if type(value) is float and math.isfinite(value):
            value = int(value)
        elif type(value) is not int:
            raise type_error(value, kind)
        if saturates:
            value = max(-bound, min(value, bound - 1))
        if not -bound <= value < bound:
            raise malformed(f"Numeric value ({value}) out of range of {kind}")
        return int(value)

    return parse


def parse_double(value: Any) -> float:
    """A number, or one of the three that JSON has no digits for."""
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise malformed("Numeric value out of range of double") from None
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    raise type_error(value, "double")


def _document(value: Any) -> Any:
    return value


class ParserCompiler:
    """Compiles shapes to parsers. ``leaves`` maps a simple type to the parser of its values.

    Entries of maps without a value are left out, or refused if `dense`.
    """

    def __init__(self, leaves: Mapping[str, Convert], *, dense: bool = False) -> None:
        self._dense = dense
        self._leaves: dict[str, Convert] = {
            "boolean": parse_boolean,
            "character": parse_string,
            "double": parse_double,
            "float": parse_double,
            "integer": integer_parser("integer"),
            "long": integer_parser("long"),
            "string": parse_string,
            **leaves,
        }
        self._structures = CompiledStructures[Convert]()

    def compile(self, shape: Shape) -> Convert:
        """A function from a decoded value to a value of this shape. It raises `AwsError` only."""
        if shape.type == "structure":
            return _document if shape.is_document else self._structures.get(shape, self._structure)
        if shape.type == "list":
            return self._list(shape)
        if shape.type == "map":
            return self._map(shape)
        return self._leaves[shape.type]

    def _structure(self, shape: Shape) -> Convert:
        fields = [
            (member.location_name or member_name, member_name, self.compile(member))
            for member_name, member in shape.members.items()
            if not member.is_event_stream
        ]

        def parse(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise malformed(_LIST_START if type(value) is list else "Expected null")
            result = {}
            get = value.get
            for wire_name, member_name, parse_member in fields:
                item = get(wire_name)
                if item is not None:
                    result[member_name] = parse_member(item)
            return result

        return parse

    def _list(self, shape: Shape) -> Convert:
        parse_member = self.compile(shape.member)

        def parse(value: Any) -> list[Any]:
            if type(value) is not list:
                raise malformed(
                    _STRUCTURE_START if type(value) is dict else "Expected list or null"
                )
            return [parse_member(item) for item in value]

        return parse

    def _map(self, shape: Shape) -> Convert:
        parse_key = self.compile(shape.key)
        parse_value = self.compile(shape.value)
        dense = self._dense

        def parse(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise malformed(_LIST_START if type(value) is list else "Expected map or null")
            if dense and None in value.values():
                raise AwsError(
                    "InvalidParameterValueException", "the parameter 'value' may not be null"
                )
            return {
                parse_key(key): parse_value(item) for key, item in value.items() if item is not None
            }

        return parse


class SerializerCompiler:
    """Compiles shapes to functions that make a value ready for a document encoder.

    ``leaves`` maps the simple types that need it to their converters; None stands for "as it is".
    """

    def __init__(self, leaves: Mapping[str, Convert]) -> None:
        self._leaves = leaves
        self._structures = CompiledStructures[Convert]()

    def compile(self, shape: Shape) -> Convert | None:
        """The converter of this shape's values, or None where they need no conversion."""
        if shape.type == "structure":
            return None if shape.is_document else self._structures.get(shape, self._structure)
        if shape.type == "list":
            return self._list(shape)
        if shape.type == "map":
            return self._map(shape)
        if shape.type == "timestamp":
            format_name = shape.traits.get("timestampFormat", "")
            return self._leaves.get(f"timestamp:{format_name}") or self._leaves["timestamp"]
        return self._leaves.get(shape.type)

    def _structure(self, shape: Shape) -> Convert:
        fields = [
            (member_name, member.location_name or member_name, self.compile(member))
            for member_name, member in shape.members.items()
            if not member.is_event_stream
        ]

        places: dict[type[Structure], list[tuple[str, str, Convert | None]]] = {}

        def convert_structure(value: Structure) -> dict[str, Any]:
            of_type = places.get(type(value))
            if of_type is None:
                names = dict(
                    zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
                )
                of_type = places[type(value)] = [
                    (names[member_name], wire_name, convert_member)
                    for member_name, wire_name, convert_member in fields
                    if member_name in names
                ]
            result = {}
            for field, wire_name, convert_member in of_type:
                item = getattr(value, field)
                if item is not None:
                    result[wire_name] = convert_member(item) if convert_member else item
            return result

        def convert(value: Mapping[str, Any] | Structure) -> dict[str, Any]:
            if isinstance(value, Structure):
                return convert_structure(value)
            result = {}
            get = value.get
            for member_name, wire_name, convert_member in fields:
                item = get(member_name)
                if item is not None:
                    result[wire_name] = convert_member(item) if convert_member else item
            return result

        return convert

    def _list(self, shape: Shape) -> Convert | None:
        convert_member = self.compile(shape.member)
        if convert_member is None:
            return None
        return lambda value: [convert_member(item) for item in value]

    def _map(self, shape: Shape) -> Convert | None:
        convert_value = self.compile(shape.value)
        if convert_value is None:
            return None
        return lambda value: {key: convert_value(item) for key, item in value.items()}

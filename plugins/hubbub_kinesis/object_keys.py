"""The keys of the objects that channels write, from templates.

"S3 output key template for Amazon S3 delivery" of the developer guide names the variables.
"""

import datetime as dt
import re
from typing import NamedTuple

DEFAULT = (
    "kinesis-channel/!{channel-name}/!{channel-id}/!{yyyy}/!{MM}/!{dd}/!{HH}/"
    "!{channel-name}-!{channel-id}-!{yyyy}-!{MM}-!{dd}-!{HH}-!{mm}!{extension}"
)
_VARIABLE = re.compile(r"!\{([^{}]*)\}")
_TIMES = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M"}
_VARIABLES = frozenset({"channel-name", "channel-id", "stream-name", "extension", *_TIMES})


class Object(NamedTuple):
    """What a key tells of an object. `moment`: when its first record arrived, in milliseconds."""

    channel: str
    id: str
    stream: str
    moment: int
    extension: str


def check_template(template: str) -> None:
    """Check a template. Raises `ValueError`, with the reason."""
    names = _VARIABLE.findall(template)
    unknown = [name for name in names if name not in _VARIABLES]
    if unknown:
        raise ValueError(f"it has the unknown variable !{{{unknown[0]}}}")
    rest = _VARIABLE.sub("", template)
    if "{" in rest or "}" in rest:
        raise ValueError("a variable is not closed, or not begun with !{")
    if template.startswith("/") or template.endswith("/"):
        raise ValueError("it must not begin or end with a slash")
    if any(part in {"", ".", ".."} for part in template.split("/")):
        raise ValueError("none of its parts may be empty, . or ..")


def make_key(template: str, about: Object, suffix: str) -> str:
    """Return an object's key: the template's, with the suffix that makes it unique."""
    moment = dt.datetime.fromtimestamp(about.moment / 1000, dt.UTC)
    values = {
        "channel-name": about.channel,
        "channel-id": about.id,
        "stream-name": about.stream,
        **{name: moment.strftime(form) for name, form in _TIMES.items()},
    }
    ending = "!{extension}"
    if template.endswith(ending):
        template = f"{template.removesuffix(ending)}-{suffix}{ending}"
    else:
        template = f"{template}-{suffix}"
    values["extension"] = about.extension
    return _VARIABLE.sub(lambda found: values[found[1]], template)

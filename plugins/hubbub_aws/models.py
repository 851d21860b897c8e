"""AWS service models (C2J ``service-2.json``), read from botocore's data folder.

botocore itself is never imported: that costs about 100 ms at start-up, and only its data is needed.
"""

import gzip
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from hubbub_aws.shapes import Shape, ShapeGraph


class ModelNotFoundError(LookupError):
    """The installed botocore has no model for this service or version."""


@dataclass(frozen=True)
class QueryShapes:
    """What a Query protocol needs that a service's present model no longer says.

    ``names`` maps ``"Shape"`` or ``"Shape.part"`` to the name on the wire, where the part is a
    structure's member, a list's ``member``, or a map's ``key`` or ``value``.
    ``error_detail`` says whether the service writes an empty ``<Detail/>`` in its errors.
    ``json_names`` maps ``"Shape.Member"`` to a member's name in answers as JSON, where it is not
    the model's.
    """

    namespace: str
    names: Mapping[str, str]
    error_detail: bool = False
    json_names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One operation of a service. ``result_wrapper`` is the element around a Query result."""

    name: str
    input: Shape | None
    output: Shape | None
    result_wrapper: str | None


class ServiceModel:
    """One version of one service: metadata, operations, shapes.

    ``name`` is the service's folder in botocore's data (``sqs``); ``document`` the decoded model.
    """

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self.name = name
        self._document = document
        self.metadata: Mapping[str, Any] = document["metadata"]
        self.shapes = ShapeGraph(document["shapes"])
        self._operations: dict[str, Operation] = {}

    def __repr__(self) -> str:
        return f"<ServiceModel {self.name} {self.api_version}>"

    @property
    def api_version(self) -> str:
        """The model's version, such as ``2012-11-05``."""
        return str(self.metadata["apiVersion"])

    @property
    def service_id(self) -> str:
        """The service's name as people write it, such as ``Kinesis``."""
        return str(self.metadata["serviceId"])

    @property
    def endpoint_prefix(self) -> str:
        """The first label of the service's host names."""
        return str(self.metadata["endpointPrefix"])

    @property
    def signing_name(self) -> str:
        """The service's name in a credential scope."""
        return str(self.metadata.get("signingName", self.endpoint_prefix))

    @property
    def target_prefix(self) -> str | None:
        """What stands before the dot in ``X-Amz-Target``."""
        return self.metadata.get("targetPrefix")

    @property
    def namespace(self) -> str:
        """The XML namespace of Query answers."""
        return str(self.metadata.get("xmlNamespace", ""))

    @property
    def protocols(self) -> frozenset[str]:
        """The protocols the model declares, such as ``{"json"}``."""
        declared = self.metadata.get("protocols") or [self.metadata["protocol"]]
        return frozenset(declared)

    @property
    def query_compatible(self) -> bool:
        """Whether the service spoke Query before, and so sends ``x-amzn-query-error``."""
        return "awsQueryCompatible" in self.metadata

    @cached_property
    def operation_names(self) -> frozenset[str]:
        """The names of all operations."""
        return frozenset(self._document["operations"])

    def operation(self, name: str) -> Operation:
        """The operation of this name. Raises `KeyError`."""
        found = self._operations.get(name)
        if found is None:
            raw = self._document["operations"][name]
            found = self._operations[name] = Operation(
                name,
                self._reference(raw.get("input")),
                self._reference(raw.get("output")),
                raw.get("output", {}).get("resultWrapper"),
            )
        return found

    def _reference(self, reference: Mapping[str, Any] | None) -> Shape | None:
        return None if reference is None else self.shapes.resolve(reference)

    def in_query(self, binding: QueryShapes) -> "ServiceModel":
        """This model as it was in the Query protocol: with the names of `binding`."""
        shapes: dict[str, Any] = dict(self._document["shapes"])
        for path, wire_name in binding.names.items():
            shape_name, _, part = path.partition(".")
            shape = shapes[shape_name] = dict(shapes[shape_name])
            if not part:
                shape["locationName"] = wire_name
            elif shape["type"] == "structure":
                members = shape["members"] = dict(shape["members"])
                members[part] = {**members[part], "locationName": wire_name}
            else:
                shape[part] = {**shape[part], "locationName": wire_name}
        operations = {
            name: {**raw, "output": {**raw["output"], "resultWrapper": f"{name}Result"}}
            if "output" in raw
            else raw
            for name, raw in self._document["operations"].items()
        }
        metadata = {**self.metadata, "xmlNamespace": binding.namespace}
        document = {"metadata": metadata, "operations": operations, "shapes": shapes}
        return ServiceModel(self.name, document)


def data_folder() -> Path:
    """The data folder of the installed botocore. Raises `ModelNotFoundError` without one."""
    spec = importlib.util.find_spec("botocore")
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location) / "data"
        if folder.is_dir():
            return folder
    raise ModelNotFoundError("botocore is not installed, so there are no AWS service models")


def load_model(
    service: str, version: str | None = None, *, folder: Path | None = None
) -> ServiceModel:
    """Read the model of `service`, by default its latest version.

    `folder` holds ``SERVICE/VERSION/service-2.json[.gz]``; by default it is botocore's.
    """
    home = (folder or data_folder()) / service
    if version is None:
        # Versions are dates, so the greatest name is the latest.
        versions = [entry.name for entry in home.iterdir()] if home.is_dir() else []
        if not versions:
            raise ModelNotFoundError(f"no model of AWS service {service!r} in {home.parent}")
        version = max(versions)
    packed = home / version / "service-2.json.gz"
    plain = packed.with_suffix("")
    if packed.is_file():
        text = gzip.decompress(packed.read_bytes())
    elif plain.is_file():
        text = plain.read_bytes()
    else:
        raise ModelNotFoundError(f"no model of AWS service {service!r}, version {version!r}")
    return ServiceModel(service, msgspec.json.decode(text))

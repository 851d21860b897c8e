"""The model's constraints, checked before an action is carried out.

AWS's model no longer says that a record needs a partition key, since streams that distribute their
records by themselves do without; all others still do.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hubbub_aws import Context, OperationFunction
from hubbub_aws.models import ServiceModel
from hubbub_aws.protocols import Params, Result
from hubbub_aws.shapes import ShapeGraph
from hubbub_aws.validation import Validate, compile_validator
from hubbub_kinesis.state import PROVISIONED

_KEYED = ("PutRecordInput", "PutRecordsRequestEntry")
_ITERATOR_TYPES = (
    "AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON",
)  # fmt: skip
"""In the order that AWS lists them in, which is not its model's."""
_LIMITS = {"PositiveIntegerObject": {"max": 100_000}, "RetentionPeriodHours": {"min": 1}}
"""What AWS checks, and its model does not tell."""


class Validators:
    """Checks the parameters of all actions."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        traits: dict[str, Mapping[str, Any]] = {
            name: model.shapes[name].traits for name in model.shapes
        }
        for name, each in traits.items():
            pattern = each.get("pattern", "")
            if pattern.startswith("^(") and pattern.endswith(")$"):  # AWS tells it without
                traits[name] = {**each, "pattern": pattern[2:-2]}
        traits["Data"] = {**traits["Data"], "sensitive": True}  # AWS does not repeat what was sent
        for name, limits in _LIMITS.items():
            traits[name] = {**traits[name], **limits}
        traits["ShardIteratorType"] = {**traits["ShardIteratorType"], "enum": _ITERATOR_TYPES}
        self._shapes = ShapeGraph(dict(traits))
        for name in _KEYED:
            required = ["PartitionKey", *traits[name].get("required", ())]
            traits[name] = {**traits[name], "required": required}
        required = ["ShardCount", *traits["CreateStreamInput"].get("required", ())]
        traits["CreateStreamInput"] = {**traits["CreateStreamInput"], "required": required}
        self._keyed = ShapeGraph(traits)

    def plain(self, operation: str) -> Validate:
        """Return the check of an action's parameters, as the model has it."""
        shape = self._model.operation(operation).input
        assert shape is not None
        return compile_validator(self._shapes[shape.name])

    def keyed(self, operation: str) -> Validate:
        """Return the check that asks for partition keys, too, and for a number of shards."""
        shape = self._model.operation(operation).input
        assert shape is not None
        return compile_validator(self._keyed[shape.name])

    def unknown(self, operations: Iterable[str]) -> list[str]:
        """Return which actions the installed model does not have."""
        return sorted(set(operations) - set(self._model.operation_names))

    def guard(self, operations: Mapping[str, OperationFunction]) -> dict[str, OperationFunction]:
        """Return the actions, each with the check before it. Older models do not have all."""
        return {
            name: self._guarded(name, carry_out)
            for name, carry_out in operations.items()
            if name in self._model.operation_names
        }

    def _guarded(self, name: str, carry_out: OperationFunction) -> OperationFunction:
        validate = self.plain(name)
        if name == "CreateStream":
            validate = self._creation()

        async def guarded(context: Context, params: Params) -> Result:
            validate(params)
            return await carry_out(context, params)

        return guarded

    def _creation(self) -> Validate:
        plain, provisioned = self.plain("CreateStream"), self.keyed("CreateStream")

        def validate(params: Mapping[str, Any]) -> None:
            mode = (params.get("StreamModeDetails") or {}).get("StreamMode")
            (provisioned if mode == PROVISIONED else plain)(params)

        return validate

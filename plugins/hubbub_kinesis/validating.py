"""The model's constraints, checked before an action is carried out.

AWS's model no longer says that a record needs a partition key, since streams that distribute their
records by themselves do without; all others still do.
"""

from collections.abc import Mapping
from typing import Any

from hubbub_aws import Context, OperationFunction
from hubbub_aws.models import ServiceModel
from hubbub_aws.protocols import Params
from hubbub_aws.shapes import ShapeGraph
from hubbub_aws.validation import Validate, compile_validator

_KEYED = ("PutRecordInput", "PutRecordsRequestEntry")


class Validators:
    """Checks the parameters of all actions."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        traits: dict[str, Mapping[str, Any]] = {
            name: model.shapes[name].traits for name in model.shapes
        }
        for name in _KEYED:
            required = ["PartitionKey", *traits[name].get("required", ())]
            traits[name] = {**traits[name], "required": required}
        self._keyed = ShapeGraph(traits)

    def plain(self, operation: str) -> Validate:
        """Return the check of an action's parameters, as the model has it."""
        shape = self._model.operation(operation).input
        assert shape is not None
        return compile_validator(shape)

    def keyed(self, operation: str) -> Validate:
        """Return the check that asks for partition keys, too."""
        shape = self._model.operation(operation).input
        assert shape is not None
        return compile_validator(self._keyed[shape.name])

    def guard(self, operations: Mapping[str, OperationFunction]) -> dict[str, OperationFunction]:
        """Return the actions, each with the check before it. Older models do not have all."""
        return {
            name: self._guarded(name, carry_out)
            for name, carry_out in operations.items()
            if name in self._model.operation_names
        }

    def _guarded(self, name: str, carry_out: OperationFunction) -> OperationFunction:
        validate = self.plain(name)

        async def guarded(context: Context, params: Params) -> Params:
            validate(params)
            return await carry_out(context, params)

        return guarded

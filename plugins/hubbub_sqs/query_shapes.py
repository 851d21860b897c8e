"""The names of SQS's Query protocol, which present service models have dropped.

From the SQS model of API version 2012-11-05 as it was before the service moved to JSON. With these,
`hubbub_aws` reads ``Attribute.1.Name=DelaySeconds`` and writes ``<Attribute><Name>…``.
"""

from hubbub_aws.errors import ErrorTraits
from hubbub_aws.models import QueryShapes

NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"

_LIST_MEMBERS = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BatchResultErrorEntryList": "BatchResultErrorEntry",
    "BinaryList": "BinaryListValue",
    "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
    "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
    "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
    "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageList": "Message",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "QueueUrlList": "QueueUrl",
    "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
    "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
    "StringList": "StringListValue",
    "TagKeyList": "TagKey",
}

_NAMED_MAPS = (
    "MessageBodyAttributeMap",
    "MessageBodySystemAttributeMap",
    "MessageSystemAttributeMap",
    "QueueAttributeMap",
)

_MEMBERS = {
    "CreateQueueRequest.Attributes": "Attribute",
    "CreateQueueRequest.tags": "Tag",
    "GetQueueAttributesResult.Attributes": "Attribute",
    "ListQueueTagsResult.Tags": "Tag",
    "Message.Attributes": "Attribute",
    "Message.MessageAttributes": "MessageAttribute",
    "MessageAttributeValue.BinaryListValues": "BinaryListValue",
    "MessageAttributeValue.StringListValues": "StringListValue",
    "MessageSystemAttributeValue.BinaryListValues": "BinaryListValue",
    "MessageSystemAttributeValue.StringListValues": "StringListValue",
    "SendMessageBatchRequestEntry.MessageAttributes": "MessageAttribute",
    "SendMessageBatchRequestEntry.MessageSystemAttributes": "MessageSystemAttribute",
    "SendMessageRequest.MessageAttributes": "MessageAttribute",
    "SendMessageRequest.MessageSystemAttributes": "MessageSystemAttribute",
    "SetQueueAttributesRequest.Attributes": "Attribute",
    "TagQueueRequest.Tags": "Tag",
}

_JSON_NAMES = {
    "ListQueuesResult.QueueUrls": "queueUrls",
    "ReceiveMessageResult.Messages": "messages",
}


def query_shapes() -> QueryShapes:
    """What SQS's Query protocol needs beside the model, for all 23 actions."""
    names = {f"{shape}.member": name for shape, name in _LIST_MEMBERS.items()}
    for shape in _NAMED_MAPS:
        names[f"{shape}.key"] = "Name"
        names[f"{shape}.value"] = "Value"
    names["TagMap.key"] = "Key"
    names["TagMap.value"] = "Value"
    names.update(_MEMBERS)
    return QueryShapes(NAMESPACE, names, error_detail=True, json_names=_JSON_NAMES)


def error_traits() -> dict[str, ErrorTraits]:
    """The codes and statuses of SQS's errors: also what ``x-amzn-query-error`` says in JSON."""
    prefixed = (
        "BatchEntryIdsNotDistinct",
        "BatchRequestTooLong",
        "EmptyBatchRequest",
        "InvalidBatchEntryId",
        "MessageNotInflight",
        "QueueDeletedRecently",
        "TooManyEntriesInBatchRequest",
        "UnsupportedOperation",
    )
    prefix = "AWS.SimpleQueueService"
    kms = {
        "KmsAccessDenied": "AccessDeniedException",
        "KmsDisabled": "DisabledException",
        "KmsInvalidKeyUsage": "InvalidKeyUsageException",
        "KmsInvalidState": "InvalidStateException",
        "KmsNotFound": "NotFoundException",
        "KmsThrottled": "ThrottlingException",
    }
    return {
        **{shape: ErrorTraits(f"KMS.{code}") for shape, code in kms.items()},
        "InvalidAddress": ErrorTraits("InvalidAddress", 404),
        "InvalidSecurity": ErrorTraits("InvalidSecurity", 403),
        "KmsOptInRequired": ErrorTraits("KMS.OptInRequired", 403),
        **{shape: ErrorTraits(f"{prefix}.{shape}") for shape in prefixed},
        "OverLimit": ErrorTraits("OverLimit", 403),
        "PurgeQueueInProgress": ErrorTraits(f"{prefix}.PurgeQueueInProgress", 403),
        "QueueDoesNotExist": ErrorTraits(f"{prefix}.NonExistentQueue"),
        "QueueNameExists": ErrorTraits("QueueAlreadyExists"),
        "ReceiptHandleIsInvalid": ErrorTraits("ReceiptHandleIsInvalid", 404),
        "RequestThrottled": ErrorTraits("RequestThrottled", 403),
        "ResourceNotFoundException": ErrorTraits("ResourceNotFoundException", 404),
    }

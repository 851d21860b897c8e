"""The AWS protocols: between bytes and the parameters and results of an operation.

Each codec compiles an operation to closures the first time it is used, and never again.
"""

from hubbub_aws.protocols.base import Codec, Params, Parse, Result, Serialize, Structure, as_params
from hubbub_aws.protocols.cbor import Cbor11Codec, RpcCborCodec
from hubbub_aws.protocols.json import JsonCodec
from hubbub_aws.protocols.query import Form, QueryCodec, parse_form
from hubbub_aws.protocols.query_json import QueryJsonCodec, accepts_json

__all__ = [
    "Cbor11Codec",
    "Codec",
    "Form",
    "JsonCodec",
    "Params",
    "Parse",
    "QueryCodec",
    "QueryJsonCodec",
    "Result",
    "RpcCborCodec",
    "Serialize",
    "Structure",
    "accepts_json",
    "as_params",
    "parse_form",
]

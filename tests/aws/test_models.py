import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hubbub_aws.models import ModelNotFoundError, load_model
from hubbub_aws.services import ProtocolName, Service


def write_model(folder: Path, version: str, *, packed: bool) -> None:
    home = folder / "toy" / version
    home.mkdir(parents=True)
    document = {
        "metadata": {"apiVersion": version, "endpointPrefix": "toy", "protocol": "json"},
        "operations": {"Grow": {"name": "Grow", "input": {"shape": "Tree"}}},
        "shapes": {
            "Tree": {
                "type": "structure",
                "members": {
                    "Name": {"shape": "Text", "locationName": "name"},
                    "Left": {"shape": "Tree"},
                    "Branches": {"shape": "Trees"},
                    "Extra": {"shape": "Any"},
                },
            },
            "Trees": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Tree"}},
            "Text": {"type": "string"},
            "Any": {"type": "structure", "members": {}, "document": True},
        },
    }
    text = json.dumps(document).encode()
    if packed:
        (home / "service-2.json.gz").write_bytes(gzip.compress(text))
    else:
        (home / "service-2.json").write_bytes(text)


def test_latest_version_and_both_packings(tmp_path: Path) -> None:
    write_model(tmp_path, "2009-01-01", packed=True)
    write_model(tmp_path, "2010-01-01", packed=False)
    assert load_model("toy", folder=tmp_path).api_version == "2010-01-01"
    assert load_model("toy", "2009-01-01", folder=tmp_path).api_version == "2009-01-01"


def test_missing_models(tmp_path: Path) -> None:
    write_model(tmp_path, "2009-01-01", packed=True)
    for service, version in (("toys", None), ("toy", "2008-01-01")):
        with pytest.raises(ModelNotFoundError, match=service):
            load_model(service, version, folder=tmp_path)


def test_renames_documents_and_shapes_that_contain_themselves(tmp_path: Path) -> None:
    write_model(tmp_path, "2009-01-01", packed=True)
    service = Service(load_model("toy", folder=tmp_path))
    binding = service.binding(ProtocolName.JSON_1_0, "Grow")
    assert binding is not None
    body = b'{"name":"a","Left":{"name":"b"},"Branches":{"x":{"Left":{}}},"Extra":{"y":[1]}}'
    assert binding.parse(body) == {
        "Name": "a",
        "Left": {"Name": "b"},
        "Branches": {"x": {"Left": {}}},
        "Extra": {"y": [1]},
    }


def test_start_up_leaves_botocore_alone() -> None:
    """Only botocore's data is read: importing it would cost more than all the rest."""
    script = (
        "import sys\n"
        "from hubbub_aws.models import load_model\n"
        "from hubbub_aws.routing import Router\n"
        "from hubbub_aws import sigv4\n"
        "from hubbub_aws.services import ProtocolName, Service\n"
        "service = Service(load_model('sqs'))\n"
        "assert service.binding(ProtocolName.JSON_1_0, 'SendMessage')\n"
        "print(sorted({'botocore', 'boto3'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"

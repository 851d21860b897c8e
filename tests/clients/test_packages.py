"""The lock file of the JavaScript packages."""

import json

from tests.programs import SCRIPTS


def test_packages_are_locked_and_come_from_whichever_registry_npm_uses() -> None:
    packages = json.loads((SCRIPTS / "package-lock.json").read_text())["packages"]
    del packages[""]
    for path, package in packages.items():
        assert "integrity" in package, path
        assert "resolved" not in package, path

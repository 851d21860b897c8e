import pytest

from hubbub import Origins


@pytest.mark.parametrize(
    ("listed", "origin", "allowed"),
    [
        ("https://a.example", "https://a.example", True),
        ("https://A.example/", "HTTPS://a.EXAMPLE", True),
        ("https://a.example", "https://a.example:8443", True),
        ("https://a.example:8443", "https://a.example", False),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example.evil", False),
        ("http://[::1]", "http://[::1]:3000", True),
        ("http://localhost", "http://[oops", False),
        ("http://localhost", "null", False),
        ("*", "null", True),
    ],
)
def test_who_may_call(listed: str, origin: str, allowed: bool) -> None:
    assert (origin in Origins([listed])) is allowed


def test_nobody_is_listed() -> None:
    assert "https://a.example" not in Origins([])
    assert not Origins([]).everybody

"""The errors that the bus raises; each protocol plugin translates them into its own codes."""


class HubbubError(Exception):
    """Base of every error that hubbub raises on purpose; its text is for a person to act on."""


class NotFoundError(HubbubError):
    """A queue, stream, subscription or lease that does not exist (any more).

    `kind` is the kind of resource ("queue", "stream", ...) and `name` its name.
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"no {kind} named {name!r}")
        self.kind = kind
        self.name = name


class ExistsError(HubbubError):
    """A resource of this name exists already, with other settings."""

    def __init__(self, kind: str, name: str, setting: str | None = None) -> None:
        what = f" with a different {setting}" if setting else ""
        super().__init__(f"a {kind} named {name!r} exists already{what}")
        self.kind = kind
        self.name = name
        self.setting = setting


class DeniedError(HubbubError):
    """The principal may not do this; `action` and `resource` say what was asked."""

    def __init__(self, principal: str, action: str, resource: str) -> None:
        super().__init__(f"{principal!r} may not {action} {resource!r}")
        self.principal = principal
        self.action = action
        self.resource = resource


class RefusedError(HubbubError):
    """A request that the settings of a resource forbid (a full queue, a locked queue, ...)."""


class UnavailableError(HubbubError):
    """The store cannot take anything durable now (disk full, closing); trying later may work."""


class BusyError(HubbubError):
    """Too many passwords wait to be verified, or verifying took too long; trying later may work."""

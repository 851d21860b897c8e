"""The plugins that come with the core: every hub has them, unless the configuration says no."""

from .admin import AdminPlugin


def builtin_plugins() -> dict[str, object]:
    """Make one of each, by name."""
    return {"admin": AdminPlugin()}

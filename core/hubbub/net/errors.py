"""Errors as Trio's nurseries hand them on."""

__all__ = ["sole_error"]


def sole_error(errors: BaseExceptionGroup[Exception]) -> BaseException:
    """Return the one exception in a group of one, however deep; else the group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error

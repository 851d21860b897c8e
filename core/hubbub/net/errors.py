"""Errors as Trio's nurseries hand them on."""

import contextlib
from collections.abc import Iterator

__all__ = ["sole_error", "sole_errors", "split_crash"]


def sole_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception in a group of one, however deep; else the group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@contextlib.contextmanager
def sole_errors() -> Iterator[None]:
    """Raise the one exception in a group of one as it is, out of however many nurseries."""
    try:
        yield
    except BaseExceptionGroup as errors:
        error = sole_error(errors)
        if error is errors:
            raise
        raise error from error.__cause__


def split_crash(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Part a crash from cancellation and the like, which have to go on."""
    if not isinstance(error, BaseExceptionGroup):
        return (error, None) if isinstance(error, Exception) else (None, error)
    crash, rest = error.split(Exception)
    return None if crash is None else sole_error(crash), rest

"""The exceptions of this package."""

import errno as _errno


class Error(Exception):
    """Something could not be done; nothing was changed, unless the message says otherwise.

    The message is complete: it names the file, the place in it, what was expected and what was found.
    """

    kind: str
    """What it is about: "usage", "not-found", "io", "malformed", "no-batchnorm", "non-finite" (a γ),
    "dying" (more channels would die than come back), "fixed-gamma", "network" (several to choose from),
    "optimizer", "ranks" (the processes of a training hold other γ), "symbolic-link", "hard-links",
    "resizes", or "refused"."""
    file: str | None
    """The file, or the class of the module."""
    place: str | None
    """Where in it: a tensor, a header, an argument."""
    expected: str | None
    """What was expected there."""
    found: str | None
    """What was found instead."""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "refused",
        file: str | None = None,
        place: str | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.file = file
        self.place = place
        self.expected = expected
        self.found = found


class UsageError(Error, ValueError):
    """The request itself makes no sense, whatever the file or module holds."""

    def __init__(self, message: str, *, place: str | None = None, found: str | None = None) -> None:
        super().__init__(message, kind="usage", place=place, found=found)


class NotFoundError(Error, FileNotFoundError):
    """A file that is not there."""

    def __init__(self, message: str, *, file: str | None = None) -> None:
        super().__init__(message, kind="not-found", file=file)
        self.errno = _errno.ENOENT
        self.filename = file

    def __str__(self) -> str:
        return str(self.args[0])


def make(
    kind: str,
    message: str,
    *,
    file: str | None,
    place: str | None,
    expected: str | None,
    found: str | None,
    errno: int | None,
) -> Error:
    """The exception for an error of the library."""
    if kind == "usage":
        return UsageError(message, place=place, found=found)
    if kind == "not-found":
        return NotFoundError(message, file=file)
    error = Error(message, kind=kind, file=file, place=place, expected=expected, found=found)
    if errno is not None:
        error.add_note(f"errno {errno}: {_errno.errorcode.get(errno, 'unknown')}")
    return error

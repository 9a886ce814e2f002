"""Options as they are typed → as the library takes them."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ._errors import UsageError

Path = str | os.PathLike[str]
Pattern = str | re.Pattern[str]
Patterns = Pattern | Iterable[Pattern]

RULE_OPTIONS = (
    "rule",
    "below",
    "to",
    "scope",
    "keep_zeros",
    "iternorm",
    "include",
    "exclude",
    "allow_dying",
    "skip_shared",
    "schema",
)


def rule_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a rule, from a mapping that has all of RULE_OPTIONS."""
    chosen = {name: options[name] for name in RULE_OPTIONS}
    chosen["rule"] = str(chosen["rule"])
    chosen["scope"] = str(chosen["scope"])
    chosen["below"] = number_or_text(chosen["below"])
    chosen["to"] = None if chosen["to"] is None else number_or_text(chosen["to"])
    chosen["include"] = patterns(chosen["include"])
    chosen["exclude"] = patterns(chosen["exclude"])
    chosen["schema"] = path(chosen["schema"])
    return chosen


def number_or_text(value: float | str) -> str:
    """A threshold or target: its text, which gives the same number back."""
    return value if isinstance(value, str) else repr(float(value))


def patterns(given: Patterns) -> list[str]:
    """Regular expressions as a list of texts."""
    several = [given] if isinstance(given, (str, re.Pattern)) else given
    return [one.pattern if isinstance(one, re.Pattern) else one for one in several]


def path(given: Path | None) -> str | None:
    return None if given is None else os.fspath(given)


def chosen(argument: str, value: str, choices: tuple[str, ...]) -> str:
    """The value, one of the choices.

    Raises UsageError, with near names, if it is another.
    """
    if value not in choices:
        expected = " or ".join(map(repr, choices))
        raise UsageError(
            f"{argument} {value!r}: expected {expected}{meant(value, choices)}",
            place=argument,
            found=str(value),
        )
    return value


def known(given: Iterable[str], names: Iterable[str], of: str) -> None:
    """Raises UsageError, with near names, if an option is none of the names."""
    names = list(names)
    for name in given:
        if name not in names:
            message = f"{of} has no option {name!r}{meant(name, names)}"
            raise UsageError(message, place=name)


def meant(typed: object, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(typed), list(names), n=2)
    return f"; did you mean {' or '.join(near)}?" if near else ""

"""The compiled part: plain values in, text in JSON out."""

from collections.abc import Mapping, Sequence
from typing import Any, final

from typing_extensions import Buffer

__all__ = ["__version__", "Inspected", "Live", "Schedule", "apply", "diff", "inspect", "track", "undo"]

__version__: str

def apply(path: str, rule: Mapping[str, Any], options: Mapping[str, Any]) -> str: ...
def undo(path: str, in_place: bool, follow_symlinks: bool, record: str | None) -> str: ...
def inspect(path: str, schema: str | None, mask: str | None) -> Inspected: ...
def diff(
    a: str, b: str, gamma_only: bool, schema: str | None, record: str | None, mask: str | None
) -> str: ...
def track(
    paths: Sequence[str],
    root: str | None,
    channels: Sequence[str],
    schema: str | None,
    record: str | None,
    mask: str | None,
) -> tuple[str, list[str]]: ...
@final
class Inspected:
    @property
    def json(self) -> str: ...
    def gammas(self, network: int) -> list[tuple[str, bytes]]: ...

@final
class Live:
    def __new__(
        cls,
        owner: str,
        tensors: Sequence[tuple[str, str, Sequence[int], int, int, int]],
        options: Mapping[str, Any],
    ) -> Live: ...
    def gammas(self) -> list[tuple[str, str, bool]]: ...
    def plan(self, values: Buffer) -> str: ...
    @staticmethod
    def reset(
        key: str, values: Buffer, layers: Sequence[tuple[str, int, Sequence[int]]]
    ) -> list[float]: ...

@final
class Schedule:
    """Due at the epochs `start`, `start + every`, `start + 2 every`, … up to `until`.

    An epoch is a number of finished epochs; the first is 1. `start` is `every` if not given.
    Raises UsageError where `every` or `start` is 0.
    """

    def __new__(cls, every: int, start: int | None = None, until: int | None = None) -> Schedule: ...
    @property
    def every(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def until(self) -> int | None: ...
    def due(self, finished: int) -> bool:
        """Whether it is time after so many finished epochs."""

    def next(self, finished: int) -> int | None:
        """The next epoch after so many finished ones; None when there is none."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

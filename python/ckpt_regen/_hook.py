"""What the callbacks of all frameworks share: when, with which options, and what a refusal means."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ._errors import Error
from ._native import Schedule
from ._options import known
from .results import Regenerated

if TYPE_CHECKING:
    import torch

# What the γ of this moment bring about. Anything else is wrong from the start, and is raised.
_PASSING = ("dying", "non-finite")


class Hook:
    """Regenerates a module at the epochs of a schedule."""

    def __init__(
        self,
        *,
        every: int,
        start: int | None,
        until: int | None,
        options: Mapping[str, Any],
        info: Callable[[str], object],
        warn: Callable[[str], object],
    ) -> None:
        from .torch import regenerate_

        names = list(inspect.signature(regenerate_).parameters)[2:]
        known(options, [*names, "every", "start", "until"], "regenerate_")
        self.schedule = Schedule(every, start, until)
        self.options = dict(options)
        self._info, self._warn = info, warn

    def at(self, finished: int, module: torch.nn.Module, optimizer: Any) -> Regenerated | None:
        """What was done after so many finished epochs; None when it is not time or was refused."""
        from .torch import regenerate_

        if not self.schedule.due(finished):
            return None
        try:
            done = regenerate_(module, optimizer, **self.options)
        except Error as error:
            if error.kind not in _PASSING:
                raise
            self._warn(f"epoch {finished}: {error}; training goes on without this edit")
            return None
        for warning in done.warnings:
            self._warn(f"epoch {finished}: {warning}")
        self._info(f"epoch {finished}: {done}")
        return done

    def check(
        self, module: torch.nn.Module, optimizer: Any, around: torch.nn.Module | None = None
    ) -> None:
        """Raises what would be raised at every epoch: no BatchNorm, an option that makes no sense, a
        module that is sharded, or one `around` it that is."""
        from . import _slots
        from ._module import Found, refuse_sharded
        from .torch import rules_of

        if around is not None:
            refuse_sharded(around)
        found = Found(module, rules_of(self.options))
        _slots.check(found.owner, found.gammas, _slots.optimizers(optimizer))

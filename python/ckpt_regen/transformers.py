"""Channel regeneration in transformers: a callback for its Trainer.

    from ckpt_regen.transformers import Regeneration

    trainer = Trainer(..., callbacks=[Regeneration(every=5)])
"""

from __future__ import annotations

import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from ._errors import Error
from ._hook import Hook
from .results import Regenerated

_log = logging.get_logger("transformers.ckpt_regen")


class Regeneration(TrainerCallback):
    """Regenerates channels when an epoch begins, every so many epochs.

    By then the epoch before was evaluated and saved: the best checkpoint holds the weights that scored, and
    a resumed run redoes the edit from its step, since nothing of it is kept elsewhere. A run resumed within
    an epoch does not edit twice. The last epoch is never followed by an edit.

    What was done is logged, and is an entry of the trainer's `log_history` (`trainer_state.json`) with
    `regenerated` and `regeneration_threshold`. An edit that would do harm is a warning, and training goes
    on.

    Args:
        every, start, until: as for `ckpt_regen.Schedule`.
        options: those of `ckpt_regen.torch.regenerate_`.
    """

    def __init__(
        self, *, every: int, start: int | None = None, until: int | None = None, **options: Any
    ) -> None:
        self._hook = Hook(
            every=every,
            start=start,
            until=until,
            options=options,
            info=_log.info,
            warn=_log.warning,
        )
        self.last: Regenerated | None = None
        """What was done last."""
        self._begun = self._ahead = 0

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._hook.check(kwargs["model"], kwargs["optimizer"])
        steps = steps_per_epoch(args, kwargs["train_dataloader"])
        # Without a skip the epoch that was broken off is begun anew.
        self._begun = state.global_step
        self._ahead = state.global_step % steps if args.ignore_data_skip else 0

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        steps = steps_per_epoch(args, kwargs["train_dataloader"])
        finished, within = divmod(state.global_step - self._ahead, steps)
        if within or (self._ahead and state.global_step == self._begun):
            return
        done = self._hook.at(finished, kwargs["model"], kwargs["optimizer"])
        if done is None:
            return
        self.last = done
        entry = {"epoch": float(finished), "step": state.global_step}
        entry["regenerated"] = done.regenerated
        if done.threshold is not None:
            entry["regeneration_threshold"] = done.threshold
        state.log_history.append(entry)


def steps_per_epoch(args: TrainingArguments, loader: Any) -> int:
    """Steps of the optimizer in an epoch, as the Trainer counts them.

    Raises Error where the training data have no length.
    """
    try:
        batches = len(loader)
    except TypeError:
        reason = "the training data have no length, so that it cannot be told where an epoch begins"
        raise Error(f"Trainer: {reason}", file="Trainer", place="train_dataset") from None
    return max(math.ceil(batches / args.gradient_accumulation_steps), 1)

"""Channel regeneration in Lightning: a callback for its Trainer.

    from ckpt_regen.lightning import Regeneration

    trainer = Trainer(callbacks=[Regeneration(every=5)])
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

# By its older name it is another package with other classes.
if TYPE_CHECKING or find_spec("lightning") is not None:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
else:
    from pytorch_lightning import Callback, LightningModule, Trainer
    from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn

from ._hook import Hook
from .results import Regenerated


class Regeneration(Callback):
    """Regenerates channels before the first batch of an epoch, every so many epochs.

    By then the epoch before was validated and its checkpoints are written: `best` holds the weights that
    scored, and a resumed run redoes the edit from the epoch number, since nothing of it is kept elsewhere.
    A run resumed within an epoch does not edit twice. The last epoch is never followed by an edit. Weight
    averaging is left alone.

    What was done is told by rank 0, and logged to the trainer's loggers as `ckpt_regen/regenerated` and
    `ckpt_regen/threshold`. An edit that would do harm is a warning, and training goes on.

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
            info=rank_zero_info,
            warn=rank_zero_warn,
        )
        self.last: Regenerated | None = None
        """What was done last."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._hook.check(pl_module, trainer.optimizers, around=trainer.strategy.model)

    # Not on_train_epoch_start, which is left out after some restores.
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx != 0:
            return
        done = self._hook.at(trainer.current_epoch, pl_module, trainer.optimizers)
        if done is None:
            return
        self.last = done
        numbers = {"ckpt_regen/regenerated": float(done.regenerated)}
        if done.threshold is not None:
            numbers["ckpt_regen/threshold"] = done.threshold
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=trainer.global_step)

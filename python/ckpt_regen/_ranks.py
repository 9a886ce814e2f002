"""The processes of one training, compared before anything is written."""

from __future__ import annotations

import torch.distributed

from ._errors import Error


def is_first() -> bool:
    """Whether this process speaks for all."""
    return not _several() or torch.distributed.get_rank() == 0


def compare(owner: str, digest: str | None, refused: Error | None) -> None:
    """Raises unless all processes have the same γ and plan, or the same reason for none.

    Every process must call it; with one process it does nothing.
    """
    distributed = torch.distributed
    if not _several():
        return
    own = digest or str(refused)
    answers: list[object] = [None] * distributed.get_world_size()
    distributed.all_gather_object(answers, (digest is not None, own))
    other = next((rank for rank, answer in enumerate(answers) if answer != answers[0]), None)
    if other is None:
        return
    first, second = (_said(answers[rank]) for rank in (0, other))
    message = (
        f"{owner}: the processes of this training hold different γ: rank 0 {first}, rank {other} "
        f"{second}; nothing was changed. check=False leaves them uncompared, as where each has a module "
        "of its own"
    )
    raise Error(message, kind="ranks", file=owner, expected=first, found=second)


def _several() -> bool:
    distributed = torch.distributed
    initialized = distributed.is_available() and distributed.is_initialized()
    return initialized and distributed.get_world_size() > 1


def _said(answer: object) -> str:
    planned, text = answer if isinstance(answer, tuple) else (False, "says nothing")
    return f"has those of SHA-256 {text[:12]}…" if planned else f"refuses ({text})"

"""A live torch.nn.Module → its γ, found by the rule of the files."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from . import _native
from ._errors import Error, UsageError

# As safetensors spells them; of other types nothing can be γ.
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}

# What libraries hang on a parameter of which they keep a copy that the optimizer steps.
MASTER_COPY = {"ds_id": "DeepSpeed", "_hp_mapping": "DeepSpeed", "main_param": "Megatron"}


@dataclass(frozen=True)
class Gamma:
    """γ of one BatchNorm layer: a tensor of shape [channels]."""

    name: str
    layer: str
    counted: bool
    """Whether the plan counts and edits it."""
    tensor: torch.Tensor


class Found:
    """The BatchNorm layers of a module."""

    def __init__(self, module: torch.nn.Module, options: Mapping[str, Any]) -> None:
        if not isinstance(module, torch.nn.Module):
            found = type(module).__name__
            message = f"module: expected a torch.nn.Module, found {found}"
            raise UsageError(message, place="module", found=found)
        self.owner = type(module).__name__
        refuse_sharded(module)
        state = {
            name: tensor
            for name, tensor in module.state_dict(keep_vars=True).items()
            if isinstance(tensor, torch.Tensor)
        }
        self._live = _native.Live(self.owner, _described(state, self.owner), options)
        self.gammas = [
            Gamma(name, layer, counted, state[name])
            for name, layer, counted in self._live.gammas()
        ]
        own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
        for gamma in self.gammas:
            _refuse_unwritable(gamma, self.owner, id(gamma.tensor) in own)

    def plan(self) -> tuple[str, str]:
        """The plan for γ as they are now, as JSON; and the SHA-256 of these γ and the plan."""
        now = buffer(values([gamma.tensor for gamma in self.gammas if gamma.counted]))
        plan = self._live.plan(now)
        return plan, hashlib.sha256(now.tobytes() + plan.encode()).hexdigest()


def values(tensors: list[torch.Tensor]) -> torch.Tensor:
    """All values one after another, exact: float64 on the host. One copy a device."""
    places: dict[torch.device, list[int]] = {}
    for place, tensor in enumerate(tensors):
        places.setdefault(tensor.device, []).append(place)
    parts: list[torch.Tensor] = [torch.empty(0)] * len(tensors)
    for device, own in places.items():
        flat = [tensors[place].detach().reshape(-1) for place in own]
        if device.type in ("cpu", "cuda"):
            joined = torch.cat([part.double() for part in flat]).cpu()
        else:  # not every device has float64
            joined = torch.cat([part.cpu().double() for part in flat])
        for place, part in zip(own, torch.split(joined, [part.numel() for part in flat])):
            parts[place] = part
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)


def buffer(numbers: torch.Tensor) -> memoryview[float]:
    """A copy of a contiguous float64 tensor of the host as a buffer, without NumPy."""
    return memoryview(ctypes.string_at(numbers.data_ptr(), 8 * numbers.numel())).cast("d")


def write(tensor: torch.Tensor, channels: list[int], new: list[float]) -> None:
    """Writes values, each exact in the tensor's type, at these places."""
    index = torch.tensor(channels, device=tensor.device)
    given = torch.tensor(new, dtype=torch.float64).to(tensor.dtype).to(tensor.device)
    with torch.no_grad():
        tensor.index_copy_(0, index, given)


def _described(
    state: Mapping[str, torch.Tensor], owner: str
) -> list[tuple[str, str, list[int], int, int, int]]:
    """The tensors of a state dict, as the library wants to know them."""
    devices: dict[torch.device, int] = {}
    described = []
    for name, tensor in state.items():
        if torch.nn.parameter.is_lazy(tensor):
            raise _refused(owner, name, "has no shape yet: run one batch through the module first")
        if tensor.layout != torch.strided or tensor.dtype not in DTYPES:
            continue
        steps = ((size - 1) * step for size, step in zip(tensor.shape, tensor.stride()))
        span = (1 + sum(steps)) * tensor.element_size() if tensor.numel() else 0
        device = devices.setdefault(tensor.device, len(devices))
        # Tensors of the meta device have no memory, and none can share it.
        address, length = (0, 0) if tensor.is_meta else (tensor.data_ptr(), span)
        described.append((name, DTYPES[tensor.dtype], list(tensor.shape), device, address, length))
    return described


def refuse_sharded(module: torch.nn.Module) -> None:
    """Raises Error if no process holds γ, or something else than γ is stepped."""
    owner = type(module).__name__
    for part in module.modules():
        for cls in type(part).__mro__:
            if cls.__module__.startswith("torch.distributed.fsdp") and "FullySharded" in cls.__name__:
                reason = "is sharded by FSDP, and no process holds all γ"
                raise _refused(owner, None, reason)
            if cls.__module__.startswith("deepspeed."):
                reason = "is DeepSpeed's, whose optimizer overwrites γ with its copy in float32"
                raise _refused(owner, None, reason)
    distributed = sys.modules.get("torch.distributed.tensor")
    for name, parameter in module.named_parameters():
        if distributed is not None and isinstance(parameter, distributed.DTensor):
            reason = "is a DTensor (FSDP or tensor parallel), and no process holds all γ"
            raise _refused(owner, name, reason)
        for mark, library in MASTER_COPY.items():
            if hasattr(parameter, mark):
                reason = f"has a copy in {library}'s optimizer, which overwrites γ with it"
                raise _refused(owner, name, reason)


def _refuse_unwritable(gamma: Gamma, owner: str, is_own: bool) -> None:
    if not is_own:
        reason = "is a copy in the state dict, and not the module's own tensor (a state_dict hook?)"
        raise _refused(owner, gamma.name, reason)
    if gamma.tensor.is_meta:
        raise _refused(owner, gamma.name, "is on the meta device and has no values")
    if gamma.tensor.is_inference():
        raise _refused(owner, gamma.name, "was made in inference mode and cannot be edited")


def _refused(owner: str, name: str | None, reason: str) -> Error:
    place = "" if name is None else f"{name} "
    return Error(f"{owner}: {place}{reason}", file=owner, place=name)

"""Pruning: the channels that `prune` takes out beside those that the methods' public code does, written
again here from its description; what PyTorch then computes; and regeneration of what is left."""

import json
import os
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file

from support import Skip, apply, check, expect, layers, regen

RATES = [round(0.1 * n, 1) for n in range(1, 8)]


def resnet20(directory: Path) -> tuple[Path, str]:
    """A trained ResNet-20 of CIFAR-10, as its author saved it."""
    material = os.environ.get("CKPT_REGEN_MATERIAL")
    files = Path(material or "/none").glob("checkpoints/resnet20-legacy/*.th")
    source = next(files, None)
    if source is None:
        raise Skip("no checkpoints/resnet20-legacy (CKPT_REGEN_MATERIAL)")
    state = torch.load(source, map_location="cpu", weights_only=False)["state_dict"]
    file = directory / "resnet20.pth"
    torch.save({name: tensor.clone() for name, tensor in state.items()}, file)
    return file, "resnet20"


def resnet18(directory: Path) -> tuple[Path, str]:
    """torchvision's ResNet-18 with the stem for CIFAR, γ and β drawn at random."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None, num_classes=100)
    network.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 0.4, 0.3)
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
    file = directory / "resnet18.pth"
    torch.save(network.state_dict(), file)
    return file, "resnet18"


def resnet56(directory: Path) -> tuple[Path, str]:
    """A ResNet-56 that ckpt-regen trained, with the penalty of network slimming."""
    run = directory / "resnet56"
    options = ["--epochs", 2, "--sparsity", "1e-4", "--out", run]
    regen("train", "--model", "resnet56", "--data", "digits", *options)
    file = directory / "resnet56.pth"
    torch.save(load_file(run / "last/model.safetensors"), file)
    return file, "resnet56"


NETWORKS = [resnet20, resnet56, resnet18]


def slimmed(state: dict, rate: float) -> dict[str, list[int]]:
    """Network slimming to the letter: what is not above the value at floor(N * rate) goes."""
    gammas = {name: state[f"{name}.weight"].abs() for name in layers(state)}
    pool = torch.cat(list(gammas.values())).sort().values
    threshold = pool[int(len(pool) * rate)]
    return {name: (~gamma.gt(threshold)).nonzero().flatten().tolist() for name, gamma in gammas.items()}


def nearest(weight: torch.Tensor, norm: float, distance: float) -> list[int]:
    """FPGM of one convolution: the smallest norms, then the smallest sums of distances of the rest."""
    rows = weight.double().flatten(1)
    count = len(rows)
    by_norm = rows.norm(dim=1).argsort(stable=True)
    gone, rest = by_norm[: int(count * norm)], by_norm[int(count * norm) :]
    rest = rest.sort().values
    apart = (rows[rest][:, None] - rows[rest][None]).norm(dim=2).sum(dim=1)
    taken = rest[apart.argsort(stable=True)[: int(count * distance)]]
    return sorted(gone.tolist() + taken.tolist())


def convolution(layer: str) -> str:
    """The weight in front of a BatchNorm of a ResNet."""
    return ".".join([*layer.split(".")[:-1], layer.split(".")[-1].replace("bn", "conv"), "weight"])


def by_filters(state: dict, norm: float, distance: float) -> dict[str, list[int]]:
    return {
        name: [] if "downsample" in name else nearest(state[convolution(name)], norm, distance)
        for name in layers(state)
    }


def mask(file: Path) -> dict[str, list[int]]:
    return {layer["name"]: layer["pruned"] for layer in json.loads(file.read_text())["layers"]}


def read(file: Path) -> dict:
    return torch.load(file, map_location="cpu", weights_only=True)


def zeroed(before: dict, pruned: dict[str, list[int]], filters: bool, norms: bool) -> dict:
    """The state dict with these channels set to 0."""
    after = {name: tensor.clone() for name, tensor in before.items()}
    for layer, channels in pruned.items():
        if norms:
            after[f"{layer}.weight"][channels] = 0
            after[f"{layer}.bias"][channels] = 0
        if filters and channels:
            after[convolution(layer)][channels] = 0
    return after


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@check("prune: slimming takes out what the public code does, at rates 0.1 to 0.7")
def _(directory: Path) -> None:
    for network in NETWORKS:
        file, _model = network(directory)
        before, original = read(file), file.read_bytes()
        for rate in RATES:
            out = directory / "mask.json"
            regen("prune", file, "--ratio", rate, "--min-channels", 0, "--mask-out", out)
            expected = slimmed(before, rate)
            expect(mask(out) == expected, f"{file.name} at {rate}: other channels")
            expect(same(read(file), zeroed(before, expected, False, True)), f"{file.name} at {rate}")
            regen("undo", file)
            expect(file.read_bytes() == original, f"{file.name} at {rate}: undo")


@check("prune: FPGM takes out what the public code does, at rates 0.1 to 0.7")
def _(directory: Path) -> None:
    for network in NETWORKS:
        file, model = network(directory)
        before, original = read(file), file.read_bytes()
        for rate in RATES:
            out = directory / "mask.json"
            options = ["--method", "fpgm", "--model", model, "--mask-out", out]
            regen("prune", file, "--ratio", rate, *options)
            expected = by_filters(before, 0.0, rate)
            expect(mask(out) == expected, f"{file.name} at {rate}: other filters")
            expect(same(read(file), zeroed(before, expected, True, True)), f"{file.name} at {rate}")
            regen("undo", file)
            expect(file.read_bytes() == original, f"{file.name} at {rate}: undo")
        regen("prune", file, "--ratio", 0.3, "--norm-ratio", 0.1, "--filters-only", *options)
        expected = by_filters(before, 0.1, 0.3)
        expect(mask(out) == expected, f"{file.name}: norm first")
        expect(same(read(file), zeroed(before, expected, True, False)), f"{file.name}: filters only")


@check("prune: FPGM edits filters that lie with channels last")
def _(directory: Path) -> None:
    file, model = resnet18(directory)
    state = {
        name: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
        for name, tensor in read(file).items()
    }
    torch.save(state, file)
    original = file.read_bytes()
    regen("prune", file, "--ratio", 0.4, "--method", "fpgm", "--model", model)
    expected = zeroed(state, by_filters(state, 0.0, 0.4), True, True)
    expect(same(read(file), expected), "other filters")
    regen("undo", file)
    expect(file.read_bytes() == original, "undo")


@check("prune: what is left is regenerated by its own median, and pruned channels put out nothing")
def _(directory: Path) -> None:
    file, _model = resnet18(directory)
    before = read(file)
    regen("prune", file, "--ratio", 0.3)
    pruned = slimmed(before, 0.3)
    left = torch.cat([
        torch.tensor([g for n, g in enumerate(before[f"{name}.weight"].tolist()) if n not in pruned[name]])
        for name in layers(before)
    ])
    applied = apply(file)
    median = left.sort().values[(len(left) - 1) // 2].item()
    expect(abs(applied["threshold"] - median) < 1e-7, f"{applied['threshold']} for {median}")
    expect(applied["counted"] == len(left), "other channels are counted")
    network = torchvision.models.resnet18(weights=None, num_classes=100)
    network.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.load_state_dict(read(file))
    network.eval()
    seen = []
    network.bn1.register_forward_hook(lambda module, given, result: seen.append(result))
    with torch.no_grad():
        network(torch.randn(2, 3, 32, 32))
    zero = (seen[0] == 0).all(dim=3).all(dim=2).all(dim=0).nonzero().flatten().tolist()
    expect(zero == pruned["bn1"], "other channels put out zeros")

"""Training in f64 computes what PyTorch computes in float64."""

import json
import os
import struct
import subprocess

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file, save_file

from support import ROOT, check, expect, regen, regenerate

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def write_images(directory, count: int) -> None:
    """CIFAR-10's binary format: as many images to train on in each of five files, and for tests."""
    random = np.random.default_rng(5)
    folder = directory / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]:
        records = random.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(f"class {n}" for n in range(10)))


def images(directory) -> tuple[torch.Tensor, torch.Tensor]:
    """The training images as the network sees them, and their classes."""
    files = [directory / f"cifar-10-batches-bin/data_batch_{n}.bin" for n in range(1, 6)]
    records = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, 3073) for file in files])
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / np.float32(255)
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return torch.from_numpy((pixels - mean) / std).double(), torch.from_numpy(records[:, 0].astype(np.int64))


def exact(*settings) -> list[dict]:
    """Runs the trainer's loop on the plain engine in f64; prints a line for each batch."""
    program = os.environ["CKPT_REGEN_TRAIN_F64"]
    run = subprocess.run([program, *map(str, settings)], capture_output=True, text=True)
    expect(run.returncode == 0, run.stderr.strip())
    return [json.loads(line) for line in run.stdout.splitlines()]


def train(model, data, steps, after) -> list[float]:
    """PyTorch's losses over these batches; `after` is called when one is done."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    losses = []
    for number, step in enumerate(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data[0][step]), data[1][step])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        after(number)
    return losses


def compare(directory, name: str, count: int, epochs: int, *more) -> None:
    write_images(directory, count)
    settings = [
        f"model={name!r}", f"data={str(directory)!r}", f"epochs={epochs}", "flip=false", "crop-padding=0",
        "schedule='constant'", f"batch-size={5 * count // (3 if epochs == 1 else 1)}", "keep=9", *more,
    ]
    lines = exact(directory / "run", *settings)
    expect(len(lines) == 3, f"{lines}")
    model = getattr(torchvision.models, name)(weights=None, num_classes=10).double().train()
    model.load_state_dict(load_file(directory / "run/epoch-0/model.safetensors"))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0

    def after(number: int) -> None:
        if epochs == 3 and number == 0:
            changed = regenerate(model.state_dict())
            expect(any(mask.any() for mask in changed.values()), "nothing was regenerated")
            saved = load_file(directory / "run/epoch-1/model.safetensors")
            for layer in changed:
                theirs = model.state_dict()[f"{layer}.weight"]
                close = torch.allclose(saved[f"{layer}.weight"], theirs, rtol=0, atol=1e-6)
                expect(close, f"γ of {layer} differ")

    losses = train(model, images(directory), [line["images"] for line in lines], after)
    for number, (loss, line) in enumerate(zip(losses, lines)):
        expect(abs(loss - line["loss"]) < 1e-6, f"step {number + 1}: {line['loss']}, expected {loss}")
    saved = load_file(directory / "run/last/model.safetensors")
    for key, value in model.state_dict().items():
        expect(torch.allclose(saved[key], value, rtol=1e-6, atol=1e-6), f"{key} differs in the end")


@check("training: three steps in f64")
def _(directory):
    compare(directory, "shufflenet_v2_x0_5", 12, 1)


@check("training: three steps in f64, with a regeneration after the first")
def _(directory):
    compare(directory, "shufflenet_v2_x0_5", 4, 3, "regen-every=1", "regen-until=1")


@check("training: MobileNetV2 in f64, with a regeneration after the first step")
def _(directory):
    compare(directory, "mobilenet_v2", 4, 3, "regen-every=1", "regen-until=1")


def slimmed(model, share: float) -> dict[str, torch.Tensor]:
    """Network slimming's mask by layer, of the channels that stay: |γ| above sorted[floor(N·share)]."""
    norms = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    strengths = torch.cat([m.weight.detach().abs() for m in norms.values()])
    threshold = strengths.sort().values[int(len(strengths) * share)]
    return {name: m.weight.detach().abs() > threshold for name, m in norms.items()}


@check("training: three steps of a slimmed network in f64")
def _(directory):
    write_images(directory, 12)
    torch.manual_seed(2)
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=10).double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, -0.2, 1.0)
    weights = directory / "begin.safetensors"
    save_file(model.state_dict(), weights)
    share, sparsity = 0.3, 1e-3
    lines = exact(
        directory / "run", f"--resume={weights}", "model='shufflenet_v2_x0_5'", f"data={str(directory)!r}",
        "epochs=1", "flip=false", "crop-padding=0", "schedule='constant'", "batch-size=20",
        f"prune-ratio={share}", "min-channels=0", f"sparsity={sparsity}",
    )
    expect(len(lines) == 3, f"{lines}")
    kept = slimmed(model, share)
    norms = {name: model.get_submodule(name) for name in kept}
    with torch.no_grad():
        for name, norm in norms.items():
            norm.weight *= kept[name]
            norm.bias *= kept[name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    data = images(directory)
    for number, line in enumerate(lines):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data[0][line["images"]]), data[1][line["images"]])
        loss.backward()
        for name, norm in norms.items():
            norm.weight.grad += sparsity * norm.weight.detach().sign()
            norm.weight.grad *= kept[name]
            norm.bias.grad *= kept[name]
        optimizer.step()
        error = abs(loss.item() - line["loss"])
        expect(error < 1e-8, f"step {number + 1}: {line['loss']}, expected {loss.item()}")
    saved = load_file(directory / "run/last/model.safetensors")
    for key, value in model.state_dict().items():
        expect(torch.allclose(saved[key], value, rtol=1e-8, atol=1e-8), f"{key} differs in the end")


@check("training: a run's checkpoint loads into torchvision's network")
def _(directory):
    out = directory / "run"
    regen("train", "--model", "resnet18", "--data", "digits", "--epochs", 1, "--batch-size", 674, "--out", out)
    model = torchvision.models.resnet18(weights=None, num_classes=10)
    model.load_state_dict(load_file(out / "last/model.safetensors"))
    kept = load_file(out / "last/optimizer.safetensors")
    expect(set(kept) == {f"{name}.momentum_buffer" for name, _ in model.named_parameters()}, f"{set(kept)}")


@check("training: TensorBoard's event files have TensorFlow's framing")
def _(directory):
    out = directory / "run"
    options = ("--model", "mobilenet_v2", "--width", 0.1, "--data", "digits", "--epochs", 1, "--batch-size", 674)
    regen("train", *options, "--tensorboard", "--out", out)
    (file,) = (out / "tensorboard").iterdir()
    data, records = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        records.append(data[12 : 12 + length])
        data = data[16 + length :]
    expect(b"brain.Event:2" in records[0], "no version record")
    for tag in (b"loss/train", b"top1/test", b"gamma/median"):
        expect(any(tag in record for record in records), f"no {tag}")

"""Channel regeneration of live modules: the same, bit for bit, as that of their saved state dicts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
import torchvision
from torch import nn

import ckpt_regen
import ckpt_regen.torch
from support import check, clone, expect, expect_equal, layers, mobilenet, regen

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
OPTIONS = [
    {},
    {"rule": "reference"},
    {"rule": "keep-sign", "scope": "layer"},
    {"below": "quantile:0.3", "to": "mean", "scope": "each"},
    {"below": 0.25, "to": "max", "include": r"features\.1"},
]


def spread(module: nn.Module) -> nn.Module:
    """Gives γ values that differ, as training does."""
    generator = torch.Generator().manual_seed(0)
    for name in layers(module.state_dict()):
        gamma = module.state_dict()[f"{name}.weight"]
        gamma.copy_(torch.rand(gamma.shape, generator=generator) * 0.6 - 0.02)
    return module


def options(keywords: dict) -> list[str]:
    return [word for name, value in keywords.items() for word in (f"--{name}", value)]


def expect_as_in_file(module: nn.Module, path: Path, **keywords) -> ckpt_regen.Regenerated:
    """Regenerates a module, and its state dict in a file with the command: plan and values agree."""
    torch.save(module.state_dict(), path)
    plan = path.with_suffix(".plan")
    regen("apply", path, "--plan-out", plan, *options(keywords))
    done = ckpt_regen.torch.regenerate_(module, **keywords)
    planned = json.loads(plan.read_text())["layers"]
    found = [{**vars(layer), "changes": [vars(c) for c in layer.changes]} for layer in done.layers]
    expect(found == planned, f"the plan differs: {found[0]}, {planned[0]}")
    expect(done.regenerated > 0, "nothing changed")
    expect_equal(module.state_dict(), torch.load(path), "the module")
    return done


@check("live: a module of every type, by every kind of option, as its file")
def every_type(work: Path) -> None:
    for dtype in DTYPES:
        for keywords in OPTIONS:
            expect_as_in_file(spread(mobilenet()).to(dtype), work / "m.pth", **keywords)


@check("live: mixed types, one and three dimensions, SyncBatchNorm, FrozenBatchNorm")
def every_class(work: Path) -> None:
    mixed = spread(mobilenet())
    mixed.features[3:9].to(torch.float16)
    expect_as_in_file(mixed, work / "mixed.pth")
    for norm in (nn.BatchNorm1d, nn.BatchNorm3d, nn.SyncBatchNorm):
        expect_as_in_file(spread(nn.Sequential(norm(8), norm(24))), work / f"{norm.__name__}.pth")
    frozen = torchvision.ops.FrozenBatchNorm2d
    expect_as_in_file(spread(nn.Sequential(frozen(8), nn.BatchNorm2d(8))), work / "frozen.pth")
    alone = nn.BatchNorm2d(9)
    nn.init.uniform_(alone.weight)
    expect_as_in_file(alone, work / "alone.pth")


@check("live: behind torch.compile and DataParallel")
def wrapped(work: Path) -> None:
    for wrap in (torch.compile, nn.DataParallel):
        done = expect_as_in_file(wrap(spread(mobilenet())), work / "w.pth")
        expect(done.layers[0].name.split(".")[0] in ("_orig_mod", "module"), done.layers[0].name)


@check("live: one γ of two names; an average beside the network")
def shared(work: Path) -> None:
    pair = nn.Sequential(nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.BatchNorm2d(8))
    pair[1].weight = pair[0].weight
    done = expect_as_in_file(spread(pair), work / "tied.pth")
    expect(done.counted == 16, f"{done.counted} channels are counted")

    class WithAverage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.net_ema = mobilenet(), mobilenet()

    model = spread(WithAverage())
    before = clone(model.net_ema.state_dict())
    expect_as_in_file(model, work / "ema.pth")
    expect_equal(model.net_ema.state_dict(), before, "the average")


@check("live: what optimizers keep, reset as in a file")
def slots(work: Path) -> None:
    optim = torch.optim
    makers = {
        "sgd": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
        "adamw": lambda p: optim.AdamW(p, amsgrad=True),
        "rmsprop": lambda p: optim.RMSprop(p, momentum=0.9, centered=True),
        "adamax": lambda p: optim.Adamax(p),
    }
    for name, make in makers.items():
        model = spread(mobilenet())
        optimizer = make(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(4, 3, 32, 32)).square().mean().backward()
            optimizer.step()
        path = work / f"{name}.pth"
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
        kept = clone(model.state_dict())
        slots = {k: clone({n: t for n, t in s.items() if isinstance(t, torch.Tensor)})
                 for k, s in optimizer.state_dict()["state"].items()}
        expect(ckpt_regen.torch.regenerate_(model, optimizer).optimizer_tensors_reset == 0, name)
        for place, state in optimizer.state_dict()["state"].items():
            tensors = {n: t for n, t in state.items() if isinstance(t, torch.Tensor)}
            expect_equal(tensors, slots[place], f"{name}, kept")
        model.load_state_dict(kept)
        regen("apply", path, "--optimizer", "reset")
        done = ckpt_regen.torch.regenerate_(model, optimizer, slots="reset")
        expect(done.optimizer_tensors_reset > 0, f"{name}: nothing was reset")
        saved = torch.load(path)
        expect_equal(model.state_dict(), saved["model"], name)
        for place, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                if isinstance(value, torch.Tensor):
                    expect_equal({key: value}, {key: saved["optimizer"]["state"][place][key]}, name)


def refusal(kind: str, says: str, module, *args, **keywords) -> None:
    before = clone(module.state_dict()) if isinstance(module, mobilenet().__class__) else None
    try:
        ckpt_regen.torch.regenerate_(module, *args, **keywords)
    except ckpt_regen.Error as error:
        expect(error.kind == kind and says in str(error), f"{error.kind}: {error}")
    else:
        raise AssertionError(f"{says}: not refused")
    if before is not None:
        after = {k: v for k, v in module.state_dict().items() if not v.isnan().any()}
        expect_equal(after, {k: before[k] for k in after}, "a refused module")


@check("live: what cannot be regenerated is refused, and left alone")
def refused(work: Path) -> None:
    model = spread(mobilenet())
    refusal("no-batchnorm", "running_mean", nn.Linear(3, 3))
    refusal("usage", "did you mean keep-sign", model, rule="keepsign")
    refusal("usage", "did you mean features.1.", model, include="feature.1.conv")
    refusal("usage", "of another module", model, torch.optim.SGD(mobilenet().parameters()))
    copies = [p.detach().clone() for p in model.parameters()]
    refusal("usage", "copies in float32", model, torch.optim.SGD(copies))
    refusal("optimizer", "keeps sum", model, stepped(model, torch.optim.Adagrad), slots="reset")
    refusal("refused", "meta device", nn.BatchNorm2d(3, device="meta"))
    refusal("refused", "no shape yet", nn.Sequential(nn.LazyBatchNorm2d()))
    refusal("dying", "allow_dying=True", model, below="quantile:0.9", to=1e-3)
    model.features[0][1].weight.data[2] = float("nan")
    refusal("non-finite", "found NaN in channel 2", model)
    part = nn.BatchNorm2d(4)
    part.weight = nn.Parameter(torch.rand(8)[2:6])
    part.bias = nn.Parameter(part.weight.detach()[:4])
    refusal("fixed-gamma", "its memory is also used by bias", part)
    marked = spread(mobilenet())
    marked.features[0][1].weight._hp_mapping = None
    refusal("refused", "DeepSpeed", marked)


def stepped(model: nn.Module, make) -> torch.optim.Optimizer:
    optimizer = make(model.parameters())
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    return optimizer


PROCESS = """
import sys
import torch
import torch.distributed as dist
import torchvision
import ckpt_regen, ckpt_regen.torch
rank, init, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
torch.manual_seed(0)
model = torchvision.models.mobilenet_v2(width_mult=0.25)
for parameter in model.parameters():
    if parameter.dim() == 1:
        torch.nn.init.uniform_(parameter, 0, 0.5)
if mode == "ddp":
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    done = ckpt_regen.torch.regenerate_(wrapped)
    print(done.regenerated, model.features[0][1].weight.sum().item())
elif mode == "other":
    if rank == 1:
        model.features[0][1].weight.data[0] = 0.3
    before = model.features[0][1].weight.detach().clone()
    try:
        ckpt_regen.torch.regenerate_(model)
    except ckpt_regen.Error as error:
        print(error.kind, torch.equal(before, model.features[0][1].weight))
    print(ckpt_regen.torch.regenerate_(model, check=False).regenerated > 0)
elif mode == "fsdp":
    from torch.distributed.fsdp import fully_shard
    fully_shard(model, mesh=dist.init_device_mesh("cpu", (2,)))
    try:
        ckpt_regen.torch.regenerate_(model)
    except ckpt_regen.Error as error:
        print(error)
dist.destroy_process_group()
"""


def two_processes(work: Path, mode: str) -> list[str]:
    """What each of two processes prints."""
    init = f"file://{work / mode}"
    script = work / "process.py"
    script.write_text(PROCESS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), init, mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    answers = [run.communicate(timeout=300) for run in runs]
    for run, (_, talk) in zip(runs, answers):
        expect(run.returncode == 0, talk[-2000:])
    return [out for out, _ in answers]


@check("live: two processes of DistributedDataParallel agree; others are told")
def processes(work: Path) -> None:
    first, second = two_processes(work, "ddp")
    expect(first == second and int(first.split()[0]) > 0, f"{first} {second}")
    for answer in two_processes(work, "other"):
        expect(answer.split() == ["ranks", "True", "True"], answer)


@check("live: FSDP is refused")
def sharded(work: Path) -> None:
    for answer in two_processes(work, "fsdp"):
        expect("is a DTensor" in answer and "no process holds all" in answer, answer)

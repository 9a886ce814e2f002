"""Training checkpoints as frameworks lay them out: the right network, the epoch, the optimizer."""

import copy
from argparse import Namespace
from pathlib import Path

import torch
from torch.nn import functional as F

from support import (
    Skip, apply, check, clone, expect, expect_equal, expect_same_bytes, fixture, layers,
    mobilenet, regen, regenerate,
)

FIRST = {"momentum_buffer", "exp_avg", "grad_avg"}
SECOND = {"exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg"}


def sgd(groups):
    return torch.optim.SGD(groups, 0.01, momentum=0.9, weight_decay=1e-4)


def adamw(groups):
    return torch.optim.AdamW(groups, 1e-3)


def amsgrad(groups):
    return torch.optim.Adam(groups, 1e-3, amsgrad=True)


def step(model, optimizer) -> None:
    images, labels = torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
    loss = F.cross_entropy(model.train()(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def one_group(model):
    return [{"params": list(model.named_parameters())}]


def by(first):
    """Two groups: parameters of which `first` says yes, then the others."""

    def groups(model):
        norms = set(layers(model.state_dict()))
        pairs = list(model.named_parameters())
        yes = [(n, p) for n, p in pairs if first(n, p, norms)]
        no = [(n, p) for n, p in pairs if not first(n, p, norms)]
        return [{"params": yes}, {"params": no, "weight_decay": 0.0}]

    return groups


# timm: without decay first; torchvision's references with --norm-weight-decay: norm group first for
# detection, and for classification in older versions, else last.
timm_groups = by(lambda name, p, norms: p.ndim <= 1 or name.endswith(".bias"))
decay_first = by(lambda name, p, norms: p.ndim > 1)
norm_last = by(lambda name, p, norms: name.rpartition(".")[0] not in norms)
norm_first = by(lambda name, p, norms: name.rpartition(".")[0] in norms)


def yolo_groups(model):
    """γ, other weights, biases: an order that the program does not know."""
    pairs = list(model.named_parameters())
    norms = {f"{name}.weight" for name in layers(model.state_dict())}
    is_bias = lambda name: name.endswith(".bias")
    kinds = [
        [(n, p) for n, p in pairs if n in norms],
        [(n, p) for n, p in pairs if n not in norms and not is_bias(n)],
        [(n, p) for n, p in pairs if is_bias(n)],
    ]
    return [{"params": kind} for kind in kinds]


# transformers' Trainer: everything but biases first (and LayerNorm, of which a CNN has none).
trainer_groups = by(lambda name, p, norms: not name.endswith(".bias"))


class Run:
    """A network after two steps, its optimizer, and a moving average of its weights."""

    def __init__(self, optimizer, groups, named=False):
        torch.manual_seed(0)
        self.make_optimizer, self.groups, self.named = optimizer, groups, named
        self.model, self.optimizer = self.fresh()
        for _ in range(2):
            step(self.model, self.optimizer)
        for name in layers(self.model.state_dict()):
            gamma = self.model.get_parameter(f"{name}.weight").data
            gamma.copy_(torch.rand_like(gamma) - 0.1)
        self.ema = torch.optim.swa_utils.AveragedModel(self.model)
        for p in self.ema.parameters():
            p.data.mul_(0.999)

    def fresh(self):
        """The network and optimizer as a resuming script builds them."""
        model = mobilenet(10)
        groups = self.groups(model)
        self.order = [name for group in groups for name, _ in group["params"]]
        if not self.named:
            groups = [{**g, "params": [p for _, p in g["params"]]} for g in groups]
        return model, self.make_optimizer(groups)


# Each layout gives, from a run and the number of finished epochs: the object to save, the state
# dicts in it of the raw weights and of the average, the optimizer's state in it, and the names
# under which the raw weights' layers are listed.


def torchvision_layout(run, epochs):
    raw, ema, state = run.model.state_dict(), run.ema.state_dict(), run.optimizer.state_dict()
    saved = {
        "model": raw, "optimizer": state, "lr_scheduler": {"last_epoch": epochs, "_step_count": 1},
        "epoch": epochs - 1, "args": {"lr": 0.1}, "model_ema": ema,
    }
    return saved, raw, ema, state, "model", ""


def timm_layout(run, epochs):
    raw, state = run.model.state_dict(), run.optimizer.state_dict()
    ema = {k.removeprefix("module."): v for k, v in run.ema.state_dict().items() if "module" in k}
    saved = {
        "epoch": epochs - 1, "arch": "mobilenetv2_100", "state_dict": raw, "optimizer": state,
        "version": 2, "args": {"model": "mobilenetv2_100"}, "amp_scaler": {"scale": 65536.0},
        "state_dict_ema": ema, "metric": 61.5,
    }
    return saved, raw, ema, state, "state_dict", ""


def lightning_layout(run, epochs):
    raw = {f"model.{key}": value for key, value in run.model.state_dict().items()}
    state = run.optimizer.state_dict()
    saved = {
        "epoch": epochs - 1, "global_step": 2, "pytorch-lightning_version": "2.5.0",
        "state_dict": raw, "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {},
        "optimizer_states": [state], "lr_schedulers": [{"last_epoch": epochs}],
        "hparams_name": "kwargs", "hyper_parameters": {"lr": 0.1},
    }
    return saved, raw, {}, state, "state_dict", "model."


def lightning_averaging_layout(run, epochs):
    """With its WeightAveraging callback, `state_dict` is the average."""
    saved, raw, _, state, _, prefix = lightning_layout(run, epochs)
    ema = run.ema.module.state_dict()
    ema = {f"model.{key}": value for key, value in ema.items()}
    saved.update(state_dict=ema, current_model_state=raw, averaging_state={"n_averaged": 7})
    return saved, raw, ema, state, "current_model_state", prefix


def mmengine_layout(run, epochs):
    """With its EMAHook, the average and the raw weights have changed places."""
    ema = run.ema.module.state_dict()
    raw = {f"module.{key}": value for key, value in run.model.state_dict().items()}
    raw = {**raw, "steps": torch.tensor(2)}
    state = run.optimizer.state_dict()
    saved = {
        "meta": {"epoch": epochs, "iter": 2, "seed": 0}, "state_dict": ema,
        "message_hub": {"log_scalars": {}, "runtime_info": {}}, "optimizer": state,
        "param_schedulers": [{"last_step": 2}], "ema_state_dict": raw,
    }
    return saved, raw, ema, state, "ema_state_dict", "module."


def save(directory: Path, saved: dict) -> Path:
    directory.mkdir()
    torch.save(saved, directory / "checkpoint.pth")
    return directory / "checkpoint.pth"


def reset(state: dict, order: list[str], changed: dict) -> int:
    """Resets what the optimizer keeps for changed γ; the number of tensors that this concerns.

    First moments become 0, second ones the lower median of the layer's other channels (or of the
    network's), where that is more.
    """
    gammas = {}
    for position, kept in state["state"].items():
        layer, _, leaf = order[position].rpartition(".")
        if leaf == "weight" and layer in changed:
            gammas[layer] = kept
    others = {}
    for key in SECOND:
        values = [kept[key][~changed[layer]] for layer, kept in gammas.items() if key in kept]
        others[key] = torch.cat(values) if values else torch.tensor([])
    touched = 0
    for layer, kept in gammas.items():
        mask = changed[layer]
        for key in (FIRST | SECOND) & set(kept):
            new = kept[key].clone()
            if key in FIRST:
                new[mask] = 0
            else:
                own = kept[key][~mask]
                source = own if len(own) else others[key]
                if len(source):
                    new[mask] = new[mask].clamp(min=source.median())
            touched += not torch.equal(new, kept[key])
            kept[key].copy_(new)
    return touched


def rmsprop(groups):
    return torch.optim.RMSprop(groups, 1e-3, momentum=0.9, centered=True)


def adamax(groups):
    return torch.optim.Adamax(groups, 1e-3)


def nadam(groups):
    return torch.optim.NAdam(groups, 1e-3)


LAYOUTS = {
    "torchvision, RMSprop, biases apart": (torchvision_layout, rmsprop, trainer_groups, False),
    "torchvision, Adamax, decay group first": (torchvision_layout, adamax, decay_first, False),
    "Lightning, NAdam": (lightning_layout, nadam, one_group, False),
    "torchvision, SGD": (torchvision_layout, sgd, one_group, False),
    "torchvision, AdamW, norm group last": (torchvision_layout, adamw, norm_last, False),
    "torchvision, SGD, norm group first": (torchvision_layout, sgd, norm_first, False),
    "torchvision, AMSGrad, named parameters": (torchvision_layout, amsgrad, yolo_groups, True),
    "timm, AdamW, group without decay first": (timm_layout, adamw, timm_groups, False),
    "timm, SGD": (timm_layout, sgd, timm_groups, False),
    "Lightning, AdamW": (lightning_layout, adamw, one_group, False),
    "Lightning with averaging, SGD": (lightning_averaging_layout, sgd, one_group, False),
    "mmengine with EMA, SGD": (mmengine_layout, sgd, one_group, False),
    "mmengine with EMA, AdamW": (mmengine_layout, adamw, one_group, False),
}

for _name, _parts in LAYOUTS.items():

    @check(f"training file, {_name}: epoch")
    def _(directory, parts=_parts):
        layout, optimizer, groups, named = parts
        run = Run(optimizer, groups, named)
        for epochs, due in [(4, False), (5, True), (6, False), (10, True)]:
            file = save(directory / str(epochs), layout(run, epochs)[0])
            before = file.read_bytes()
            report = apply(file, "--every", 5)
            expect(report["epoch"] == epochs, f"epoch {report['epoch']}, not {epochs}")
            expect(report["due"] == due, f"epoch {epochs}: due is {report['due']}")
            expect((file.read_bytes() != before) == due, f"epoch {epochs}: changed or not")
            expect((report["record"] is not None) == due, "record")

    @check(f"training file, {_name}: raw weights edited, average left, optimizer kept")
    def _(directory, parts=_parts):
        layout, optimizer, groups, named = parts
        run = Run(optimizer, groups, named)
        saved, raw, ema, _, root, _ = layout(run, 5)
        average = clone(ema)
        file = save(directory / "found", saved)
        before = file.read_bytes()
        report = apply(file)
        expect(report["root"] == root, f"network {report['root']!r}, not {root!r}")
        changed = regenerate(raw)
        expect(report["regenerated"] == sum(int(m.sum()) for m in changed.values()), "count")
        expect_same_bytes(file, save(directory / "wanted", saved))
        expect_equal(ema, average, "the average")
        regen("undo", file)
        expect(file.read_bytes() == before, "undo")

    @check(f"training file, {_name}: --optimizer reset, resume, undo")
    def _(directory, parts=_parts):
        layout, optimizer, groups, named = parts
        run = Run(optimizer, groups, named)
        saved, raw, _, state, _, prefix = layout(run, 5)
        file = save(directory / "found", saved)
        before = file.read_bytes()
        report = apply(file, "--every", 5, "--optimizer", "reset")
        changed = {name.removeprefix(prefix): mask for name, mask in regenerate(raw).items()}
        touched = reset(state, run.order, changed)
        expect(touched > 0, "the check resets nothing")
        expect(report["optimizer_tensors_reset"] == touched, "tensors reset")
        expect_same_bytes(file, save(directory / "wanted", saved))

        # Resume: the edited weights, the optimizer's state, and one step.
        loaded = torch.load(file, weights_only=True)
        found = {k: v for k, v in at(loaded, report["root"]).items() if k.startswith(prefix)}
        found.pop("steps", None)
        model, again = run.fresh()
        model.load_state_dict({k.removeprefix(prefix): v for k, v in found.items()})
        again.load_state_dict(at(loaded, place_of(loaded)))
        expect_equal(model.state_dict(), run.model.state_dict(), "resumed weights")
        step(model, again)
        expect(all(p.isfinite().all() for p in model.parameters()), "the step is not finite")

        regen("undo", file)
        expect(file.read_bytes() == before, "undo")


def place_of(loaded: dict):
    return "optimizer_states" if "optimizer_states" in loaded else "optimizer"


def at(loaded: dict, key: str):
    value = loaded[key]
    return value[0] if isinstance(value, list) else value


for _name, _groups in {"three groups": yolo_groups}.items():

    @check(f"training file, {_name}, an order that is not known: reset refused, keep works")
    def _(directory, groups=_groups):
        run = Run(sgd, groups)
        saved, raw, *_ = torchvision_layout(run, 5)
        file = save(directory / "found", saved)
        before = file.read_bytes()
        refusal = regen("apply", file, "--optimizer", "reset", code=1).stderr
        expect("--optimizer keep" in refusal, refusal)
        expect(file.read_bytes() == before, "the file was touched")
        expect([f.name for f in file.parent.iterdir()] == [file.name], "something was left behind")
        apply(file)
        regenerate(raw)
        expect_same_bytes(file, save(directory / "wanted", saved))


@check("training file, Adafactor: reset refused by the name of what it keeps, keep works")
def _(directory):
    run = Run(lambda groups: torch.optim.Adafactor(groups, 1e-3), one_group)
    saved, raw, *_ = torchvision_layout(run, 5)
    file = save(directory / "found", saved)
    refusal = regen("apply", file, "--optimizer", "reset", code=1).stderr
    expect("row_var" in refusal and "does not know" in refusal, refusal)
    apply(file)
    regenerate(raw)
    expect_same_bytes(file, save(directory / "wanted", saved))


@check("training file, an order of names: reset where positions alone do not tell")
def _(directory):
    run = Run(adamw, yolo_groups)
    saved, raw, _, state, _, _ = torchvision_layout(run, 5)
    file = save(directory / "found", saved)
    regen("apply", file, "--optimizer", "reset", code=1)
    (directory / "order.txt").write_text("".join(f"{name}\n" for name in run.order))
    report = apply(file, "--optimizer", "reset", "--param-order", directory / "order.txt")
    touched = reset(state, run.order, regenerate(raw))
    expect(report["optimizer_tensors_reset"] == touched > 0, "tensors reset")
    expect_same_bytes(file, save(directory / "wanted", saved))


@check("training file, a frozen beginning: reset finds the rest")
def _(directory):
    frozen = lambda name: name.startswith(("features.0.", "features.1.", "features.2."))
    late = lambda model: [
        {"params": [(n, p) for n, p in model.named_parameters() if not frozen(n)]}
    ]
    run = Run(sgd, late)
    saved, raw, _, state, _, _ = torchvision_layout(run, 5)
    file = save(directory / "found", saved)
    report = apply(file, "--optimizer", "reset")
    touched = reset(state, run.order, regenerate(raw))
    expect(report["optimizer_tensors_reset"] == touched > 0, "tensors reset")
    expect_same_bytes(file, save(directory / "wanted", saved))


@check("training file, Adam: the first updates after a reset are of the size of the learning rate")
def _(directory):
    run = Run(adamw, one_group)
    for _ in range(6):
        step(run.model, run.optimizer)
    for name in layers(run.model.state_dict()):
        gamma = run.model.get_parameter(f"{name}.weight").data
        gamma.copy_(torch.rand_like(gamma) + 0.1)
    saved, raw, *_ = torchvision_layout(run, 5)
    file = save(directory / "found", saved)
    apply(file, "--optimizer", "reset")
    loaded = torch.load(file, weights_only=True)
    model, again = run.fresh()
    model.load_state_dict(loaded["model"])
    again.load_state_dict(loaded["optimizer"])
    before = clone(model.state_dict())
    step(model, again)
    after = model.state_dict()
    largest = max(
        float((after[f"{name}.weight"] - before[f"{name}.weight"]).abs().max())
        for name in layers(before)
    )
    # The decay of AdamW takes a little more than the update itself.
    expect(largest <= 2e-3, f"an update of {largest / 1e-3:.1f} times the learning rate")


@check("training file, keys of torchvision without args: the epoch is shown, not guessed")
def _(directory):
    run = Run(sgd, one_group)
    saved, *_ = torchvision_layout(run, 5)
    for change in [lambda s: s.pop("args"), lambda s: s["lr_scheduler"].update(last_epoch=3)]:
        one = {**saved, "lr_scheduler": dict(saved["lr_scheduler"])}
        change(one)
        file = save(directory / str(len(one)), one)
        message = regen("apply", file, "--every", 5, code=2).stderr
        expect("epoch = 4" in message and "--epoch-key epoch+1" in message, message)
        report = apply(file, "--every", 5, "--epoch-key", "epoch+1")
        expect((report["epoch"], report["due"]) == (5, True), f"epoch {report['epoch']}")


@check("training file, torchvision with a count in epoch")
def _(directory):
    run = Run(sgd, one_group)
    for count, due in [(4, False), (5, True)]:
        saved, *_ = torchvision_layout(run, 5)
        saved.update(epoch=count, lr_scheduler={"last_epoch": count})
        report = apply(save(directory / str(count), saved), "--every", 5)
        expect((report["epoch"], report["due"]) == (count, due), f"epoch {report['epoch']}")


@check("training file, before the first optimizer step: reset has nothing to do")
def _(directory):
    run = Run(sgd, one_group)
    run.optimizer = run.fresh()[1]
    saved, raw, *_ = torchvision_layout(run, 5)
    file = save(directory / "found", saved)
    report = apply(file, "--optimizer", "reset")
    expect(report["optimizer_tensors_reset"] == 0, "tensors reset")
    regenerate(raw)
    expect_same_bytes(file, save(directory / "wanted", saved))


@check("training file, DistributedDataParallel: names under module.")
def _(directory):
    run = Run(sgd, one_group)
    raw = {f"module.{key}": value for key, value in run.model.state_dict().items()}
    state = run.optimizer.state_dict()
    saved = {"net": raw, "optimizer": state, "epoch": 4}
    file = save(directory / "found", saved)
    regen("apply", file, "--every", 5, code=2)  # an unknown layout says no epoch
    apply(file, "--every", 5, "--epoch", 5, "--optimizer", "reset")
    changed = {name.removeprefix("module."): mask for name, mask in regenerate(raw).items()}
    reset(state, run.order, changed)
    expect_same_bytes(file, save(directory / "wanted", saved))


@check("training file, the fixture's: epoch 25, due; the average is left")
def _(directory):
    file = fixture("training.pth", directory)
    before = torch.load(file, weights_only=True)
    report = apply(file, "--every", 5, "--optimizer", "reset")
    expect((report["epoch"], report["due"], report["next"]) == (25, True, 30), str(report)[:200])
    after = torch.load(file, weights_only=True)
    expect_equal(after["model_ema"], before["model_ema"], "the average")
    changed = regenerate(before["model"])
    expect_equal(after["model"], before["model"], "the weights")
    model = mobilenet()
    order = [name for name, _ in model.named_parameters()]
    reset(before["optimizer"], order, changed)
    for position, kept in before["optimizer"]["state"].items():
        expect_equal(after["optimizer"]["state"][position], kept, f"state of {order[position]}")


@check("training file, timm's CheckpointSaver: the best checkpoint keeps its weights")
def _(directory):
    try:
        import timm
        import timm.optim
        import timm.utils
    except ImportError:
        raise Skip("timm is not installed")
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv2_035", num_classes=10)
    optimizer = timm.optim.create_optimizer_v2(model, opt="sgd", lr=0.01, weight_decay=1e-4)
    average = timm.utils.ModelEmaV3(model)
    step(model, optimizer)
    for name in layers(model.state_dict()):
        gamma = model.get_parameter(f"{name}.weight").data
        gamma.copy_(torch.rand_like(gamma))
    args = Namespace(model="mobilenetv2_035")
    saver = timm.utils.CheckpointSaver(
        model, optimizer, args=copy.copy(args), model_ema=average, checkpoint_dir=directory,
        recovery_dir=directory,
    )
    saver.save_checkpoint(epoch=4, metric=50.0)
    last, best = directory / "last.pth.tar", directory / "model_best.pth.tar"
    expect(last.samefile(best), "timm no longer links its files")
    original = best.read_bytes()
    report = apply(last, "--every", 5, "--optimizer", "reset")
    expect((report["epoch"], report["due"]) == (5, True), "epoch")
    expect(report["root"] == "state_dict", report["root"])
    expect(best.read_bytes() == original, "the best checkpoint changed")

    before = torch.load(best, weights_only=False)
    changed = regenerate(before["state_dict"])
    names = {id(p): name for name, p in model.named_parameters()}
    order = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    reset(before["optimizer"], order, changed)
    after = torch.load(last, weights_only=False)
    expect_equal(after["state_dict"], before["state_dict"], "the weights")
    expect_equal(after["state_dict_ema"], before["state_dict_ema"], "the average")
    for position, kept in before["optimizer"]["state"].items():
        expect_equal(after["optimizer"]["state"][position], kept, f"state of {order[position]}")

    # What train.py --resume does.
    again = timm.create_model("mobilenetv2_035", num_classes=10)
    resumed = timm.optim.create_optimizer_v2(again, opt="sgd", lr=0.01, weight_decay=1e-4)
    start = timm.models.resume_checkpoint(again, str(last), optimizer=resumed, log_info=False)
    expect(start == 5, f"resumes at epoch {start}")
    expect_equal(again.state_dict(), before["state_dict"], "resumed weights")
    step(again, resumed)
    regen("undo", last)
    expect(last.read_bytes() == original, "undo")

"""The callbacks in the trainers that they are for: two epochs and a resume, beside `apply` on what was
saved."""

import logging
import shutil
from pathlib import Path

import lightning
import timm.optim
import torch
import torchvision
import transformers
from lightning.pytorch.callbacks import ModelCheckpoint
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ckpt_regen
import ckpt_regen.lightning
import ckpt_regen.torch
import ckpt_regen.transformers
from live import spread
from support import check, clone, expect, expect_equal, layers, mobilenet, regen

BATCHES = 3


def images() -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    shown = torch.randint(0, 100, (4 * BATCHES,), generator=generator)
    return TensorDataset(torch.randn(4 * BATCHES, 3, 32, 32, generator=generator), shown)


def gammas(state: dict) -> dict[str, torch.Tensor]:
    """The γ of a state dict, a wrapper's prefix aside."""
    return {f"{n}.weight".removeprefix("net."): state[f"{n}.weight"].clone() for n in layers(state)}


def edited(path: Path, work: Path, *options) -> dict[str, torch.Tensor]:
    """The γ of a checkpoint after `apply` on a copy of it."""
    copy = work / "edited" / path.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        copy.parent.mkdir()
        shutil.copyfile(path, copy)
    regen("apply", copy, *options)
    found = ckpt_regen.inspect(copy)
    return {f"{n}.weight".removeprefix("net."): torch.tensor(g) for n, g in found.gammas().items()}


def expect_gammas(found: dict, wanted: dict, what: str) -> None:
    expect(set(found) == set(wanted) and len(found) > 1, f"{what}: other names")
    for name, gamma in wanted.items():
        expect(torch.equal(found[name].double(), gamma.double()), f"{what}: {name} differs")


def certain() -> nn.Module:
    """A network without dropout: a run resumed is the run."""
    net = spread(mobilenet())
    net.classifier[0].p = 0.0
    return net


class Net(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = certain()

    def training_step(self, batch, place):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, place):
        self.log("loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Watch(lightning.Callback):
    """Notes the γ with which each epoch's first batch is computed."""

    def __init__(self) -> None:
        self.begun: dict[int, dict] = {}

    def on_before_zero_grad(self, trainer, module, optimizer):
        self.begun.setdefault(trainer.current_epoch, gammas(module.state_dict()))


def fit(work: Path, epochs: int, resume: Path | None = None, every_steps: int | None = None):
    """Trains; what is noted, the callback and the trainer."""
    torch.manual_seed(0)
    watch, regeneration = Watch(), ckpt_regen.lightning.Regeneration(every=1, slots="reset")
    when = {"every_n_train_steps": every_steps} if every_steps else {"monitor": "loss"}
    saves = ModelCheckpoint(work, "{epoch}-{step}", save_top_k=-1, **when)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[saves, regeneration, watch],
        logger=lightning.pytorch.loggers.CSVLogger(work),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    loader = DataLoader(images(), 4)
    trainer.fit(Net(), loader, loader, ckpt_path=resume, weights_only=False)
    return watch.begun, regeneration, trainer


@check("hooks: Lightning edits what apply edits in the epoch's checkpoint, and again after a resume")
def lightning_epochs(work: Path) -> None:
    begun, regeneration, trainer = fit(work / "a", 3)
    saved = {n: work / "a" / f"epoch={n}-step={BATCHES * (n + 1)}.ckpt" for n in range(3)}
    for finished in (1, 2):
        wanted = edited(saved[finished - 1], work, "--optimizer", "reset", "--every", "1")
        expect_gammas(begun[finished], wanted, f"epoch {finished}")
    last = gammas(torch.load(saved[2], weights_only=False)["state_dict"])
    expect_gammas(gammas(trainer.lightning_module.state_dict()), last, "the last epoch was edited")
    metrics = (Path(trainer.logger.log_dir) / "metrics.csv").read_text()
    expect("ckpt_regen/regenerated" in metrics and "ckpt_regen/threshold" in metrics, metrics)
    again, regeneration, trainer = fit(work / "b", 3, resume=saved[1])
    expect_gammas(again[2], begun[2], "the resumed epoch")
    expect_gammas(gammas(trainer.lightning_module.state_dict()), last, "the resumed run")


@check("hooks: Lightning resumed within an epoch does not edit twice")
def lightning_within(work: Path) -> None:
    fit(work / "a", 2, every_steps=BATCHES + 1)
    within = work / "a" / f"epoch=1-step={BATCHES + 1}.ckpt"
    saved = gammas(torch.load(within, weights_only=False)["state_dict"])
    begun, regeneration, _ = fit(work / "b", 2, resume=within)
    expect(regeneration.last is None, f"edited again: {regeneration.last}")
    expect_gammas(begun[1], saved, "the first step of the resumed run")


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = certain()

    def forward(self, images, labels):
        logits = self.net(images)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class WatchTrainer(transformers.TrainerCallback):
    def __init__(self) -> None:
        self.begun: dict[int, dict] = {}

    def on_step_begin(self, args, state, control, model=None, **rest):
        self.begun.setdefault(state.global_step, gammas(model.state_dict()))


def train(work: Path, resume: Path | None = None, epochs: int = 3, **settings):
    """Trains with accumulation of two batches, so that an epoch of three has two steps."""
    transformers.set_seed(0)
    watch, regeneration = WatchTrainer(), ckpt_regen.transformers.Regeneration(every=1)
    args = transformers.TrainingArguments(
        output_dir=str(work),
        num_train_epochs=epochs,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        eval_strategy="epoch",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **{"save_strategy": "epoch", **settings},
    )
    trainer = transformers.Trainer(
        model=Classifier(),
        args=args,
        train_dataset=images(),
        eval_dataset=images(),
        data_collator=lambda rows: {
            "images": torch.stack([row[0] for row in rows]),
            "labels": torch.stack([row[1] for row in rows]),
        },
        callbacks=[regeneration, watch],
    )
    trainer.train(resume_from_checkpoint=resume and str(resume))
    return watch.begun, regeneration, trainer


@check("hooks: transformers edits what apply edits in the epoch's checkpoint, and again after a resume")
def transformers_epochs(work: Path) -> None:
    begun, regeneration, trainer = train(work / "a")
    for finished in (1, 2):
        wanted = edited(work / "a" / f"checkpoint-{2 * finished}", work, "--every", "1")
        expect_gammas(begun[2 * finished], wanted, f"epoch {finished}")
    final = gammas(trainer.model.state_dict())
    saved = ckpt_regen.inspect(work / "a" / "checkpoint-6").gammas()
    saved = {f"{n}.weight".removeprefix("net."): torch.tensor(g) for n, g in saved.items()}
    expect_gammas(final, saved, "the last epoch was edited")
    entries = [e for e in trainer.state.log_history if "regenerated" in e]
    expect([e["epoch"] for e in entries] == [1.0, 2.0], f"{entries}")
    again, _, trainer = train(work / "b", resume=work / "a" / "checkpoint-4")
    expect_gammas(again[4], begun[4], "the resumed epoch")
    expect_gammas(gammas(trainer.model.state_dict()), final, "the resumed run")


@check("hooks: transformers resumed within an epoch does not edit twice")
def transformers_within(work: Path) -> None:
    begun, _, trainer = train(work / "a", epochs=2, save_strategy="steps", save_steps=3)
    final = gammas(trainer.model.state_dict())
    within = work / "a" / "checkpoint-3"
    _, regeneration, trainer = train(work / "b", resume=within, epochs=2, save_strategy="no")
    expect(regeneration.last is None, f"edited again: {regeneration.last}")
    expect_gammas(gammas(trainer.model.state_dict()), final, "the resumed run")
    # Where batches are not skipped, the epoch that was broken off is begun anew, and edited once.
    skips = {"save_strategy": "no", "ignore_data_skip": True}
    begun, regeneration, _ = train(work / "c", resume=within, epochs=3, **skips)
    expect(list(begun)[0] == 3 and regeneration.last is not None, f"{list(begun)}")


def loop(work: Path, epochs: int, resume: dict | None = None):
    """A training loop in the manner of timm's train.py, with its saver and its average."""
    torch.manual_seed(0)
    model = spread(timm.create_model("mobilenetv3_small_050", num_classes=100))
    optimizer = timm.optim.create_optimizer_v2(model, opt="sgd", lr=0.01, momentum=0.9)
    average, first, begun = ModelEmaV3(model, decay=0.9), 0, {}
    if resume is not None:
        model.load_state_dict(resume["state_dict"])
        optimizer.load_state_dict(resume["optimizer"])
        average.module.load_state_dict(resume["state_dict_ema"])
        first = resume["epoch"] + 1
    work.mkdir()
    saver = CheckpointSaver(model, optimizer, model_ema=average, checkpoint_dir=str(work))
    for epoch in range(first, epochs):
        kept = clone(average.module.state_dict())
        ckpt_regen.torch.regenerate_at(epoch, model, optimizer, every=1)
        expect_equal(average.module.state_dict(), kept, "the average")
        begun[epoch] = gammas(model.state_dict())
        model.train()
        for shown, label in DataLoader(images(), 4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(shown), label).backward()
            optimizer.step()
            average.update(model)
        saver.save_checkpoint(epoch, metric=float(epoch))
        shutil.copyfile(work / "last.pth.tar", work / f"epoch-{epoch}.pth.tar")
    return begun, model


@check("hooks: one line in timm's loop edits what apply edits in its checkpoint, and again after a resume")
def timm_epochs(work: Path) -> None:
    begun, model = loop(work / "a", 3)
    saved = [work / "a" / f"epoch-{epoch}.pth.tar" for epoch in range(3)]
    for finished in (1, 2):
        wanted = edited(saved[finished - 1], work, "--every", "1")
        expect_gammas(begun[finished], wanted, f"epoch {finished}")
    again, resumed = loop(work / "b", 3, resume=torch.load(saved[1], weights_only=False))
    expect_gammas(again[2], begun[2], "the resumed epoch")
    expect_gammas(gammas(resumed.state_dict()), gammas(model.state_dict()), "the resumed run")


@check("hooks: an edit that would do harm is a warning; what is wrong from the start is an error")
def warnings(work: Path) -> None:
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logging.getLogger("ckpt_regen").addHandler(handler)
    model = spread(mobilenet())
    before = clone(model.state_dict())
    keywords = {"below": "quantile:0.9", "to": 1e-3}
    done = ckpt_regen.torch.regenerate_at(1, model, every=1, **keywords)
    expect(done is None and "training goes on" in heard[0], f"{heard}")
    expect_equal(model.state_dict(), before, "the module")
    for wrong in (
        lambda: ckpt_regen.torch.regenerate_at(1, nn.Linear(2, 2), every=1),
        lambda: ckpt_regen.lightning.Regeneration(every=1, rul="paper"),
        lambda: ckpt_regen.transformers.Regeneration(every=0),
    ):
        try:
            wrong()
        except ckpt_regen.Error:
            continue
        raise AssertionError("not refused")

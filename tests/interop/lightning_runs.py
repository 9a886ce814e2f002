"""Lightning itself: however it saves, the epochs are counted right, and it resumes from the edit."""

import logging
import warnings

import torch

from support import Skip, apply, check, clone, expect, expect_equal, regen, regenerate


def lightning():
    try:
        import lightning
    except ImportError:
        raise Skip("lightning is not installed")
    warnings.filterwarnings("ignore")
    for name in ["lightning.pytorch", "lightning.fabric"]:
        logging.getLogger(name).setLevel(logging.ERROR)
    return lightning


def network(L, seen=None):
    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = torch.nn.Conv2d(1, 8, 1), torch.nn.BatchNorm2d(8)
            self.head = torch.nn.BatchNorm2d(8)

        def loss(self, batch):
            return self.head(self.bn(self.conv(batch[0])).relu()).square().mean()

        def training_step(self, batch, _):
            return self.loss(batch)

        def validation_step(self, batch, _):
            self.log("loss", self.loss(batch))

        def on_train_start(self):
            if seen is not None:
                seen.append((clone(self.state_dict()), self.current_epoch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    L.seed_everything(0)
    net = Net()
    for layer in [net.bn, net.head]:
        layer.weight.data = torch.rand(8) + 0.1
    return net


def trainer(L, folder, callbacks, **options):
    options = {"max_epochs": 6, **options}
    return L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, callbacks=callbacks, **options,
    )


def data():
    torch.manual_seed(1)
    images = torch.utils.data.TensorDataset(torch.randn(8, 1, 2, 2))
    return torch.utils.data.DataLoader(images, batch_size=2)


# How a checkpoint of the fifth epoch comes about: options of ModelCheckpoint and of the trainer.
WAYS = {
    "at the end of the epoch": ({"save_on_train_epoch_end": True}, {}, 5),
    "from validation inside the epoch": ({"save_on_train_epoch_end": False}, {}, 5),
    "validating every other epoch": ({}, {"check_val_every_n_epoch": 2}, 4),
    "by the trainer after a finished fit": (None, {"max_epochs": 5}, 5),
    "after a number of steps": (None, {"max_epochs": -1, "max_steps": 20}, 5),
}

for _way, _parts in WAYS.items():

    @check(f"Lightning, saved {_way}: due in time, resumes from the edited weights")
    def _(directory, parts=_parts):
        L = lightning()
        from lightning.pytorch.callbacks import ModelCheckpoint

        keep, options, finished = parts
        callbacks = []
        if keep is not None:
            callbacks = [ModelCheckpoint(directory, filename="{epoch}", save_top_k=-1, **keep)]
        run = trainer(L, directory, callbacks, enable_checkpointing=bool(callbacks), **options)
        run.fit(network(L), data(), data())
        if keep is None:
            file = directory / "own.ckpt"
            run.save_checkpoint(file)
        else:
            file = directory / f"epoch={finished - 1}.ckpt"
        wanted = torch.load(file, weights_only=False)["state_dict"]
        report = apply(file, "--every", 5)
        expect(report["epoch"] == finished, f"epoch {report['epoch']}, not {finished}")
        expect(report["due"] == (finished == 5), "due")
        if report["due"]:
            expect(report["regenerated"] > 0, "nothing regenerated")
            regenerate(wanted)
        seen = []
        options = {"max_epochs": 7}
        again = trainer(L, directory / "again", [], enable_checkpointing=False, **options)
        again.fit(network(L, seen), data(), data(), ckpt_path=file, weights_only=False)
        weights, epoch = seen[0]
        expect_equal(weights, wanted, "resumed weights")
        expect(again.current_epoch == 7, f"ends at {again.current_epoch}")


@check("Lightning, save_last=link: the link is refused, following it is said")
def _(directory):
    L = lightning()
    from lightning.pytorch.callbacks import ModelCheckpoint

    keep = ModelCheckpoint(
        directory, filename="{epoch}", save_top_k=-1, save_last="link", save_on_train_epoch_end=True
    )
    trainer(L, directory, [keep], max_epochs=5).fit(network(L), data(), data())
    last = directory / "last.ckpt"
    expect(last.is_symlink(), "Lightning no longer links its last checkpoint")
    expect("symbolic link" in regen("apply", last, "--every", 5, code=1).stderr, "refusal")
    said = regen("apply", last, "--every", 5, "--follow-symlinks").stderr
    expect("is a link to" in said and "epoch=4.ckpt" in said, said)

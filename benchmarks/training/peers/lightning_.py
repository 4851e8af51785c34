"""Lightning with its defaults: DataLoader, float32; bar, logger and checkpoints off, so that only steps count."""

import logging
import time
import warnings

import lightning
import torch
from protocol import BATCH, LEARNING_RATE, serve
from torch.utils.data import DataLoader, TensorDataset
from torch_models import cnn, mlp

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Module(lightning.LightningModule):
    def __init__(self, network):
        super().__init__()
        self.network, self.loss, self.seconds = network, torch.nn.CrossEntropyLoss(), 0.0

    def training_step(self, batch, index):
        x, y = batch
        return self.loss(self.network(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)

    def on_train_epoch_start(self):
        self.begun = time.perf_counter()

    def on_train_epoch_end(self):
        self.seconds = time.perf_counter() - self.begun


def make(model, features, targets):
    x = torch.from_numpy(features)
    x = x.permute(0, 3, 1, 2).float() / 255 if model == "cnn" else x
    loader = DataLoader(TensorDataset(x, torch.from_numpy(targets)), batch_size=BATCH[model], shuffle=True)
    module = Module(cnn() if model == "cnn" else mlp(x.shape[1]))

    def epoch():
        trainer = lightning.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, loader)
        return len(targets), module.seconds

    return epoch


serve(make)

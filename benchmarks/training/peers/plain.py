"""A plain PyTorch loop with a DataLoader, float32, as tutorials show it; on a GPU with pinned memory and a worker."""

import os
import time

import torch
from protocol import BATCH, LEARNING_RATE, serve
from torch.utils.data import DataLoader, TensorDataset
from torch_models import cnn, mlp

DEVICE = os.environ.get("PEER_DEVICE", "cpu")
LOADER = {"num_workers": 2, "pin_memory": True, "persistent_workers": True} if DEVICE == "cuda" else {}


def make(model, features, targets):
    x = torch.from_numpy(features)
    x = x.permute(0, 3, 1, 2).float() / 255 if model == "cnn" else x
    loader = DataLoader(TensorDataset(x, torch.from_numpy(targets)), batch_size=BATCH, shuffle=True, **LOADER)
    network = (cnn() if model == "cnn" else mlp(x.shape[1])).to(DEVICE)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    loss = torch.nn.CrossEntropyLoss()

    def epoch():
        begun = time.perf_counter()
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss(network(batch.to(DEVICE, non_blocking=True)), wanted.to(DEVICE, non_blocking=True)).backward()
            optimizer.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return len(targets), time.perf_counter() - begun

    return epoch


serve(make)

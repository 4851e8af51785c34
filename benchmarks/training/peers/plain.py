"""A plain PyTorch loop with a DataLoader, float32, as tutorials show it."""

import time

import torch
from protocol import BATCH, LEARNING_RATE, serve
from torch.utils.data import DataLoader, TensorDataset
from torch_models import cnn, mlp


def make(model, features, targets):
    x = torch.from_numpy(features)
    x = x.permute(0, 3, 1, 2).float() / 255 if model == "cnn" else x
    loader = DataLoader(TensorDataset(x, torch.from_numpy(targets)), batch_size=BATCH[model], shuffle=True)
    network = cnn() if model == "cnn" else mlp(x.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    loss = torch.nn.CrossEntropyLoss()

    def epoch():
        begun = time.perf_counter()
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss(network(batch), wanted).backward()
            optimizer.step()
        return len(targets), time.perf_counter() - begun

    return epoch


serve(make)

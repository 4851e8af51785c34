"""A plain PyTorch loop over texts, float32: padded to one length, or batches of like length cut to their longest.

`PEER_BATCHES` says which: "padded" is what tutorials show; "bucketed" is what a careful hand makes of it: it sorts by
length within windows of 50 batches, takes the fused Adam, and lets the processor take denormal numbers as 0. Packed
sequences are left out: on a CPU their backward takes time with the square of the length, 18 s instead of 1.1 s a step
of 64 texts of 400 tokens.
"""

import os
import time

import torch
from protocol import BATCH, LEARNING_RATE, serve
from torch.utils.data import DataLoader, TensorDataset
from torch_models import Encoder, Lstm

WINDOW = 50
HOW = os.environ["PEER_BATCHES"]


class LikeLengths(torch.utils.data.Sampler):
    """Rows sorted by length within windows of shuffled rows; their batches in an order drawn anew."""

    def __init__(self, lengths, size):
        self.lengths, self.size = lengths, size

    def __len__(self):
        return -(-len(self.lengths) // self.size)

    def __iter__(self):
        for window in torch.randperm(len(self.lengths)).split(WINDOW * self.size):
            batches = window[self.lengths[window].argsort()].split(self.size)
            for number in torch.randperm(len(batches)):
                yield batches[number].tolist()


def cut(rows):
    """Return a batch without the columns that are padding in every row."""
    tokens, targets = torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])
    return tokens[:, : int((tokens != 0).sum(1).max())], targets


def make(model, features, targets):
    tokens = torch.from_numpy(features).long()
    rows = TensorDataset(tokens, torch.from_numpy(targets))
    if HOW == "padded":
        loader = DataLoader(rows, batch_size=BATCH[model], shuffle=True)
    else:
        sampler = LikeLengths((tokens != 0).sum(1), BATCH[model])
        loader = DataLoader(rows, batch_sampler=sampler, collate_fn=cut)
    network = Lstm() if model == "lstm" else Encoder()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=HOW == "bucketed")
    loss = torch.nn.CrossEntropyLoss()

    def epoch():
        begun = time.perf_counter()
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss(network(batch), wanted).backward()
            optimizer.step()
        return len(targets), time.perf_counter() - begun

    return epoch


torch.set_flush_denormal(HOW == "bucketed")
serve(make)

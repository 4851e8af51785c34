"""Keras with the backend and precision that the environment names: model.compile and model.fit on NumPy arrays."""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from protocol import BATCH, LEARNING_RATE, serve

keras.config.set_dtype_policy(os.environ.get("PEER_PRECISION", "float32"))


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.begun


def network(model, features):
    layers = keras.layers
    if model == "cnn":
        return keras.Sequential([
            layers.Input((28, 28, 1)), layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"), layers.MaxPool2D(),
            layers.Conv2D(64, 3, activation="relu"), layers.MaxPool2D(),
            layers.Conv2D(64, 3, activation="relu"), layers.Flatten(),
            layers.Dense(64, activation="relu"), layers.Dense(10, dtype="float32"),
        ])  # fmt: skip
    return keras.Sequential([
        layers.Input(features.shape[1:]), layers.Dense(256, activation="relu"), layers.Dropout(0.1),
        layers.Dense(128, activation="relu"), layers.Dropout(0.1), layers.Dense(2, dtype="float32"),
    ])  # fmt: skip


def make(model, features, targets):
    built = network(model, features)
    built.compile(keras.optimizers.Adam(LEARNING_RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    clock = Clock()

    def epoch():
        built.fit(features, targets, batch_size=BATCH, epochs=1, verbose=0, callbacks=[clock])
        return len(targets), clock.seconds

    epoch()  # the first epoch builds and compiles the graph
    return epoch


serve(make)

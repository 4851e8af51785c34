"""Keras with the backend and precision that the environment names: model.compile and model.fit on NumPy arrays."""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from protocol import BATCH, LEARNING_RATE, LENGTH, VOCABULARY, serve

keras.config.set_dtype_policy(os.environ.get("PEER_PRECISION", "float32"))


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.begun


def network(model, features):
    layers = keras.layers
    if model in ("lstm", "transformer"):
        return lstm() if model == "lstm" else transformer()
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


class Places(keras.layers.Layer):
    """Adds what is learnt of each place to the tokens' vectors."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def build(self, shape):
        self.places = self.add_weight(shape=shape[1:], initializer="random_normal", name="places")

    def call(self, x):
        return x + keras.ops.cast(self.places, x.dtype)[None]


def lstm():
    layers = keras.layers
    return keras.Sequential([
        layers.Input((LENGTH,), dtype="int32"), layers.Embedding(VOCABULARY, 100, mask_zero=True), layers.Dropout(0.3),
        layers.Bidirectional(layers.LSTM(128, return_sequences=True)), layers.GlobalAveragePooling1D(),
        layers.Dropout(0.3), layers.Dense(2, dtype="float32"),
    ])  # fmt: skip


def transformer():
    layers = keras.layers
    tokens = layers.Input((LENGTH,), dtype="int32")
    x = layers.Dropout(0.2)(Places()(layers.Embedding(VOCABULARY, 128, mask_zero=True)(tokens)))
    for _ in range(2):
        normal = layers.LayerNormalization(epsilon=1e-5)(x)
        seen = layers.MultiHeadAttention(4, 32, dropout=0.2)(normal, normal)
        x = layers.Add()([x, layers.Dropout(0.2)(seen)])
        wide = layers.Dense(512, activation="gelu")(layers.LayerNormalization(epsilon=1e-5)(x))
        x = layers.Add()([x, layers.Dropout(0.2)(layers.Dense(128)(wide))])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-5)(x))
    return keras.Model(tokens, layers.Dense(2, dtype="float32")(layers.Dropout(0.2)(x)))


def make(model, features, targets):
    built = network(model, features)
    built.compile(keras.optimizers.Adam(LEARNING_RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    clock = Clock()

    def epoch():
        built.fit(features, targets, batch_size=BATCH[model], epochs=1, verbose=0, callbacks=[clock])
        return len(targets), clock.seconds

    epoch()  # the first epoch builds and compiles the graph
    return epoch


serve(make)

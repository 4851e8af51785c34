"""The recipe's types: what a recipe may say, level by level. Unknown keys are refused at every level.

`model`, `objective` and `optimizer` name a registered part; the arguments beside `name` are that part's own and are
checked against its signature (`bedplate.core.registry`), which needs the workshop and so happens in `plan`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bedplate.recipe.search import SearchSpec


class Section(BaseModel):
    """One level of a recipe: immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _label(given: Any) -> Any:
    """Return a label that is written as a number, such as 1, as the text that it is in the data."""
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


class Part(BaseModel):
    """A registered part by name, with its own arguments beside it."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments beside `name`."""
        return dict(self.model_extra or {})


class ColumnSpec(Section):
    """What is known of one column of a table, where inference should not decide."""

    type: Literal["number", "category", "date", "identifier", "text", "ignore"] | None = None
    missing: list[str] = Field(default_factory=list, description="texts that mean missing, beside the usual ones")
    strip: str | None = Field(None, description="characters cut from both ends of every value, such as '.'")


class SplitSpec(Section):
    """How rows without an official split are divided."""

    by: Literal["random", "group", "time"] = "random"
    column: str | None = Field(None, description="the group or time column, for by: group and by: time")
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.15,
        description="share of the rows, as `validation` is; for language-modelling 0.05 of each where nothing is "
        "said, and 0 judges the validation part, as the literature has it",
    )
    stratify: bool = True
    seed: Annotated[int, Field(ge=0, lt=2**53)] | None = Field(None, description="left out: the recipe's seed")
    folds: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None, description="cross-validation: divide into so many folds and judge on the one that `fold` names"
    )
    fold: Annotated[int, Field(ge=0)] | None = Field(None, description="which fold is judged, from 0")


class ImageSpec(Section):
    """The size and channels at which images enter the model; left out, they are chosen from the data."""

    height: Annotated[int, Field(ge=1, le=2048)] | None = None
    width: Annotated[int, Field(ge=1, le=2048)] | None = None
    channels: Literal[1, 3] | None = None
    resize: Literal["stretch", "pad", "crop"] = "stretch"
    mean: list[Annotated[float, Field(ge=0, le=255)]] | None = Field(
        None, description="of each channel, 0 to 255, taken off every pixel; left out: the training pixels'"
    )
    std: list[Annotated[float, Field(gt=0, le=255)]] | None = Field(
        None, description="of each channel, what pixels are divided by; left out: the training pixels'"
    )


class TemplateSpec(Section):
    """How each role's messages stand in the text of a talk."""

    system: str | None = Field(None, description="text with `{content}` in it, once; left out: `{content}⏎`")
    user: str | None = Field(None, description="likewise; left out: `User: {content}⏎`")
    assistant: str | None = Field(
        None,
        description="likewise; left out: `Assistant: {content}⏎`. Where the assistant is to answer, a text ends before "
        "`{content}`, and before the white space there",
    )


class TextSpec(Section):
    """How texts become tokens; left out, it is chosen from the training rows."""

    column: str | None = Field(
        None, description="of a table, the column that holds the texts; left out: that of the longest"
    )
    tokenizer: str | None = Field(
        None,
        description="a tokenizer.json made elsewhere, or a folder that holds one, taken as it is; left out: the one "
        "beside the weights of training.start, or one that is learnt",
    )
    tokens: Literal["word", "character", "bpe", "wordpiece"] | None = None
    size: Annotated[int, Field(ge=300, le=1_000_000)] | None = Field(None, description="how many tokens are learnt")
    length: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None,
        description="how many tokens of a text are read; left out: what 95 % of the training texts keep to, and "
        "256 for language-modelling",
    )
    lower: bool = Field(
        True,
        description="read capitals as small letters; for language-modelling and text-to-text only where it is said",
    )
    messages: str | None = Field(
        None,
        description="of text-to-text: the column that holds talks, lists of `{role, content}` as OpenAI's fine-tuning "
        "has them; each message of the assistant is learnt as the answer to all before it",
    )
    template: TemplateSpec | None = Field(
        None, description="of talks: how each role's messages become text, here and as it is served (⏎ is a line end)"
    )


class SeriesSpec(Section):
    """How a time series becomes windows: a past that is read, and the future to forecast."""

    time: str | None = Field(None, description="the column of times; left out: rows follow one another at equal steps")
    by: str | None = Field(
        None, description="the column that names a row's series, where several lie below one another; each is forecast"
    )
    columns: list[str] = Field(default_factory=list, description="what is read and forecast beside the target")
    history: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="steps that are read; left out: four times the horizon, at least 24"
    )
    horizon: Annotated[int, Field(ge=1, le=10_000)] = Field(24, description="steps that are forecast")
    step: Annotated[str, Field(pattern=r"^[1-9]\d{0,5} ?(s|min|h|d|w)$")] | None = Field(
        None,
        description="rows are gathered into steps of this length, such as 30s, 15min, 1h, 1d or 1w, whenever they are, "
        "here and as it is served; left out: rows lie at equal steps",
    )
    gather: Literal["mean", "sum", "first", "last", "min", "max"] = Field(
        "mean", description="with `step`: what becomes of the rows in one step; a sum of no rows is 0"
    )
    interpolate: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0,
        description="gaps of at most so many steps are filled on a line, here and as it is served; no window crosses "
        "a longer one",
    )
    duplicates: Literal["error", "first", "mean"] = Field(
        "error", description="what to do with rows of one time, here and as it is served"
    )
    calendar: list[Literal["day", "week", "year"]] = Field(
        default_factory=list, description="cycles in which the latest step's place is read beside the history"
    )
    season: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None,
        description="steps after which the series is alike, for the seasonal baseline and MASE; left out: a day of "
        "hours, a week of days, a year of weeks, months or quarters",
    )
    rows: Annotated[int, Field(ge=10)] | None = Field(
        None, description="use the earliest so many rows alone (of several series: steps)"
    )


class FilesSpec(Section):
    """Official splits that lie in files of their own."""

    train: str
    validation: str | None = None
    test: str | None = None


class StreamSpec(Section):
    """Training rows that are larger than memory: shards, read as they are needed."""

    window_mib: Annotated[int, Field(ge=1, le=65_536)] = Field(
        64, description="MiB of decoded rows that are shuffled among one another; two such windows are held"
    )
    sample: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        20_000, description="training rows, spread evenly, on which the schema, the codec and the baselines are fitted"
    )
    image: str | None = Field(
        None, description="the Parquet column, or the ending of the tar's members, that holds the images"
    )


class DataSpec(Section):
    """Where the rows come from and how they are read."""

    source: str | None = Field(
        None,
        description="embedded (digits, breast-cancer, diabetes, wine), named (mnist, fashion-mnist, cifar10-jpeg), "
        "or a path to a folder or archive of images by class, to a CSV, Parquet or JSONL table, to plain texts, "
        "or (text-to-text) to two files of parallel lines, lines.{de,en}, or a table of talks",
    )
    files: FilesSpec | None = Field(None, description="instead of source: a file for each official split")
    stream: StreamSpec | None = Field(
        None, description="read the training rows from Parquet or WebDataset shards while training"
    )
    target: str | None = Field(None, description="the column to predict")
    names: list[str] | None = Field(None, description="column names of a table without a header")
    columns: dict[str, ColumnSpec] = Field(default_factory=dict)
    delimiter: str | None = None
    encoding: str | None = None
    comment: str | None = Field(None, description="lines that begin with this are skipped")
    label_columns: list[str] | None = Field(
        None, min_length=1,
        description="instead of target: a column of zeros and ones for each label (multi-label-classification)",
    )  # fmt: skip
    label_separator: str | None = Field(
        None, min_length=1, max_length=8,
        description="what stands between two labels of a row (multi-label-classification); left out: `|`, `;` or `,`, "
        "the first that occurs, or nothing where cells are JSON lists",
    )  # fmt: skip
    positive: Annotated[str | None, BeforeValidator(_label, json_schema_input_type=str | int | None)] = Field(
        None, description="the label that precision, recall, F1, AUROC and AUPRC speak of"
    )
    image: ImageSpec = ImageSpec()
    text: TextSpec = TextSpec()
    series: SeriesSpec = SeriesSpec()
    split: SplitSpec = SplitSpec()
    on_bad_row: Literal["error", "skip"] = Field(
        "error", description="what to do with a row or file that can't be read"
    )
    limit: Annotated[int, Field(ge=2)] | None = Field(None, description="at most so many training rows, chosen evenly")


class EarlyStoppingSpec(Section):
    """Stop when the validation figure has not improved for `patience` epochs."""

    patience: Annotated[int, Field(ge=1)] = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class StartSpec(Section):
    """Weights to begin with, from a bundle, a run, a checkpoint, a safetensors file or a PyTorch state dict."""

    weights: str = Field(
        min_length=1,
        description="a bundle, a run's folder, a safetensors file, a PyTorch state dict, or the folder of a "
        "Hugging Face checkpoint (config.json beside model.safetensors), which also decides model, sizes and tokenizer",
    )
    keys: dict[str, str] = Field(
        default_factory=dict,
        description="how the file's names become the model's: regular expression → replacement, applied in order",
    )
    strict: bool = Field(False, description="refuse to train unless every weight of the model was found")


class PretrainSpec(Section):
    """Masked-language pre-training: before it learns labels, the model learns which tokens of a text were hidden."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = Field(description="passes over the texts")
    masked: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="share of a text's own tokens that are to be told; one at the least"
    )
    texts: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="texts without labels beside the training ones: a file with a text a line, a table, or a folder or "
        "archive with a text a file",
    )
    lr: Annotated[float, Field(gt=0)] | None = Field(
        None, description="the highest learning rate; left out: 5e-4, and 1e-4 where training starts from weights"
    )
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(32, description="texts a step")


class PseudoLabelSpec(Section):
    """Semi-supervised learning: label rows without labels where the model is sure of them, and train again."""

    source: str = Field(description="rows without labels: a table, or a folder or archive of images")
    threshold: Annotated[float, Field(gt=0.5, le=1)] = Field(0.95, description="least probability of a taken label")
    balance: bool = Field(
        False, description="take of each class at most its share among the labelled rows, the surest first"
    )
    rounds: Annotated[int, Field(ge=1, le=10)] = Field(
        1, description="how often rows are labelled and the network is trained again; the best round is kept"
    )


class WorkersSpec(Section):
    """Processes that train one model together, each on its share of every batch; `workers: 2` is `count: 2`."""

    count: Annotated[int, Field(ge=1, le=1024)] = 1
    engine: Literal["torchrun", "ray"] = Field(
        "torchrun", description="who starts the workers: torchrun on this machine, or Ray Train on its cluster"
    )
    restarts: Annotated[int, Field(ge=0, le=1000)] = Field(
        3, description="how often all workers start again from the last checkpoint after one was lost"
    )
    address: str | None = Field(
        None, description="of the Ray cluster, ray://HOST:PORT or HOST:PORT; left out: one on this machine"
    )


def _count(given: Any) -> Any:
    """Let a number stand for so many workers."""
    return {"count": given} if isinstance(given, int) and not isinstance(given, bool) else given


class TrainingSpec(Section):
    """How the weights are moved."""

    epochs: Annotated[int, Field(ge=0, le=100_000)] = Field(10, description="0: the weights of `start` as they are")
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] = 128
    accumulate: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1, description="one step every so many batches, with their mean gradient"
    )
    optimizer: Part = Part(name="adamw", lr=1e-3)
    schedule: Part = Part(name="one-cycle")
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    l1: Annotated[float, Field(ge=0, le=1000)] = Field(0.0, description="L1 penalty on matrices and kernels")
    l2: Annotated[float, Field(ge=0, le=1000)] = Field(0.0, description="L2 penalty (half its square), likewise")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="decay of the moving average of the weights, which is then validated and kept"
    )
    sampling: Literal["shuffled", "balanced"] = Field(
        "shuffled", description="balanced: every class is drawn equally often, with replacement"
    )
    freeze: list[str] = Field(default_factory=list, description="weights left as they are: patterns such as 'stem.*'")
    rates: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="discriminative learning rates: pattern of weights → factor"
    )
    start: StartSpec | None = None
    pretrain: PretrainSpec | None = Field(
        None, description="of texts, by `bert` or `transformer-encoder`: learn from texts without labels first"
    )
    pseudo_labels: PseudoLabelSpec | None = None
    early_stopping: EarlyStoppingSpec | None = None
    augment: Part | list[Part] | None = None
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 10.0
    workers: Annotated[WorkersSpec, BeforeValidator(_count, json_schema_input_type=WorkersSpec | int)] = WorkersSpec()
    threads: Annotated[int, Field(ge=1)] | None = Field(None, description="left out: as many as the machine grants")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="bf16: autocast with fp32 master weights; auto: measured on this machine"
    )
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    compile: bool | Literal["auto"] = "auto"
    tensorboard: bool = Field(False, description="write TensorBoard event files into the run's train/tensorboard")


class EmbeddingSpec(Section):
    """What a vector that stands for a row looks like."""

    size: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        None, description="how many numbers; left out: the model's own size"
    )
    normalise: bool = Field(True, description="divide each vector by its length, inside the graph")


class EvaluationSpec(Section):
    """How the model is judged."""

    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    slices: list[str] | None = Field(None, description="columns to slice by; left out: every column with few values")
    baselines: bool = True
    beams: Annotated[int, Field(ge=1, le=16)] = Field(
        1, description="of text-to-text: how many answers are followed side by side, here and as it is served"
    )


class BudgetSpec(Section):
    """What a compressed model may cost, and how hard to look for it; a limit that is left out doesn't count."""

    max_latency_ms: Annotated[float, Field(ge=0)] | None = Field(None, description="median milliseconds of one row")
    max_size_mb: Annotated[float, Field(ge=0)] | None = Field(None, description="of the graph, in 10^6 bytes")
    max_drop: Annotated[float, Field(ge=0)] | None = Field(
        None, description="upper bound of what is lost: points of a rate, relative percent of an error"
    )
    metric: str | None = Field(None, description="of which the drop is; left out: the task's leading metric")
    effort: Literal["quick", "normal", "thorough"] = "normal"
    target: Literal["this", "avx2", "vnni", "arm"] = Field(
        "this", description="the processor that int8 is made for; times are taken on this machine all the same"
    )


class UnlabelledSpec(Section):
    """Rows without labels, from which students learn what the teacher answers."""

    source: str = Field(description="a table, or a folder or archive of images")
    threshold: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="least probability of a taken answer")


class CompressionSpec(Section):
    """Which smaller or faster variants to try, and what they may cost."""

    methods: list[str] = Field(default_factory=lambda: ["int8-static", "int8-dynamic"])
    max_drop: Annotated[float, Field(ge=0)] = Field(
        1.0, description="percentage points of accuracy (classification) or relative percent of RMSE (regression)"
    )
    calibration_rows: Annotated[int, Field(ge=8, le=10_000)] = 256
    budget: BudgetSpec | None = Field(
        None, description="search for a smaller or faster model when the run is done, as `bedplate compress RUN` does"
    )
    student: Part | None = Field(None, description="a model to distil into, beside the original made narrower")
    teachers: list[str] = Field(
        default_factory=list, description="bundles that students learn from beside the original, as an ensemble"
    )
    distillation: Part = Part(name="soft-target")
    unlabelled: UnlabelledSpec | None = None


class GateSpec(Section):
    """Floors and ceilings for test metrics, by metric name; a run that misses one ends with exit code 1."""

    minimum: dict[str, float] = Field(default_factory=dict)
    maximum: dict[str, float] = Field(default_factory=dict)


class ServingSpec(Section):
    """What the bundle says to its server."""

    name: str | None = None
    golden: Literal["rows", "synthetic"] = Field("rows", description="'synthetic' where raw rows must not leave")
    golden_rows: Annotated[int, Field(ge=1, le=256)] = 64
    false_alarm_rate: Annotated[float, Field(gt=0, lt=0.5)] = Field(0.01, description="per window, of drift alarms")
    window: Annotated[int, Field(ge=50, le=100_000)] = Field(500, description="rows in one drift window")


class Recipe(Section):
    """One recipe: a whole life in one file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    task: Literal[
        "forecasting",
        "image-classification",
        "language-modelling",
        "multi-label-classification",
        "tabular-classification",
        "tabular-regression",
        "text-classification",
        "text-embedding",
        "text-to-text",
        "token-classification",
    ]
    data: DataSpec
    model: Part | None = None
    objective: Part | None = None
    embedding: EmbeddingSpec = EmbeddingSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    compression: CompressionSpec = CompressionSpec()
    gate: GateSpec = GateSpec()
    serving: ServingSpec = ServingSpec()
    search: SearchSpec | None = Field(None, description="what `bedplate sweep` may change; no run reads it")
    plugins: list[str] = Field(default_factory=list)

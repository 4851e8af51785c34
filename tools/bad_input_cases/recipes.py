"""Bad command lines and recipes."""

from __future__ import annotations

from tools.bad_input_cases.case import Case, Place

GROUP = "The command line and the recipe"
GOOD = "name: a\ntask: tabular-classification\ndata: {source: a.csv, target: y}\n"


def _case(sent: str, recipe: str, *says: str, words: str = "plan a.yaml") -> Case:
    return Case(GROUP, sent, words, says, build=lambda place: place.text("a.yaml", recipe))


def _plugin(place: Place, source: str) -> None:
    place.text("a.yaml", GOOD + "plugins: [mine.py]\n")
    place.text("mine.py", source)


CASES = (
    Case(GROUP, "an unknown command", "trian digits", ("did you mean 'train'?",)),
    Case(GROUP, "an unknown flag", "run digits --epochs 3", ("unrecognized arguments: --epochs",)),
    Case(GROUP, "no such recipe", "run digitz", ("no such recipe", "did you mean 'digits'?")),
    Case(GROUP, "a folder for a recipe", "run .", ("a folder is not a recipe", "bedplate init")),
    Case(
        GROUP,
        "a picture for a recipe",
        "run a.yaml",
        ("the recipe can't be read", "expected UTF-8 text", "0x89"),
        build=lambda place: place.bytes("a.yaml", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe"),
    ),
    _case("an empty recipe", "", "a recipe is a mapping", "received nothing"),
    _case("a recipe that is a list", "- name: a\n", "a recipe is a mapping", "list"),
    _case("broken YAML", "name: a\ndata: {source: x\n", "a.yaml:3", "YAML"),
    _case("a control character in a recipe", "name: a\x07\n", "YAML", "a.yaml"),
    _case("YAML that would run code", "name: !!python/object/apply:os.system [ls]\n", "a.yaml:1", "YAML"),
    _case("YAML that refers to itself", "name: a\ntask: tabular-classification\ndata: &d {source: a.csv, target: y, columns: *d}\n", "a.yaml:3", "refers to itself"),
    _case("a misspelt key", GOOD + "trainning: {epochs: 3}\n", "a.yaml:4", "unknown key 'trainning'", "did you mean 'training'?"),
    _case(
        "several problems at once",
        GOOD.replace("classification", "clasification") + "seed: -1\ntraining: {epocs: 3, optimizer: {name: adamm}}\n",
        "did you mean 'tabular-classification'?", "seed", "did you mean 'epochs'?", "did you mean 'adam'?",
    ),
    _case("a key that stands twice", GOOD + "seed: 1\nseed: 2\n", "a.yaml:5 seed", "twice"),
    _case("a wrong type", GOOD + "training: {epochs: many}\n", "a.yaml:4 training.epochs", "a whole number", "'many'"),
    _case("a section that is a number", GOOD + "training: 7\n", "a.yaml:4 training", "received 7"),
    _case("a number out of range", GOOD + "training: {batch_size: 0}\n", "training.batch_size", "greater than or equal to 1", "received 0"),
    _case("NaN in a recipe", GOOD + "compression: {max_drop: .nan}\n", "compression.max_drop", "finite number"),
    _case("NaN for an argument of a part", GOOD + "training: {optimizer: {name: adamw, lr: .nan}}\n", "training.optimizer.lr", "received nan"),
    _case("infinity for an argument of a part", GOOD + "training: {optimizer: {name: adamw, lr: .inf}}\n", "training.optimizer", "finite"),
    _case("a misspelt model", GOOD + "model: mpl\n", "model", "did you mean 'mlp'?"),
    _case("an argument that a part doesn't have", GOOD + "model: {name: mlp, hiden: [32]}\n", "model", "did you mean 'hidden'?"),
    _case("an argument of a wrong type", GOOD + "model: {name: mlp, hidden: wide}\n", "model.hidden", "'wide'"),
    _case("an argument that makes no model", GOOD + "model: {name: mlp, hidden: [0]}\n", "hidden"),
    _case("a name that is no file name", GOOD.replace("name: a", "name: ../a"), "name", "'../a'"),
    _case("data named twice", GOOD.replace("target: y", "target: y, files: {train: b.csv}"), "either `source` or `files`"),
    _case("no target", GOOD.replace(", target: y", ""), "a table needs `target`"),
    _case("images for a table's task", "name: a\ntask: tabular-classification\ndata: {source: digits, target: y}\n", "'digits' is no data for tabular-classification"),
    _case("a gate on an unknown metric", GOOD + "gate: {minimum: {acuracy: 0.9}}\n", "gate.minimum", "did you mean 'accuracy'?"),
    Case(GROUP, "--set without a value", "plan digits --set training.epochs", ("--set training.epochs", "key.path=value")),
    Case(GROUP, "--set without a key", "plan digits --set =3", ("--set =3", "key.path=value")),
    Case(GROUP, "--set with a misspelt key", "plan digits --set trainig.epochs=3", ("--set trainig.epochs=3", "did you mean 'training'?")),
    Case(GROUP, "--set with a wrong type", "plan digits --set training.epochs=many", ("--set training.epochs=many", "a whole number")),
    Case(GROUP, "--set with broken YAML", "plan digits --set training.epochs=[", ("--set training.epochs=[", "not valid YAML")),
    Case(GROUP, "--set below a value", "plan digits --set name.x.y=3", ("--set name.x.y=3", "string")),
    Case(GROUP, "--resume and --fresh", "run digits --resume --fresh", ("not allowed with argument",)),
    _case("a plug-in that isn't there", GOOD + "plugins: [mine.py]\n", "plugins", "no such plug-in file"),
    Case(
        GROUP,
        "a plug-in that fails to import",
        "plan a.yaml",
        ("plugins", "fails to import", "mine.py:2", "ZeroDivisionError"),
        build=lambda place: _plugin(place, "x = 0\n1 / x\n"),
    ),
    Case(
        GROUP,
        "a plug-in that is no Python",
        "plan a.yaml",
        ("fails to import", "SyntaxError"),
        build=lambda place: _plugin(place, "def (\n"),
    ),
    Case(GROUP, "check-plugin of a missing file", "check-plugin nothing.py", ("no such plug-in file",)),
    Case(
        GROUP,
        "check-plugin of a file that registers nothing",
        "check-plugin mine.py",
        ("the file registers nothing", "register_model"),
        build=lambda place: place.text("mine.py", "x = 1\n"),
    ),
    Case(GROUP, "check-plugin of a folder", "check-plugin .", ("no such plug-in file",)),
)  # fmt: skip

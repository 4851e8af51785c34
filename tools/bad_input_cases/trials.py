"""Bad requests to the verbs that try, search and compare: profile, find-lr, sweep and experiment."""

from __future__ import annotations

from tools.bad_input_cases.case import Case, Place
from tools.bad_input_cases.tables import good_table

GROUP = "Profiles, range tests, sweeps and experiments"
RECIPE = (
    "name: a\ntask: tabular-classification\ndata: {source: a.csv, target: answer}\nmodel: {name: mlp, hidden: [8]}\n"
)
ARMS = "name: e\nbase: digits\narms:\n  one: {}\n  two: {training.epochs: 2}\n"


def _case(sent: str, words: str, *says: str, code: int = 2) -> Case:
    return Case(GROUP, sent, words, says, code)


def _experiment(sent: str, text: str, *says: str) -> Case:
    return Case(GROUP, sent, "experiment e.yaml", says, build=lambda place: place.text("e.yaml", text))


def _pseudo(sent: str, section: str, *says: str, task: str = "classification") -> Case:
    def build(place: Place) -> None:
        place.text("a.csv", good_table())
        place.text("empty.csv", "")
        place.text(
            "a.yaml", RECIPE.replace("answer", TARGET).replace("classification", task) + f"training: {section}\n"
        )

    return Case(GROUP, sent, "train a.yaml", says, build=build)


TARGET = good_table().splitlines()[0].split(",")[-1]

CASES = (
    _case("profile of a recipe that isn't there", "profile digitz", "no such recipe", "did you mean 'digits'?"),
    _case("profile of no steps", "profile digits --steps 0", "--steps", "1 to 1,000", "received 0"),
    _case("profile of steps that are no number", "profile digits --steps many", "--steps", "a whole number", "'many'"),
    _case("a trace that is no JSON file", "profile digits --trace t.txt", "--trace t.txt", ".json or .json.gz"),
    _case("a trace in a folder that isn't there", "profile digits --trace no/t.json", "no such folder"),
    _case("a range test from high to low", "find-lr digits --low 1 --high 0.1", "not a range of learning rates", "0 < low < high"),
    _case("a range test from zero", "find-lr digits --low 0", "not a range of learning rates", "received 0 to 10"),
    _case("a range test to NaN", "find-lr digits --high nan", "not a range of learning rates"),
    _case("a range test of three steps", "find-lr digits --steps 3", "too few steps", "20 or more"),
    _case("a rate that is no number", "find-lr digits --low fast", "--low", "a number", "'fast'"),
    _case("a chart of a kind that isn't written", "find-lr digits --out c.png", "not a kind of chart", ".svg or .html"),
    _case("rates at which nothing moves", "find-lr wine --low 1e-12 --high 1e-10 --steps 40", "no learning rate lowers the loss", code=1),
    _pseudo("pseudo-labels from a file that isn't there", "{pseudo_labels: {source: b.csv}}", "no such file", "a.csv"),
    _pseudo("pseudo-labels from an empty file", "{pseudo_labels: {source: empty.csv}}", "the file is empty"),
    _pseudo("pseudo-labels for a number", "{pseudo_labels: {source: a.csv}}", "pseudo-labels are for classes", task="regression"),
    _pseudo("a threshold below a half", "{pseudo_labels: {source: a.csv, threshold: 0.3}}", "training.pseudo_labels.threshold", "0.5"),
    _case("a sweep over a misspelt key", "sweep digits --space training.optimizer.lrr=1e-4..1e-1", "did you mean 'lr'?"),
    _case("a sweep over a range that is none", "sweep digits --space training.optimizer.lr=fast", "--space"),
    _case("a sweep of no trials", "sweep digits --trials 0", "trials"),
    _case("a sweep with an unknown sampler", "sweep digits --sampler tpi", "sampler"),
    _case("a sweep for an unknown figure", "sweep digits --objective validation_acuracy", "objectives"),
    _experiment("an empty experiment", "", "e.yaml"),
    _experiment("an experiment with an unknown key", ARMS + "seedz: 3\n", "did you mean 'seeds'?"),
    _experiment("an experiment on a recipe that isn't there", ARMS.replace("digits", "digitz"), "no such recipe", "did you mean 'digits'?"),
    _experiment("an arm with a misspelt key", ARMS.replace("epochs", "epocs"), "did you mean 'epochs'?"),
    _experiment("a reference that is no arm", ARMS + "reference: three\n", "three"),
    _case("an experiment's file that isn't there", "experiment nothing.yaml", "nothing.yaml"),
)  # fmt: skip

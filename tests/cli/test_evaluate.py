import re

import pytest
from grids import images, saved, table

from m3d_sklearn import Herding, evaluate
from m3d_sklearn.cli import main


@pytest.fixture
def made(tmp_path):
    """A set, and the data that it was made from."""
    data = table()
    condensed = Herding(2, random_state=0).fit(data.X_train, data.y_train).condensed_
    return condensed.save(tmp_path / "set.npz"), saved(data, tmp_path)


@pytest.fixture
def score(made, tmp_path):
    def run(*more, path=made[0], data=made[1]):
        words = ["evaluate", path, "--data", data, "--networks", "2", "--steps", "3", *more]
        try:
            return main([str(word) for word in words])
        except SystemExit as end:
            return end.code

    return run


def test_what_is_printed_is_what_evaluate_gives(score, capsys, globals_untouched):
    assert score("--models", "auto,knn", "--seed", "5", "--protocols", "m3d,dc") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert said.err == ""
    assert lines[0].startswith("<CondensedSet by Herding: 3 classes, 6 stored rows")
    assert lines[1] == "Accuracy on 60 test rows of table:"
    data = table()
    condensed = Herding(2, random_state=0).fit(data.X_train, data.y_train).condensed_
    for line, protocol in zip(lines[2:4], ("m3d", "dc"), strict=True):
        settings = {"n_networks": 2, "max_steps": 3, "random_state": 5, "protocol": protocol}
        expected = evaluate(condensed, data.X_test, data.y_test, **settings)
        assert re.match(
            rf"  mlp +{100 * expected.mean:.1f} ± {100 * expected.std:.1f} % +2 networks.*"
            rf"protocol {protocol}, {expected.epochs} epochs, 3 steps",
            line,
        )
    assert re.fullmatch(r"  knn +\d+\.\d %", lines[4])
    assert len(lines) == 5


def test_epochs_of_the_protocol(score, capsys):
    assert score("--steps", "epochs", "--models", "knn") == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--models", "best"], "models must be of .*got 'best'"),
        (["--models", "none"], "models"),
        (["--models", "convnet"], "convnet|network"),
        (["--protocols", "best"], "--protocols must be of .*best"),
        (["--protocols", "none"], "--protocols must be of"),
        (["--networks", "0"], "--networks"),
        (["--steps", "a"], "--steps"),
        (["--seed", "-1"], "random_state|seed"),
        (["--seed", "a"], "--seed"),
        (["--device", "best"], "device"),
        (["--data", "best"], "best"),
        (["--image-size", "8"], "--image-size must be None .*got --image-size=8"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(more, said, score, capsys):
    assert score(*more) == 2
    found = capsys.readouterr()
    assert re.search(said, found.err)
    assert "Traceback" not in found.err
    assert found.err.count("\n") == 1, found.err
    assert found.out == ""


def test_a_file_that_is_no_set_is_named(score, made, tmp_path, capsys):
    (tmp_path / "text.npz").write_text("no set")
    (tmp_path / "half.npz").write_bytes(made[0].read_bytes()[:300])
    for path in (tmp_path / "none.npz", tmp_path / "text.npz", tmp_path / "half.npz", made[1]):
        assert score(path=path) == 2
        said = capsys.readouterr().err
        assert path.name in said
        assert said.count("\n") == 1
    assert score(path=tmp_path) == 2


def test_data_of_another_form_are_named(score, tmp_path, capsys):
    assert score(data=saved(images(), tmp_path)) == 2
    assert re.search(r"must have rows of shape \(4,\)", capsys.readouterr().err)

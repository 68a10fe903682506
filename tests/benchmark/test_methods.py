import pytest
from grids import Told

from m3d_sklearn import Herding, KCenter, KMeansCenters, M3DCondenser, Random
from m3d_sklearn.benchmark.methods import METHODS, name_of, resolve_methods


def kinds(methods, references=()):
    return {k: type(v).__name__ for k, v in resolve_methods(methods, references).items()}


@pytest.mark.parametrize(
    ("name", "label", "kind"),
    [
        ("random", "Random", Random),
        ("herding", "Herding", Herding),
        ("kcenter", "KCenter", KCenter),
        ("k-center", "KCenter", KCenter),
        ("K-Means", "k-means", KMeansCenters),
        ("kmeans", "k-means", KMeansCenters),
        ("M3D", "M3D", M3DCondenser),
        ("m3d_start", "M3D start", M3DCondenser),
    ],
)
def test_names_and_what_they_are(name, label, kind):
    assert kinds(name) == {label: kind.__name__}


def test_the_start_runs_no_iterations():
    assert resolve_methods("m3d-start")["M3D start"].max_iter == 0


def test_the_whole_set_has_no_condenser():
    assert resolve_methods("whole") == {"whole set": None}
    assert resolve_methods({"all": "whole"}) == {"all": None}
    assert resolve_methods("random", ["whole"])["whole set"] is None


def test_objects_get_the_label_of_their_class_and_are_copied():
    mine = M3DCondenser(3, kernel="linear")
    (found,) = resolve_methods(mine).values()
    assert found is not mine
    assert found.get_params() == mine.get_params()
    assert kinds([mine, Told(), Random()]) == {
        "M3D": "M3DCondenser",
        "Told": "Told",
        "Random": "Random",
    }


def test_a_label_may_be_anything():
    assert kinds({1: "random", "x y": Herding()}) == {"1": "Random", "x y": "Herding"}


def test_references_are_not_given_twice():
    assert list(resolve_methods(["random", "kmeans"], ["kmeans", "random"])) == [
        "Random",
        "k-means",
    ]
    assert list(resolve_methods("herding", ["random"])) == ["Herding", "Random"]


def test_random_rows_of_another_label_are_no_reference():
    """robust_scores knows random rows by the label "Random"."""
    assert "Random" in resolve_methods({"mine": Random(), "h": "herding"}, ["random"])


def test_a_label_of_ones_own_is_not_taken_by_a_reference():
    chosen = resolve_methods({"M3D": M3DCondenser(), "M3D start": Random()}, ["start"])
    assert type(chosen["M3D start"]) is Random


@pytest.mark.parametrize("method", ["random", "herding", "kcenter", "kmeans", "m3d", "m3d-start"])
def test_a_name_leads_back_to_itself(method):
    ((label, condenser),) = resolve_methods(method).items()
    assert name_of(label, condenser) == method


def test_whole_leads_back_to_whole():
    assert name_of("whole set", None) == "whole"


@pytest.mark.parametrize("label", ["mine", "Herding", "M3D", "Random start"])
def test_another_label_has_no_name(label):
    assert name_of(label, Random()) is None


def test_every_method_has_one_label():
    labels = [label for label, _ in METHODS.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("best", "must be of .*m3d.*got 'best'"),
        ("", "got ''"),
        ("m3d-stop", "got 'm3d-stop'"),
        ("kmeans-start", "got 'kmeans-start'"),
        ("whole-start", "got 'whole-start'"),
        ([], "at least one"),
        ({}, "at least one"),
        (["m3d", M3DCondenser()], "different labels"),
        ([M3DCondenser(), M3DCondenser()], "different labels"),
        ([M3DCondenser], "unfitted condensers; got the class M3DCondenser"),
        ({"a": None}, "got NoneType"),
        ([3], "got int"),
    ],
)
def test_what_is_no_method_is_named(methods, said):
    with pytest.raises((ValueError, TypeError), match=said):
        resolve_methods(methods)

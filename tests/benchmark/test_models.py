import pytest
from grids import linear
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from m3d_sklearn.benchmark.models import ESTIMATORS, TRANSFER, resolve_models
from m3d_sklearn.core.networks import NETWORKS


def test_networks_stay_names_and_classifiers_are_made():
    found = resolve_models(["auto", "mlp", "knn", "svm", "logistic"])
    assert (found["auto"], found["mlp"]) == ("auto", "mlp")
    assert isinstance(found["knn"], KNeighborsClassifier)
    assert found["knn"].n_neighbors == 1
    assert isinstance(found["svm"], SVC)
    assert isinstance(found["logistic"], LogisticRegression)


def test_one_name_is_a_list_of_one():
    assert list(resolve_models("auto")) == ["auto"]


def test_transfer_is_all_and_nothing_twice():
    assert list(resolve_models("transfer")) == list(TRANSFER) == [*NETWORKS, *ESTIMATORS]
    assert list(resolve_models(["knn", "transfer"])) == list(dict.fromkeys(["knn", *TRANSFER]))


def test_a_dict_names_what_it_holds():
    pipeline = make_pipeline(StandardScaler(), SVC())
    given = {"a": "mlp", "b": linear, "c": pipeline, 4: "knn"}
    found = resolve_models(given)
    assert list(found) == ["a", "b", "c", "4"]
    assert found["b"] is linear
    assert found["c"] is pipeline


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("vgg", "must be of .*convnet.*got 'vgg'"),
        (["knn", "KNN"], "got 'KNN'"),
        ([], "at least one"),
        ({"a": LinearRegression()}, "classifiers; got LinearRegression"),
        ({"a": 3}, "got int"),
        ({"a": None}, "got NoneType"),
        ({"a": SVC}, "SVC"),
    ],
)
def test_what_is_no_model_is_named(models, said):
    with pytest.raises((ValueError, TypeError), match=said):
        resolve_models(models)

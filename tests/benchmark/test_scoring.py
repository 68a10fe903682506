import threading
import warnings

import numpy as np
import pytest
import torch
from grids import grid_of, images, linear, table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from m3d_sklearn import Herding, M3DCondenser, Random, evaluate
from m3d_sklearn.benchmark.scoring import mmd_to_data, score_models
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.mmd import mmd2
from m3d_sklearn.core.networks import auto_network, build, embed
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.evaluation import as_condensed_set

CPU = torch.device("cpu")
DATA = {"table": table(), "grey": images(), "colour": images(channels=3)}
every_form = pytest.mark.parametrize("data", DATA.values(), ids=DATA)


def scores(condensed, data, seed=0, **settings):
    cell = grid_of("random", data, **settings).cells[0]
    return score_models(condensed, data.X_test, data.y_test, cell.settings, seed, CPU)


def by_hand(data):
    """Rows less the mean, over the deviation of the training data: columns or channels."""
    axes = {2: 0, 3: None, 4: (0, 1, 2)}[data.X_train.ndim]
    train = data.X_train.astype(np.float64)
    mean, std = train.mean(axes), train.std(axes)
    return lambda X: ((X - mean) / std).astype(np.float32).reshape(len(X), -1)


@every_form
@pytest.mark.parametrize(
    "model", [KNeighborsClassifier(1), SVC(), LogisticRegression()], ids=lambda m: type(m).__name__
)
def test_classifiers_see_rows_scaled_by_the_training_data(model, data):
    condensed = Herding(ipc=4).fit(data.X_train, data.y_train).condensed_
    (score,) = scores(condensed, data, models={"mine": model})
    scaled = by_hand(data)
    fitted = model.fit(scaled(condensed.X), condensed.y)
    accuracy = float((fitted.predict(scaled(data.X_test)) == data.y_test).mean())
    assert (score["accuracy"], score["scores"]) == (accuracy, [accuracy])
    assert (score["model"], score["kind"], score["std"]) == ("mine", "estimator", 0.0)
    assert score["protocol"] is score["augmentation"] is score["epochs"] is score["width"] is None


@every_form
def test_the_rows_are_those_by_hand(data):
    """Not the accuracy alone: what fit and predict are given."""
    seen = []

    def look(X):
        seen.append(X)
        return X

    model = make_pipeline(FunctionTransformer(look), KNeighborsClassifier(1))
    condensed = Herding(ipc=2).fit(data.X_train, data.y_train).condensed_
    scores(condensed, data, models={"mine": model})
    scaled = by_hand(data)
    for X, expected in zip(seen, (condensed.X, data.X_test), strict=True):
        channels_last = np.moveaxis(X.reshape(len(X), 3, 6, 6), 1, -1) if X.shape[1] == 108 else X
        np.testing.assert_allclose(
            channels_last.reshape(len(X), -1), scaled(expected), rtol=1e-5, atol=1e-6
        )


def test_a_mosaic_is_scored_by_its_decoded_rows():
    data = images()
    condenser = M3DCondenser(ipc=1, factor=2, max_iter=1, random_state=0)
    condensed = condenser.fit(data.X_train, data.y_train).condensed_
    (score,) = scores(condensed, data, models="knn")
    X, y = condensed.decode()
    scaled = by_hand(data)
    fitted = KNeighborsClassifier(1).fit(scaled(X), y)
    assert len(X) == 12
    # Decoded rows that were rounded to bytes are not quite those that were not.
    agreed = (fitted.predict(scaled(data.X_test)) == data.y_test).mean()
    assert abs(score["accuracy"] - agreed) <= 2 / 60


@every_form
@pytest.mark.parametrize("augmentation", ["auto", "none"])
def test_networks_are_what_evaluate_gives(augmentation, data):
    condensed = Random(ipc=2, random_state=0).fit(data.X_train, data.y_train).condensed_
    found = scores(condensed, data, 5, robust=True, n_networks=2, protocols=["dc", "m3d"])
    plain = {} if augmentation == "auto" else {"augmentation": None, "cutmix": 0.0}
    for protocol in ("dc", "m3d"):
        expected = evaluate(
            condensed,
            data.X_test,
            data.y_test,
            n_networks=2,
            protocol=protocol,
            max_steps=3,
            random_state=5,
            device="cpu",
            **plain,
        )
        (score,) = (
            s for s in found if (s["protocol"], s["augmentation"]) == (protocol, augmentation)
        )
        assert score["scores"] == expected.scores.tolist()
        assert (score["accuracy"], score["std"]) == (expected.mean, expected.std)
        assert score["model"] == expected.network
        assert (score["epochs"], score["steps"]) == (expected.epochs, expected.steps)
        assert (score["width"], score["kind"]) == (expected.width, "network")
    assert len(found) == 4


def test_the_whole_set_is_scored_by_its_own_statistics():
    data = table()
    whole = as_condensed_set((data.X_train, data.y_train))
    (score,) = scores(whole, data, models="knn")
    scaled = by_hand(data)
    fitted = KNeighborsClassifier(1).fit(scaled(data.X_train), data.y_train)
    assert score["accuracy"] == (fitted.predict(scaled(data.X_test)) == data.y_test).mean()


def test_a_model_keeps_its_name_and_auto_says_what_it_is():
    data = table()
    condensed = Herding(ipc=2).fit(data.X_train, data.y_train).condensed_
    models = {"auto": "auto", "mine": "mlp", "net": linear, "near": "knn"}
    assert [s["model"] for s in scores(condensed, data, models=models)] == [
        *("mlp", "mine", "net", "near")
    ]


def test_the_users_model_is_not_fitted():
    data, model = table(), LogisticRegression()
    condensed = Herding(ipc=2).fit(data.X_train, data.y_train).condensed_
    scores(condensed, data, models={"mine": model})
    assert not hasattr(model, "coef_")


def test_a_seed_of_ones_own_stays():
    data, given = table(), []

    class Seen(LogisticRegression):
        def fit(self, X, y):
            given.append(self.random_state)
            return super().fit(X, y)

    condensed = Herding(ipc=2).fit(data.X_train, data.y_train).condensed_
    scores(condensed, data, 7, models={"a": Seen(), "b": Seen(random_state=3)})
    assert given == [7, 3]


# ------------------------------------------------------------------------------- warnings


class Unfinished(LogisticRegression):
    def fit(self, X, y):
        warnings.warn("not converged", ConvergenceWarning, stacklevel=2)
        warnings.warn("look here", UserWarning, stacklevel=2)
        return super().fit(X, y)


def test_what_a_classifier_warns_of_is_the_callers_to_see(globals_untouched):
    data = table()
    condensed = Herding(ipc=2).fit(data.X_train, data.y_train).condensed_
    with pytest.warns(UserWarning, match="look here") as caught:
        scores(condensed, data, models={"mine": Unfinished()})
    assert [w.category for w in caught] == [ConvergenceWarning, UserWarning]


def test_filters_stay_where_cells_overlap(globals_untouched):
    """Of two cells in threads the first to begin ends first."""
    data = table()
    condensed = Herding(ipc=2).fit(data.X_train, data.y_train).condensed_
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def waits(set_, wait):
        def fit(X):
            set_.set()
            wait.wait(10)
            return X

        return {"m": make_pipeline(FunctionTransformer(fit), KNeighborsClassifier(1))}

    def first():
        scores(condensed, data, models=waits(first_in, second_in))
        first_out.set()

    def second():
        first_in.wait(10)
        scores(condensed, data, models=waits(second_in, first_out))

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ----------------------------------------------------------------------------------- MMD²


def mmd_by_hand(condensed, data):
    """Class by class: the biased estimate in the features of three random networks."""
    shape, kernel = condensed.layout.canonical_shape, make_kernel("rbf", "mean")
    whole = as_condensed_set((data.X_train, data.y_train))
    (real, labels), (rows, places) = whole.to_torch(), condensed.to_torch()
    found = []
    for seed in range(3):
        network = build(auto_network(shape), shape, 3, Stream(seed, CPU))
        with torch.no_grad():
            one, other = embed(network, real), embed(network, rows)
        for c in range(3):
            found.append(mmd2(one[labels == c][None], other[places == c][None], kernel).item())
    return np.mean(found)


@every_form
def test_mmd_is_the_mean_over_classes_and_networks(data):
    condensed = Random(ipc=3, random_state=1).fit(data.X_train, data.y_train).condensed_
    found = mmd_to_data(condensed, data.X_train, data.y_train, CPU)
    assert found == pytest.approx(mmd_by_hand(condensed, data), rel=1e-4)


@every_form
def test_the_rows_themselves_are_at_no_distance(data):
    whole = as_condensed_set((data.X_train, data.y_train))
    few = Random(ipc=3, random_state=1).fit(data.X_train, data.y_train).condensed_
    noise = M3DCondenser(ipc=3, init="noise", factor=1, max_iter=0, random_state=0)
    noisy = noise.fit(data.X_train, data.y_train).condensed_
    distances = [mmd_to_data(s, data.X_train, data.y_train, CPU) for s in (whole, few, noisy)]
    assert abs(distances[0]) < 1e-5
    assert distances[0] < distances[1] < distances[2]


def test_mmd_draws_the_same_rows_every_time(globals_untouched):
    data = table(per_class=300)  # of 200 rows per class
    few = Random(ipc=3, random_state=1).fit(data.X_train, data.y_train).condensed_
    one, other = (mmd_to_data(few, data.X_train, data.y_train, CPU) for _ in range(2))
    assert one == other > 0

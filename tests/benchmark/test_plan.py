import pytest
from grids import grid_of, images, linear, photos, quick, saved, table

from m3d_sklearn import Herding, M3DCondenser
from m3d_sklearn.benchmark.models import ESTIMATORS


def laid_out(*arguments, **settings):
    cells = grid_of(*arguments, **settings).cells
    return [(c.dataset, c.ipc, c.method, c.seed) for c in cells]


def test_a_cell_is_a_method_a_data_set_an_ipc_and_a_seed():
    methods, data = ["random", Herding()], [table("one"), table("two")]
    found = laid_out(methods, data, [1, 5], seeds=2)
    assert found == [
        (name, ipc, method, seed)
        for name in ("one", "two")
        for seed in (0, 1)
        for ipc in (1, 5)
        for method in ("Random", "Herding")
    ]
    for cell in grid_of(methods, data, [1, 5], seeds=[7]).cells:
        assert (cell.condenser.ipc, cell.condenser.random_state) == (cell.ipc, 7)


def test_the_whole_set_is_one_cell_a_seed():
    found = laid_out("random", [table("one"), table("two")], [1, 2, 3], seeds=2, references="whole")
    whole = [cell for cell in found if cell[2] == "whole set"]
    assert whole == [(n, None, "whole set", s) for n in ("one", "two") for s in (0, 1)]
    assert len(found) == 2 * (3 * 2 + 2)


@pytest.mark.parametrize(
    ("methods", "references", "labels"),
    [
        ("m3d", (), ["M3D"]),
        ("m3d", ("start",), ["M3D start", "M3D"]),
        ("m3d", ("start", "kmeans", "whole"), ["M3D start", "M3D", "k-means", "whole set"]),
        ("random", ("start", "random", "kmeans"), ["Random", "k-means"]),
        (["herding", "kmeans"], ("kmeans", "random"), ["Herding", "k-means", "Random"]),
        ({"mine": M3DCondenser()}, ("start",), ["mine start", "mine"]),
        ("whole", ("whole",), ["whole set"]),
        (["m3d", "m3d-start"], ("start",), ["M3D", "M3D start"]),
        ("m3d-start", ("start",), ["M3D start"]),
    ],
)
def test_references_stand_beside_the_methods(methods, references, labels):
    found = [c.method for c in grid_of(methods, references=references).cells]
    assert sorted(found) == sorted(labels)


def test_a_start_is_its_method_without_iterations():
    start, m3d = grid_of(M3DCondenser(kernel="linear"), references=("start",)).cells
    assert start.condenser.get_params() == m3d.condenser.get_params() | {"max_iter": 0}


def test_data_come_in_many_forms(tmp_path):
    path = saved(table("filed"), tmp_path)
    X = tuple(table())
    datasets = {"a": table(), "b": str(path), "c": X, 4: list(X)}
    assert [c[0] for c in laid_out("random", datasets)] == ["a", "b", "c", "4"]
    assert [c[0] for c in laid_out("random", [path, table("x")])] == ["filed", "x"]


def test_images_of_a_folder_are_cut_to_a_size(tmp_path):
    grid = grid_of("random", photos(tmp_path), image_size=12)
    assert grid.data["photos"].X_train.shape == (8, 12, 12, 3)
    frame = quick("random", str(tmp_path / "photos"), image_size=12, models="knn")
    assert frame["error"].isna().all()


def test_a_size_leaves_data_that_are_no_folder_as_they_are(tmp_path):
    given = {"a": photos(tmp_path), "b": "digits", "c": saved(images("filed"), tmp_path)}
    given |= {"d": images(), "e": tuple(table())}
    found = grid_of("random", given, image_size=12).data
    shapes = [data.X_train.shape[1:] for data in found.values()]
    assert shapes == [(12, 12, 3), (8, 8), (6, 6), (6, 6), (4,)]


def test_a_size_changes_no_other_key(tmp_path):
    path = photos(tmp_path)
    (digits,) = grid_of("random", "digits").cells
    keys = [cell.key for cell in grid_of("random", ["digits", path], image_size=12).cells]
    others = [cell.key for cell in grid_of("random", ["digits", path], image_size=16).cells]
    assert digits.key == keys[0] == others[0]
    assert keys[1] != others[1]


def test_images_of_several_sizes_need_one(tmp_path):
    with pytest.raises(ValueError, match="image_size must be given where images differ in size"):
        grid_of("random", photos(tmp_path))


@pytest.mark.parametrize("given", [table(), "digits", {"a": tuple(table())}, [table(), "digits"]])
def test_a_size_of_nothing_is_refused(given):
    with pytest.raises(ValueError, match=r"image_size must be None where no .* folder.*got 12"):
        grid_of("random", given, image_size=12)


@pytest.mark.parametrize("size", [0, -3, 1.5, "12", True])
def test_a_wrong_size_is_refused(size, tmp_path):
    with pytest.raises(ValueError, match=r"image_size must be a whole number of pixels.*got"):
        grid_of("random", photos(tmp_path), image_size=size)


def test_what_may_be_gone_through_once_is_gone_through_once():
    found = laid_out(
        (m for m in ["random", "herding"]),
        (d for d in [table("a"), table("b")]),
        (i for i in [1, 2]),
        seeds=(s for s in [0, 1]),
        models=(m for m in ["auto", "knn"]),
        protocols=(p for p in ["m3d", "dc"]),
        references=(r for r in ["whole"]),
        curve=(i for i in [1]),
    )
    assert len(found) == 2 * (2 * 2 * 2 + 2)


def test_transfer_is_what_the_data_allow():
    on_tables, on_images = (
        grid_of("random", data, models="transfer").cells[0].settings.models
        for data in (table(), images())
    )
    assert list(on_tables) == ["mlp", *ESTIMATORS]
    assert {"convnet", "mlp", *ESTIMATORS} <= on_images.keys()
    assert "densenet121" not in on_images  # needs more pixels


def test_transfer_may_be_gone_through_once():
    with_iterator = grid_of("random", table(), models=iter(["transfer"])).cells
    assert list(with_iterator[0].settings.models) == ["mlp", *ESTIMATORS]


@pytest.mark.parametrize("models", [["auto", "mlp"], ["mlp", "auto"], ["auto", "transfer"]])
def test_the_network_of_auto_is_trained_once(models):
    (cell,) = grid_of("random", table(), models=models).cells
    assert "auto" not in cell.settings.models
    assert "mlp" in cell.settings.models


def test_labels_of_ones_own_stay_apart():
    (cell,) = grid_of("random", models={"a": "auto", "b": "mlp"}).cells
    assert list(cell.settings.models) == ["a", "b"]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (M3DCondenser(max_iter=-3), "The 'max_iter' parameter of M3DCondenser must be"),
        (M3DCondenser(device="tpu"), "device must be"),
    ],
)
def test_a_wrong_parameter_is_of_its_method(method, said):
    with pytest.raises(ValueError, match=f"method 'rbf': {said}"):
        grid_of({"fine": "random", "rbf": method})


@pytest.mark.parametrize("models", ["convnet", ["mlp", "resnet18"], {"mine": "convnet"}])
def test_a_network_that_cannot_take_the_rows_is_named(models):
    with pytest.raises(ValueError, match=r"models: .* cannot train on table"):
        grid_of("random", table(), models=models)


def test_a_factory_stands_for_itself(globals_untouched):
    (cell,) = grid_of("random", models={"mine": linear}).cells
    assert cell.settings.models == {"mine": linear}

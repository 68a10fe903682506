from m3d_sklearn.report._data import Data, data_sets


def about(n_train, shape, classes):
    names = [str(place) for place in range(classes)]
    return {"source": "", "n_train": n_train, "n_test": 5, "shape": shape, "class_names": names}


def test_sizes_are_what_the_cells_say(record):
    cells = [
        record("a", data=about(24, [8, 6, 3], 3)),
        record("b", data=about(1234, [4], 2)),
        record("c", data=about(7, [8, 8], 10)),
        record("d", data=about(7, [8, 8, 2], 10)),
    ]
    found = data_sets(cells)
    assert found["a", "of a"] == Data("a", "of a", 24, (8, 6, 3), 3)
    assert [str(data) for data in found.values()] == [
        "24 training rows, colour images of 8×6, 3 classes",
        "1,234 training rows, 4 columns, 2 classes",
        "7 training rows, grey images of 8×8, 10 classes",
        "7 training rows, 2-channel images of 8×8, 10 classes",
    ]


def test_two_data_sets_of_one_name_stay_apart(record):
    cells = [record("a", seed=0), record("a", seed=1, spec={"fingerprint": "other"})]
    assert list(data_sets(cells)) == [("a", "of a"), ("a", "other")]

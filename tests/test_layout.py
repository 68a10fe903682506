import numpy as np
import pandas as pd
import pytest

from m3d_sklearn import Random
from m3d_sklearn import layout as module
from m3d_sklearn.layout import Layout, Target, Units, fingerprint

# sample_shape, image_shape, channel_axis -> canonical shape
LAYOUTS = {
    "table": ((5,), None, None, (5,)),
    "grey": ((6, 7), None, None, (1, 6, 7)),
    "channels last": ((6, 7, 3), None, 2, (3, 6, 7)),
    "channels first": ((3, 6, 7), None, 0, (3, 6, 7)),
    "flat grey": ((42,), (6, 7), None, (1, 6, 7)),
    "flat, channels last": ((126,), (6, 7, 3), 2, (3, 6, 7)),
    "flat, channels first": ((126,), (3, 6, 7), 0, (3, 6, 7)),
}


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Statistics are gathered a few values at a time."""
    monkeypatch.setattr(module, "BLOCK", 7)


# Layouts


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_way_to_canonical_rows_and_back_changes_nothing(name):
    sample_shape, image_shape, axis, canonical = LAYOUTS[name]
    X = numbers((4, *sample_shape))
    layout = Layout(sample_shape, "float64", image_shape, axis)
    rows = layout.to_rows(X)
    assert layout.canonical_shape == canonical
    assert rows.shape == (4, *canonical)
    back = layout.from_rows(rows)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, X)


def test_a_pixel_is_where_it_should_be():
    X = numbers((2, 6, 7, 3))
    last = Layout((6, 7, 3), "float64", None, 2).to_rows(X)
    flat = Layout((126,), "float64", (6, 7, 3), 2).to_rows(X.reshape(2, -1))
    first = Layout((3, 6, 7), "float64", None, 0).to_rows(np.moveaxis(X, 3, 1))
    for rows in (last, flat, first):
        assert rows[1, 2, 4, 5] == X[1, 4, 5, 2]
        np.testing.assert_array_equal(rows, last)


@pytest.mark.parametrize("name", LAYOUTS)
def test_only_images_are_images(name):
    sample_shape, image_shape, axis, canonical = LAYOUTS[name]
    assert Layout(sample_shape, "float64", image_shape, axis).is_image == (len(canonical) == 3)


@pytest.mark.parametrize("name", ["grey", "channels first", "flat grey", "table"])
def test_canonical_rows_are_a_view_where_they_can_be(name):
    sample_shape, image_shape, axis, _ = LAYOUTS[name]
    X = numbers((4, *sample_shape))
    assert np.shares_memory(Layout(sample_shape, "float64", image_shape, axis).to_rows(X), X)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "table"])
def test_8_bit_images_lie_one_way_whatever_the_array_did(name):
    """Networks get them as they lie, and the order of sums follows that."""
    sample_shape, image_shape, axis, _ = LAYOUTS[name]
    layout = Layout(sample_shape, "uint8", image_shape, axis)
    X = np.arange(4 * np.prod(sample_shape), dtype=np.uint8).reshape(4, *sample_shape)
    rows = layout.to_rows(X)
    assert np.shares_memory(rows, X)
    for same in (np.asfortranarray(X), np.repeat(X, 2, -1)[..., ::2], X[::-1].copy()[::-1]):
        assert layout.to_rows(same).strides == rows.strides
        np.testing.assert_array_equal(layout.to_rows(same), rows)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32"])
def test_integer_images_are_rounded(dtype):
    rows = np.array([0.4, 0.5, 0.6, 1.5, 2.5, 99.51]).reshape(1, 1, 2, 3)
    X = Layout((2, 3), dtype).from_rows(rows)
    assert X.dtype == dtype
    assert X.ravel().tolist() == [0, 0, 1, 2, 2, 100]  # halves to even


def test_boolean_images_come_back_as_the_nearer_value():
    X = Layout((2, 2), "bool").from_rows(np.array([0.0, 0.4, 0.6, 1.0]).reshape(1, 1, 2, 2))
    assert X.tolist() == [[[False, False], [True, True]]]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", "float64"), ("bool", "float64"), ("float32", "float32"), ("float16", "float16")],
)
def test_tables_of_integers_come_back_as_floats(dtype, expected):
    X = Layout((2,), dtype).from_rows(np.array([[0.25, 1.5]]))
    assert X.dtype == expected
    assert X.tolist() == [[0.25, 1.5]]


def test_a_table_with_column_names_comes_back_as_a_data_frame():
    rows = numbers((3, 2))
    X = Layout((2,), "float64", columns=("a", "b")).from_rows(rows)
    pd.testing.assert_frame_equal(X, pd.DataFrame(rows, columns=["a", "b"]))


# Labels


def test_an_array_of_labels_stays_an_array():
    y = np.array(["a", "b"])
    assert Target().restore(y) is y


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([2, 0, 1], name="grade"),
        pd.Series(["u", "v", "u"]),
        pd.Series(["u", "v", "u"], dtype=object, name="letter"),
        pd.Series(["u", "v", "u"], dtype="category"),
        pd.Series(pd.Categorical(["u", "v", "u"], ["v", "u", "w"], ordered=True)),
        pd.Series([1, 0, 1], dtype="Int64"),
        pd.Series([True, False, True]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_a_series_of_labels_keeps_its_name_and_dtype(series):
    target = Target(series.name, series.dtype)
    pd.testing.assert_series_equal(target.restore(np.asarray(series)), series)


# Units


def images_statistics(X):
    """What Units.measure must find for (n, c, h, w), on the whole array at once."""
    X = X.astype(np.float64)
    units = (X - X.min()) / (X.max() - X.min())
    mean, std = units.mean((0, 2, 3)), units.std((0, 2, 3))
    return X.min(), X.max(), mean[:, None, None], std[:, None, None]


@pytest.mark.parametrize("block", [1, 7, 200, 2**23])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
def test_units_of_images(monkeypatch, dtype, block):
    monkeypatch.setattr(module, "BLOCK", block)
    X = (100 + 30 * numbers((9, 3, 4, 5)) * [[[1]], [[2]], [[0.5]]]).astype(dtype)
    units = Units.measure(X)
    low, high, mean, std = images_statistics(X)
    assert (units.shift, units.width, units.low, units.high) == (low, high - low, low, high)
    np.testing.assert_allclose(units.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(units.std, std, rtol=1e-12)
    assert units.mean.shape == units.std.shape == (3, 1, 1)


@pytest.mark.parametrize("block", [1, 7, 2**23])
@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
def test_units_of_tables(monkeypatch, dtype, block):
    monkeypatch.setattr(module, "BLOCK", block)
    X = (numbers((50, 4)) * [1, 10, 1000, 5] + [0, -500, 3, 70]).astype(dtype)
    units = Units.measure(X)
    np.testing.assert_allclose(units.shift, X.mean(0, dtype=np.float64), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(units.width, X.std(0, dtype=np.float64), rtol=1e-10)
    np.testing.assert_array_equal(units.low, X.min(0))
    np.testing.assert_array_equal(units.high, X.max(0))
    assert (units.mean, units.std) == (0, 1)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e3, 1e30])
@pytest.mark.parametrize("shape", [(40, 3), (10, 2, 4, 4)], ids=["table", "images"])
def test_units_do_not_depend_on_the_scale_of_X(tiny_blocks, scale, shape):
    X = numbers(shape)
    plain, scaled = Units.measure(X), Units.measure(X * scale)
    np.testing.assert_allclose(
        scaled.to_units(X * scale, np.float64), plain.to_units(X, np.float64), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(scaled.std, plain.std, rtol=1e-9)


@pytest.mark.parametrize("offset", [1e6, -1e9])
@pytest.mark.parametrize("shape", [(40, 3), (10, 2, 4, 4)], ids=["table", "images"])
def test_an_offset_far_above_the_spread_keeps_its_digits(tiny_blocks, offset, shape):
    X = np.rint(1000 * numbers(shape)) / 1024  # exact beside 1e9 in float64
    plain, moved = Units.measure(X), Units.measure(X + offset)
    # Also in float32 units, though float32 could not hold X itself.
    np.testing.assert_allclose(moved.to_units(X + offset), plain.to_units(X), rtol=1e-5, atol=1e-6)


def test_constant_columns_are_zero_in_units_and_come_back():
    X = np.column_stack([np.full(6, 7.0), numbers(6), np.full(6, -1e12)])
    units = Units.measure(X)
    rows = units.to_units(X)
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[:, [0, 2]], 0)
    np.testing.assert_array_equal(units.to_values(rows)[:, [0, 2]], X[:, [0, 2]])


def test_constant_images_and_channels_have_finite_units():
    X = np.zeros((4, 2, 3, 3), np.uint8)
    X[:, 1] = 200
    one = Units.measure(X)  # each channel is constant, the images are not
    np.testing.assert_array_equal(one.to_units(X), X / 200)
    np.testing.assert_array_equal(one.std, 1)
    both = Units.measure(np.full((4, 1, 3, 3), 9.0))
    np.testing.assert_array_equal(both.to_units(np.full((4, 1, 3, 3), 9.0)), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(40, 3), (10, 2, 4, 4)], ids=["table", "images"])
def test_values_are_the_inverse_of_units(tiny_blocks, shape, dtype):
    X = 50 * numbers(shape) - 20
    units = Units.measure(X)
    rows = units.to_units(X, dtype)
    assert rows.dtype == dtype
    back = units.to_values(rows)
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, X, rtol=0, atol=200 * np.finfo(dtype).eps)


def test_all_8_and_16_bit_images_survive_single_precision():
    for dtype, top in (("uint8", 255), ("uint16", 65535)):
        X = np.arange(top + 1, dtype=dtype).reshape(1, 1, 16, -1)
        units = Units.measure(X)
        layout = Layout(X.shape[2:], dtype)
        back = layout.from_rows(units.to_values(units.to_units(X)))
        np.testing.assert_array_equal(back, X[:, 0])


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_values_stay_inside_the_range_seen(dtype):
    X = numbers((20, 3)).astype(dtype)
    units = Units.measure(X)
    values = Layout((3,), dtype).from_rows(units.to_values(np.full((1, 3), 1e3)))
    np.testing.assert_array_equal(values[0], X.max(0))
    values = Layout((3,), dtype).from_rows(units.to_values(np.full((1, 3), -1e3)))
    np.testing.assert_array_equal(values[0], X.min(0))


def test_units_are_zero_to_one_for_images_and_standardised_for_tables():
    images = Units.measure(X := numbers((10, 2, 4, 4))).to_units(X, np.float64)
    assert (images.min(), images.max()) == (0, 1)
    table = Units.measure(X := numbers((30, 4)) * 7 + 3).to_units(X, np.float64)
    np.testing.assert_allclose(table.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(table.std(0), 1, rtol=1e-12)


# Fingerprints


def mapped(X, folder):
    """The same array as a memory map."""
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("block", [1, 7, 12, 2**23])
def test_a_fingerprint_is_of_what_an_array_holds(tmp_path, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    X = numbers((5, 2, 6))
    wide = np.zeros((10, 2, 12))
    wide[::2, :, ::2] = X
    copies = {
        "Fortran order": np.asfortranarray(X),
        "memory map": mapped(X, tmp_path),
        "gaps between values": wide[::2, :, ::2],
        "negative strides": X[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        "axes in another order": np.ascontiguousarray(X.transpose(0, 2, 1)).transpose(0, 2, 1),
    }
    assert isinstance(copies["memory map"], np.memmap)
    for name, copied in copies.items():
        np.testing.assert_array_equal(copied, X)
        assert fingerprint(copied) == fingerprint(X), name


def test_blocks_do_not_show_in_a_fingerprint(monkeypatch):
    X = numbers((9, 3))
    whole = fingerprint(X)
    for block in (1, 3, 6, 27):  # rows a block: 1, 1, 2, 9
        monkeypatch.setattr(module, "BLOCK", block)
        assert fingerprint(X) == whole


def test_whatever_differs_gives_another_fingerprint(tiny_blocks):
    X = np.arange(24, dtype=np.int64).reshape(6, 4)
    last = X.copy()
    last[-1, -1] += 1
    given = [
        (X,),
        (last,),
        (X[::-1],),
        (X.reshape(4, 6),),
        (X.reshape(6, 4, 1),),
        (X.astype(np.uint64),),
        (X.astype(X.dtype.newbyteorder()),),
        (X.astype(np.float64),),
        (X.astype(str),),
        (X[:3], X[3:]),
        (X[3:], X[:3]),
        (X, X[:0]),
        (X[:0],),
        (X[0, 0],),
        (),
    ]
    found = [fingerprint(*arrays) for arrays in given]
    assert len(set(found)) == len(given)
    assert all(len(digits) == 32 and int(digits, 16) >= 0 for digits in found)


def test_objects_have_no_fingerprint():
    with pytest.raises(TypeError, match="got dtype object"):
        fingerprint(np.zeros(2), np.array(["a", "b"], dtype=object))


@pytest.mark.parametrize("shape", [(12, 4), (12, 4, 5), (12, 6, 5, 3)])
def test_a_condensed_set_knows_its_data_in_whatever_memory(tmp_path, shape):
    X, y = numbers(shape), np.array(["ant", "bee", "cat"] * 4, dtype=object)
    plain, other = (Random(1, random_state=0).fit(A, y).condensed_ for A in (X, X + 1))
    for copied in (mapped(X, tmp_path), np.asfortranarray(X)):
        assert Random(1).fit(copied, y).condensed_.fingerprint == plain.fingerprint
    assert plain.fingerprint != other.fingerprint
    assert plain.fingerprint == fingerprint(plain.layout.to_rows(X), np.arange(12) % 3)

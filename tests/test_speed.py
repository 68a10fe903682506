"""The speed benchmark: its plain loop is the published one, and its rows are what they say."""

import json
from dataclasses import replace

import plain
import pytest
import speed
import speed_methods
import speed_table
import torch
from reference import rbf_mmd2
from speed import Case

from m3d_sklearn.core import augmentation
from m3d_sklearn.core.augmentation import Draw
from m3d_sklearn.core.networks import ConvNet
from m3d_sklearn.core.sources.queue import ACCURACY
from m3d_sklearn.core.step import Batch

CPU = torch.device("cpu")
TINY = Case("tiny", (1, 16, 16), 2, 1, n=40, batch_real=4, rounds=1)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_plain_loss_is_the_oracles(double):
    real, synthetic = torch.randn(9, 5), torch.randn(4, 5)
    assert plain.mmd2(synthetic, real).item() == pytest.approx(rbf_mmd2(real, synthetic).item())


def test_plain_network_is_convnet(double):
    for shape in ((1, 28, 28), (3, 32, 32)):
        network, ours = plain.plain_convnet(shape, 10, width=8), ConvNet(shape, 10, width=8)
        ours.blocks.load_state_dict(network[:-2].state_dict())
        ours.head.load_state_dict(network[-1].state_dict())
        x = torch.randn(3, *shape)
        torch.testing.assert_close(network(x), ours(x))


def test_plain_augmentation_is_the_engines(double):
    x = torch.randn(3, 3, 32, 32)
    numbers = [0.8, 0.3, 0.6, 0.0, 0.99, 0.5, 0.25]
    values = {
        "brightness": [[0.3]],
        "saturation": [[0.6]],
        "contrast": [[1.1]],
        "crop": [[-4, 4]],
        "cutout": [[16, 8]],
    }
    drawn = [Draw(name, torch.tensor(value)) for name, value in values.items()]
    group = torch.zeros(3, dtype=torch.long)
    expected = augmentation.apply(x, drawn, group)
    torch.testing.assert_close(plain.augment(x, numbers), expected)


def test_plain_loop_lowers_its_loss():
    torch.manual_seed(0)
    labels = torch.arange(40) % 2
    images = (torch.rand(40, 1, 16, 16) + labels.view(-1, 1, 1, 1)) / 2
    loop = plain.PlainCondenser(images, labels, 2, 2, 8)
    with torch.no_grad():
        loop.stored.copy_(torch.rand(4, 1, 16, 16))
    before = _mean_loss(loop, 15, learning_rate=0)
    _mean_loss(loop, 25, learning_rate=2)
    assert _mean_loss(loop, 15, learning_rate=0) < 0.7 * before  # 0.39 to 0.51 over 12 seeds


def _mean_loss(loop, steps, learning_rate):
    """Over several networks and draws, of which each has a loss of its own."""
    loop.optimizer.param_groups[0]["lr"] = learning_rate
    return sum(loop.step() for _ in range(steps)) / steps


def test_counted_arithmetic_is_the_issue_of_the_shapes():
    """101 MFLOP an image of CIFAR-10; 1,280 real and 400 decoded images, those there and back."""
    flop, _ = speed.counted(Case("", speed.CIFAR, 10, 10))
    assert flop == pytest.approx(211e9, rel=0.01)
    more, _ = speed.counted(Case("", speed.CIFAR, 10, 100))
    most, _ = speed.counted(Case("", speed.CIFAR, 10, 200))
    assert more == most  # at most 200 decoded images per class


def test_a_row(monkeypatch):
    monkeypatch.setattr(speed, "peak_memory", lambda case, device: 12.0)
    monkeypatch.setattr(speed, "compiled_passes", lambda: speed.Passes())
    row = speed.condensing(TINY, CPU)
    assert row["ours_s"] == min(row["eager_s"], row["compiled_s"])
    assert row["ratio"] == pytest.approx(row["plain_s"] / row["ours_s"])
    assert row["paper_run_s"] == pytest.approx(10_000 * row["ours_s"])
    assert row["peak_mb"] == 12.0


def test_memory_is_in_mb_of_a_million_bytes(monkeypatch):
    class Held:
        def __init__(self, *about):
            pass

        def run(self, iterations):
            self.kept = torch.ones(25_000_000)

    monkeypatch.setattr(speed, "Engine", Held)
    assert speed._peak_here(TINY, CPU, 1) == pytest.approx(100, abs=3)


def test_turns_are_alternate_and_the_median_counts(monkeypatch):
    order = []
    monkeypatch.setattr(speed, "seconds", lambda run, device: run() or 1.0)
    runs = {name: lambda k, name=name: order.append(name) for name in "ab"}
    times = speed.alternate(runs, 3, CPU)
    assert "".join(order) == "aabb" + 3 * "ab"
    assert times == {"a": 1.0, "b": 1.0}


def test_command_line_writes_rows_that_make_a_table(monkeypatch, tmp_path, capsys):
    rows = [
        {"case": "rates", "float32_tflops": 0.1, "copy_gbs": 20.0},
        {"case": "mnist-ipc1", "plain_s": 2.0, "eager_s": 1.0, "compiled_s": None}
        | {"ours_s": 1.0, "paper_run_s": 1e4, "ratio": 2.0, "eager_ratio": 2.0}
        | {
            "float32_tflops": 0.1,
            "copy_gbs": 20.0,
            "iterations_per_s": 1.0,
            "tflops": 0.05,
            "gbs": 2.0,
            "peak_mb": 9.0,
        },
        {"case": "classes-10", "eager_s": 0.02, "paper_run_s": 200.0, "peak_mb": 30.0},
        {"case": "herding-50000x2048-k50", "ours_s": 3.0},
    ]
    monkeypatch.setattr(speed, "measured", lambda *given: rows)
    file = tmp_path / "rows.jsonl"
    speed.main(["--json", str(file), "--device", "cpu"])
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["case"] for row in written] == [row["case"] for row in rows]
    assert all(row["device"] == "cpu" and row["torch"] == torch.__version__ for row in written)
    capsys.readouterr()
    speed_table.main(str(file))
    out = capsys.readouterr().out
    assert "| mnist-ipc1 | 2 | 1 |  | 2 | 2 | 1 | 167 | 0.05 | 50% | 2 | 10% | 9 |" in out
    assert "| classes-10 | 20 | 30 |" in out
    assert "herding" in out


@pytest.mark.parametrize("method", speed_methods.METHODS, ids=lambda method: method.name)
def test_a_methods_plain_loop_has_its_loss(method):
    """On one class: what the row compares computes the same."""
    network = plain.plain_convnet((3, 32, 32), 2, width=8)
    own = ConvNet((3, 32, 32), 2, width=8)
    own.blocks.load_state_dict(network[:-2].state_dict())
    own.head.load_state_dict(network[-1].state_dict())
    own.register_buffer(ACCURACY, torch.tensor(50.0))
    real, synthetic = torch.randn(5, 3, 32, 32), torch.randn(2, 3, 32, 32)
    synthetic.requires_grad_(True)
    ours = method.objective(own, Batch(real, [5], synthetic, [2]))
    theirs = method.plain(network, real, synthetic, 0)
    # CAFE's cross-entropy is 0 over one class; the plain gradients' norms are guarded by 1e-6.
    torch.testing.assert_close(ours[0], theirs, rtol=1e-2, atol=1e-4)


def test_a_row_a_method():
    found = list(speed.of_methods(CPU, replace(TINY, shape=(3, 16, 16))))
    names = [f"{name}-cifar10-ipc10" for name in ("dm", "dc", "dsa", "cafe", "idm")]
    assert [row["case"] for row in found] == names
    assert all(row["ratio"] == pytest.approx(row["plain_s"] / row["ours_s"]) for row in found)

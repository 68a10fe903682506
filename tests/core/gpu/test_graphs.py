"""Recording kind by kind, with a stand-in for the device's own recorder."""

from collections import Counter

import pytest
import torch

from m3d_sklearn.core.gpu import graphs
from m3d_sklearn.core.gpu.graphs import BEFORE, MOST, Graphs

CPU = torch.device("cpu")


class Recorder:
    """Records as a GPU does: the outputs stay where they are, and a replay fills them again."""

    def __init__(self):
        self.count = Counter()

    def __call__(self, step, device):
        self.count["recorded"] += 1
        outputs = step()

        def replay():
            self.count["replayed"] += 1
            outputs.copy_(step())

        return replay, outputs


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(graphs, "records", lambda device: True)
    recorder = Recorder()
    monkeypatch.setattr(graphs, "record", recorder)
    return recorder


def ones(*shape, value=1.0):
    return torch.full(shape, value)


def test_a_processor_calls_the_step_itself():
    given, run = ones(2), Graphs(CPU)
    for _ in range(BEFORE + 2):
        assert run(torch.Tensor.neg_, [given]) is given


def test_a_kind_is_recorded_after_some_plain_calls_and_replayed_with_new_inputs(recorder):
    run = Graphs(CPU)
    for call in range(BEFORE + 3):
        result = run(lambda x, y: x + 2 * y, [ones(2, value=call), ones(2)])
        assert result.tolist() == [call + 2.0] * 2
    assert recorder.count == {"recorded": 1, "replayed": 3}


@pytest.mark.parametrize(
    "other",
    [
        {"tensors": [ones(3)]},
        {"tensors": [torch.ones(2, dtype=torch.float64)]},
        {"kind": "another"},
    ],
)
def test_other_shapes_and_kinds_are_recorded_apart(recorder, other):
    run = Graphs(CPU)
    for _ in range(BEFORE + 1):
        run(torch.neg, [ones(2)])
        run(torch.neg, **{"tensors": [ones(2)]} | other)
    assert recorder.count["recorded"] == 2


def test_inputs_are_the_recorded_ones_and_not_the_callers(recorder):
    run, given = Graphs(CPU), ones(2)
    for _ in range(BEFORE + 1):
        run(torch.neg, [given])
    given.fill_(7.0)
    assert run(torch.neg, [ones(2, value=3.0)]).tolist() == [-3.0] * 2
    assert given.tolist() == [7.0] * 2


def test_kinds_beyond_the_most_run_as_they_are(recorder):
    run = Graphs(CPU)
    for kind in range(MOST + 2):
        for _ in range(BEFORE + 1):
            assert run(torch.neg, [ones(2)], kind).tolist() == [-1.0] * 2
    assert recorder.count["recorded"] == MOST


def test_what_cannot_be_recorded_runs_as_it_is(monkeypatch, recorder):
    def failing(step, device):
        recorder.count["tried"] += 1
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "record", failing)
    run = Graphs(CPU)
    for _ in range(BEFORE + 3):
        assert run(torch.neg, [ones(2)]).tolist() == [-1.0] * 2
    assert recorder.count == {"tried": 1}


def test_too_little_memory_is_told(monkeypatch, recorder):
    def failing(step, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(graphs, "record", failing)
    run = Graphs(CPU)
    for _ in range(BEFORE):
        run(torch.neg, [ones(2)])
    with pytest.raises(torch.OutOfMemoryError):
        run(torch.neg, [ones(2)])

import pytest
import torch

from m3d_sklearn.core.checkpoint import CheckpointError
from m3d_sklearn.core.keeper import Keeper, Unkept, interval

# What a keeper does to a run is in tests/test_resume.py.


def test_intervals():
    inf = float("inf")
    assert interval(7) == (7, inf)
    assert interval("60s") == (inf, 60)
    assert interval("1.5 h") == (inf, 5400)
    assert interval("5min") == (inf, 300)
    for wrong in ("", "60", "s", "-1s", "0s", "0.0min", "1e3s", "5 minutes", "60s\n"):
        with pytest.raises(ValueError, match="checkpoint_every must be") as caught:
            interval(wrong)
        assert repr(wrong) in str(caught.value)


def test_a_wrong_interval_is_refused_before_the_file_is_looked_at(tmp_path):
    (tmp_path / "run.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="checkpoint_every"):
        Keeper(tmp_path / "run.ckpt", "often", "warn")


def test_nobody_keeps_a_run_that_nobody_asked_to_keep():
    with Unkept() as keeper:
        assert keeper is None
    assert Unkept().restore({"networks": object()}) is False


class Holds:
    def __init__(self, value):
        self.value = value

    def state_dict(self):
        return {"value": self.value, "n_iter": 0}

    def load_state_dict(self, state):
        self.value = state["value"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(torch.zeros(2, dtype=torch.complex64), "complex64"), (object(), "object"), ({1: 2}, "names")],
)
def test_a_state_that_no_file_can_hold_is_told_by_the_checkpoints_error(value, said, tmp_path):
    keeper = Keeper(tmp_path / "run.ckpt", 1, "warn")
    keeper.open({}, {})
    keeper.restore({"progress": Holds(value)})
    with pytest.raises(CheckpointError, match=f"{said}.* Use checkpoint=None"):
        keeper.write(finished=False)
    assert list(tmp_path.iterdir()) == []

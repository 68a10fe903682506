import torch

from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sources import BilevelNetworks, FreshNetworks
from m3d_sklearn.core.sources.bilevel import MOST_EPOCHS, WINDOW
from m3d_sklearn.core.training import TrainingRecipe

CPU = torch.device("cpu")
ROWS, LABELS = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])


def real_source():
    fresh = FreshNetworks("mlp", (2,), 2, 1, Stream(0, CPU))
    recipe = TrainingRecipe(steps=0, batch_size=4, momentum=0.0, weight_decay=0.0)
    return BilevelNetworks(fresh, lambda rows: rows, LABELS, recipe, lambda: (ROWS, LABELS))


def source(accuracies, monkeypatch):
    """Networks whose accuracies are given, and how often one was redrawn and trained."""
    told, done = iter(accuracies), []
    networks = real_source()
    monkeypatch.setattr(networks, "_accuracy", lambda: next(told))
    monkeypatch.setattr(networks, "_train", lambda stored: done.append("trained"))
    monkeypatch.setattr(networks.fresh, "redraw", lambda: done.append("redrawn"))
    return networks, done


def run(networks, n):
    return [networks(Progress(ROWS, iteration))[1] for iteration in range(n)]


def step(accuracy, settled=0.7):
    """Accuracy after a step of the rows, and those of a training that settles at once."""
    return [accuracy, *[settled] * WINDOW]


TRAINED = ["trained"] * WINDOW


def test_a_network_is_trained_after_each_step_until_it_has_settled(monkeypatch):
    networks, done = source([*step(0.5) * 8, *step(0.53), 0.5, *step(0.5)], monkeypatch)
    assert run(networks, 12) == [True] * 12  # its weights are others after each
    assert done == TRAINED * 9 + ["redrawn"] + TRAINED


def test_one_that_moves_stays_until_its_last_ten_have_settled(monkeypatch):
    looks = [0.1, 0.2, 0.3, *[0.5] * 9]
    networks, done = source([*(a for look in looks for a in step(look)), 0.5], monkeypatch)
    run(networks, 14)
    assert done == TRAINED * 12 + ["redrawn"]


def test_a_training_goes_on_until_ten_epochs_lie_together(monkeypatch):
    networks, done = source([0.5, 0.1, 0.2, *[0.7] * 10], monkeypatch)
    run(networks, 2)
    assert done == ["trained"] * 12


def test_a_training_that_never_settles_ends(monkeypatch):
    networks, done = source([0.5, *[0.0, 1.0] * MOST_EPOCHS], monkeypatch)
    run(networks, 2)
    assert done == ["trained"] * MOST_EPOCHS


def test_by_real_accuracies_a_network_is_trained_and_then_replaced(monkeypatch):
    networks, redrawn = real_source(), []
    redraw = networks.fresh.redraw
    monkeypatch.setattr(networks.fresh, "redraw", lambda: (redrawn.append(1), redraw()))
    before = networks.fresh.network.head.weight.clone()
    run(networks, 2)
    assert not torch.equal(before, networks.fresh.network.head.weight)
    assert not redrawn
    run(networks, 40)
    assert redrawn


def test_the_accuracy_is_the_networks_on_the_query_set_and_training_is_real():
    networks = real_source()
    expected = (networks.fresh.network(ROWS).argmax(1) == LABELS).float().mean()
    assert networks._accuracy() == float(expected)
    before = networks.fresh.network.head.weight.clone()
    networks._train_until_settled(10 * ROWS)
    assert not torch.equal(before, networks.fresh.network.head.weight)
    assert not any(p.requires_grad for p in networks.fresh.network.parameters())

import torch

from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sources import BilevelNetworks, FreshNetworks
from m3d_sklearn.core.sources.bilevel import MOST_EPOCHS, WINDOW
from m3d_sklearn.core.training import TrainingRecipe

CPU = torch.device("cpu")
ROWS, LABELS = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])


def source(accuracies, monkeypatch):
    """Networks whose accuracies are given, and how often one was redrawn and trained."""
    told, done = iter(accuracies), []
    fresh = FreshNetworks("mlp", (2,), 2, 1, Stream(0, CPU))
    recipe = TrainingRecipe(steps=0, batch_size=4, momentum=0.0, weight_decay=0.0)
    networks = BilevelNetworks(fresh, lambda rows: rows, LABELS, recipe, lambda: (ROWS, LABELS))
    monkeypatch.setattr(networks, "_accuracy", lambda: next(told))
    monkeypatch.setattr(networks, "_train", lambda stored: done.append("trained"))
    monkeypatch.setattr(fresh, "redraw", lambda: done.append("redrawn"))
    return networks, done


def run(networks, n):
    return [networks(Progress(ROWS, iteration))[1] for iteration in range(n)]


def test_a_network_that_has_settled_is_replaced(monkeypatch):
    networks, done = source([0.5] * 9 + [0.53] + [0.5] * 9, monkeypatch)
    assert run(networks, 20) == [True] + [False] * 9 + [True] + [False] * 9
    assert done == ["redrawn"]


def test_one_that_moves_is_trained_until_it_settles(monkeypatch):
    moving = [0.5] * 9 + [0.6]  # of the steps; then of the epochs of its training
    networks, done = source([*moving, 0.1, 0.2, *[0.7] * 10, *[0.7] * 9], monkeypatch)
    run(networks, 20)
    assert done == ["trained"] * 12


def test_a_training_that_never_settles_ends(monkeypatch):
    restless = [0.0, 1.0] * MOST_EPOCHS
    networks, done = source([*[0.5] * 9, 0.9, *restless], monkeypatch)
    run(networks, 11)
    assert done == ["trained"] * MOST_EPOCHS


def test_nothing_is_decided_before_the_window_is_full(monkeypatch):
    networks, done = source([0.0, 1.0] * 5, monkeypatch)
    assert run(networks, WINDOW) == [True] + [False] * 9
    assert done == []


def test_the_accuracy_is_the_networks_on_the_query_set_and_training_is_real():
    fresh = FreshNetworks("mlp", (2,), 2, 1, Stream(0, CPU))
    recipe = TrainingRecipe(steps=0, batch_size=4, momentum=0.0, weight_decay=0.0)
    networks = BilevelNetworks(fresh, lambda rows: rows, LABELS, recipe, lambda: (ROWS, LABELS))
    expected = (fresh.network(ROWS).argmax(1) == LABELS).float().mean()
    assert networks._accuracy() == float(expected)
    before = fresh.network.head.weight.clone()
    networks._train_until_settled(10 * ROWS)
    assert not torch.equal(before, fresh.network.head.weight)
    assert not any(p.requires_grad for p in fresh.network.parameters())

import json

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from dae_sampler import DenoisingAutoencoder, InputError, Recipe, fit
from dae_sampler.data.dataset import Dataset
from dae_sampler.data.labels import Labels
from dae_sampler.evaluation.features import embed, feature_space, load_classifier
from dae_sampler.evaluation.metrics import Reference, frechet, nearest
from dae_sampler.evaluation.report import evaluate
from dae_sampler.pixels import to_float


def normal(n, mean=0.0, std=1.0, dim=4, seed=0):
    return mean + std * torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def test_frechet_distance_of_gaussians():
    real, fake = normal(50_000), normal(50_000, mean=1.5, std=2.0, seed=1)
    assert frechet(real, fake) == pytest.approx(4 * 1.5**2 + 4 * (2.0 - 1.0) ** 2, rel=0.02)


def test_frechet_distance_where_few_images_leave_most_directions_empty():
    """Two draws of rank one, along the same or orthogonal axes: (s1 - s2)^2, or s1^2 + s2^2."""
    draw = torch.linspace(-1, 1, 9)[:, None]
    draw = draw / draw.std()
    for seed in range(50):
        basis = torch.linalg.qr(normal(64, dim=64, seed=seed).double()).Q
        along, other = draw * basis[0], draw * basis[1]
        assert frechet(along, 3 * along) == pytest.approx(4, rel=1e-6)
        assert frechet(along, 3 * other) == pytest.approx(10, rel=1e-6)


def test_a_set_against_itself_is_perfect():
    x = normal(500)
    scores = Reference(x).compare(x)
    assert scores.frechet == pytest.approx(0, abs=1e-3)
    assert (scores.precision, scores.recall, scores.coverage) == (1, 1, 1)


def test_two_draws_of_one_distribution_have_density_and_coverage_near_one():
    scores = Reference(normal(2000)).compare(normal(2000, seed=1))
    assert scores.density == pytest.approx(1, abs=0.1)
    assert scores.coverage > 0.93


def test_far_sets_share_nothing():
    scores = Reference(normal(300)).compare(normal(300, mean=100))
    assert scores[1:] == (0, 0, 0, 0)


def test_dropped_mode_costs_recall_but_not_precision():
    both = torch.cat([normal(300), normal(300, mean=50, seed=1)])
    scores = Reference(both).compare(normal(300, seed=2))
    assert scores.precision > 0.9
    assert scores.recall == pytest.approx(0.5, abs=0.05)
    assert scores.coverage == pytest.approx(0.5, abs=0.05)


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="more than 5"):
        Reference(normal(5)).compare(normal(100))


def test_shipped_classifier_knows_its_digits(data_root):
    test = MNIST(data_root, train=False)
    with torch.inference_mode():
        found = load_classifier()(to_float(test.data[::5, None])).argmax(1)
    assert (found == test.targets[::5]).double().mean() > 0.985


def test_evaluate_for_machines(command, data_root, tmp_path):
    for name, train in (("train", True), ("test", False)):
        np.save(tmp_path / f"{name}.npy", MNIST(data_root, train=train).data[:1500].numpy())
    data = ["--data", tmp_path / "train.npy", "--test", tmp_path / "test.npy"]
    found = json.loads(command("evaluate", "mnist", *data, "-n", 100, "--sampler", "heun", "--steps", 3, "--json"))
    assert found["nfe"] == 5
    assert 0.7 < found["floor"]["precision"] <= 1
    assert found["ratio"] == pytest.approx(found["samples"]["frechet"] / found["floor"]["frechet"])


def test_nearest_finds_the_nearest():
    among = normal(300)
    distance, index = nearest(among[[7, 3]] + 0.001, among)
    assert index.tolist() == [7, 3]
    torch.testing.assert_close(distance, torch.full((2,), 0.002), atol=1e-4, rtol=0)


def test_evaluate_shows_a_model_that_copies(monkeypatch):
    g = torch.Generator().manual_seed(0)
    train, test = (torch.randint(0, 256, (n, 1, 8, 8), generator=g, dtype=torch.uint8) for n in (400, 100))
    dae = DenoisingAutoencoder("dense(8)", "gaussian(0.02..20)", (1, 8, 8))
    features = lambda images: images.flatten(1)  # noqa: E731
    for copies, fake in ((1.0, to_float(train[:100])), (0.0, torch.rand(100, 1, 8, 8, generator=g))):
        monkeypatch.setattr("dae_sampler.evaluation.report.tasks.sample", lambda *a, fake=fake, **k: [fake])
        found = evaluate(dae, train, test, features, n=100)
        assert found.copies == pytest.approx(copies, abs=0.05)
        assert len(found.excess) == 8
    assert found.shown.shape == (128, 1, 8, 8)


def test_own_feature_space_is_imported_and_others_are_refused(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def flat(images):\n    return images.flatten(1)\n")
    monkeypatch.chdir(tmp_path)
    assert embed(feature_space("mine:flat", (3, 4, 4)), torch.zeros(3, 3, 4, 4)).shape == (3, 48)
    for name, shape in (
        ("mnist", (3, 32, 32)),
        ("inceptoin", (3, 32, 32)),
        ("mine:round", (1, 28, 28)),
        ("math:pi", (1, 8, 8)),
    ):
        with pytest.raises(InputError):
            feature_space(name, shape)


def test_what_cannot_be_compared_is_refused_before_anything_is_sampled(monkeypatch):
    x = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
    dae = DenoisingAutoencoder("dense(8)", "gaussian(0.02..20)", (1, 8, 8))
    monkeypatch.setattr("dae_sampler.evaluation.report.tasks.sample", lambda *a, **k: pytest.fail("sampled"))
    with pytest.raises(InputError, match="more than 5"):
        evaluate(dae, x, x, lambda images: images.flatten(1), n=3)
    with pytest.raises(InputError, match="not finite"):
        evaluate(dae, x, x, lambda images: images.flatten(1) / 0, n=10)


def test_the_loss_by_level_is_told_the_classes():
    x = torch.cat([torch.zeros(60, 1, 4, 4), torch.ones(60, 1, 4, 4)])
    labels = torch.arange(120) // 60
    dae = DenoisingAutoencoder("dense(32)", "gaussian(0.02..20)", (1, 4, 4), labels=("dark", "bright"))
    known = Dataset(x, "two", (0.0, 1.0), labels=Labels(labels, ("dark", "bright")))
    fit(dae, known, Recipe(steps=150, batch=32, every=150, lr=0.01))
    told, untold = (evaluate(dae, x, x, lambda i: i.flatten(1), n=20, labels=each).excess for each in (labels, None))
    assert told[-1][1] < 0.8 * untold[-1][1]

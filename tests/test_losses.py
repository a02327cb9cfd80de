import pytest
import torch

from dae_sampler.losses import LOSSES, bce, entropy, mae, mse


def minimiser(loss, targets):
    """The constant reconstruction with the least mean loss over ``targets``, by gradient descent on its logit."""
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logit], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = loss(logit.expand_as(targets), targets).mean()
        value.backward()
        return value

    for _ in range(5):
        optimiser.step(closure)
    return torch.sigmoid(logit).item()


@pytest.mark.parametrize("loss", [bce, mse])
def test_optimum_is_the_mean_for_soft_targets_too(loss):
    targets = torch.tensor([0.0, 0.1, 0.2, 0.9, 1.0, 0.35], dtype=torch.float64)
    assert minimiser(loss, targets) == pytest.approx(targets.mean().item(), abs=1e-5)


def test_optimum_of_mae_is_the_median():
    targets = torch.tensor([0.0, 0.1, 0.2, 0.9, 1.0], dtype=torch.float64)
    assert minimiser(mae, targets) == pytest.approx(0.2, abs=0.01)


def test_bce_is_floor_plus_kl():
    x = torch.rand(1000, dtype=torch.float64)
    r = torch.rand(1000, dtype=torch.float64) * 0.98 + 0.01
    kl = x * (x / r).log() + (1 - x) * ((1 - x) / (1 - r)).log()
    torch.testing.assert_close(bce(torch.logit(r), x), entropy(x) + kl)


def test_floor_is_reached_and_only_by_the_target_itself():
    x = torch.rand(1000, dtype=torch.float64)
    torch.testing.assert_close(bce(torch.logit(x), x), entropy(x))
    assert (bce(torch.logit(x) + 0.1, x) > entropy(x)).all()


def test_entropy_at_the_ends_and_the_middle():
    assert entropy(torch.tensor([0.0, 1.0])).tolist() == [0, 0]
    assert entropy(torch.tensor(0.5)).item() == pytest.approx(0.6931472)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(name, size):
    logits = torch.full((3,), size, requires_grad=True)
    x = torch.tensor([0.0, 0.5, 1.0])
    value = LOSSES[name](logits, x)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(logits.grad).all()


def test_confident_and_wrong_costs_its_logit():
    assert bce(torch.tensor(1e4), torch.tensor(0.0)).item() == pytest.approx(1e4)

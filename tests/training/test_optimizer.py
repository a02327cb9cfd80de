import math

import pytest
import torch

from dae_sampler import DenoisingAutoencoder, InputError, Recipe
from dae_sampler.training.optimizer import Optimizer

RATE = 1e-3


def stepped(name):
    """A model with random gradients, and by how much one step changed each weight."""
    torch.manual_seed(0)
    dae = DenoisingAutoencoder("unet(16, 32)", "gaussian(0.05..5)", (1, 28, 28))
    optimizer = Optimizer(dae, name, weight_decay=0.0)
    before = {k: w.detach().clone() for k, w in dae.named_parameters()}
    gradients = {}
    for k, w in dae.named_parameters():
        gradients[k] = w.grad = torch.randn_like(w)
    optimizer.step(RATE)
    assert all(w.grad is None for w in dae.parameters())
    return gradients, {k: w.detach() - before[k] for k, w in dae.named_parameters()}


def test_muon_moves_a_matrix_as_far_in_every_direction():
    gradients, moved = stepped("muon")
    for name in ("net.encoder.0.0.conv1.weight", "net.attention.qkv.weight", "net.down.0.weight"):
        matrix = moved[name].flatten(1)
        size = 0.2 * RATE * math.sqrt(max(matrix.shape))  # the size of AdamW's updates
        singular = torch.linalg.svdvals(matrix) / size
        assert 0.5 < singular.min() <= singular.max() < 1.5
        assert (matrix * gradients[name].flatten(1)).sum() < 0


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_adamw_takes_the_rest(name):
    gradients, moved = stepped(name)
    vectors = [k for k in moved if k.endswith("bias") or "norm" in k]
    levels = ["embed.mlp.0.weight", "net.encoder.0.0.condition.weight"]
    for k in [*vectors, *levels, "net.first.weight", "net.last.weight"]:
        torch.testing.assert_close(moved[k], -RATE * gradients[k].sign(), rtol=1e-3, atol=1e-6)


def test_unknown_optimizer_is_refused():
    with pytest.raises(InputError, match="did you mean 'muon'"):
        Recipe(optimizer="moun")

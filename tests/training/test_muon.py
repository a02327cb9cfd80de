import pytest
import torch

from dae_sampler.training import muon
from dae_sampler.training.muon import Muon, orthogonalised


def matrices(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def exact(monkeypatch):
    """Products in float32, whatever the machine."""
    monkeypatch.setattr(muon, "pick_precision", lambda name, device: "float32")


@pytest.mark.parametrize("shape", [(3, 8, 20), (2, 20, 8), (1, 5, 5)])
def test_singular_vectors_stay_and_values_follow_the_polynomial(exact, shape):
    x = matrices(*shape)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    s = s / s.norm(dim=1, keepdim=True)
    for _ in range(3):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonalised(x), u @ torch.diag_embed(s) @ v, rtol=1e-4, atol=1e-5)


def test_a_matrix_of_zeros_stays(exact):
    assert torch.equal(orthogonalised(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_steps_as_torch_does(monkeypatch, precision):
    """Whose products are in bfloat16: within its rounding, which the iteration enlarges."""
    monkeypatch.setattr(muon, "pick_precision", lambda name, device: precision)
    start = [matrices(8, 20), matrices(20, 8), matrices(8, 20) / 3]
    mine, theirs = ([w.clone().requires_grad_() for w in start] for _ in range(2))
    ours = Muon(mine, lr=0.01, weight_decay=0.1)
    torchs = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, ns_steps=3, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for some in (mine, theirs):
            for w in some:
                w.grad = torch.sin(w.detach() * (step + 1))
        ours.step()
        torchs.step()
    for a, b, w in zip(mine, theirs, start, strict=True):
        moved = (b - w).norm()
        assert moved > 0
        assert (a - b).norm() < 0.03 * moved


def test_a_matrix_without_a_gradient_stays(exact):
    still, moving = (matrices(4, 6).requires_grad_() for _ in range(2))
    moving.grad = matrices(4, 6)
    Muon([still, moving], lr=0.01, weight_decay=0.1).step()
    assert torch.equal(still, matrices(4, 6))
    assert not torch.equal(moving, matrices(4, 6))

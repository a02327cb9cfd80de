import pytest
import torch

from dae_sampler import nets
from dae_sampler.errors import InputError

TEXTS = [
    "dense(32, 8, 32)",
    "conv(width=8, code=4)",
    "unet(width=8)",
    "unet(width=8, patch=4, blocks=2)",
    "unet(width=100)",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 17, 30), (1, 1, 2)])
def test_logits_have_the_shape_of_the_image(text, shape):
    x = torch.randn(2, *shape)
    for conditional in (True, False):
        net = nets.build(text, shape, conditional)
        c = torch.randn(2, net.embedding) if conditional else None
        assert net(x, c).shape == x.shape


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("conditional", [True, False])
def test_every_weight_learns(text, conditional):
    torch.manual_seed(0)
    net = nets.build(text, (1, 16, 16), conditional)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.01 * torch.randn_like(weight))  # off the zeros that hide what is behind them at the start
    c = torch.randn(4, net.embedding) if conditional else None
    net(torch.randn(4, 1, 16, 16), c).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("text", TEXTS)
def test_images_of_a_batch_do_not_mix(text):
    torch.manual_seed(0)
    net = nets.build(text, (1, 16, 16)).eval()
    x, c = torch.randn(3, 1, 16, 16), torch.randn(3, net.embedding)
    alone = torch.cat([net(x[i : i + 1], c[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(net(x, c), alone, atol=1e-5, rtol=1e-4)


def test_dense_has_the_widths_given():
    net = nets.build("dense(128, 64, 28, 64, 128)", (1, 28, 28))
    assert [layer.in_features for layer in net.layers] == [784, 128, 64, 28, 64, 128]
    assert net.layers[-1].out_features == 784


@pytest.mark.parametrize(
    "text",
    [
        "unet(width=4)",
        "unet(width=1e9)",
        "unet(blocks=0)",
        "dense(0)",
        "conv(code=0)",
        "unet(deep=1)",
        "net",
        "unet+unet",
        "dense(..)",
    ],
)
def test_bad_texts_are_refused(text):
    with pytest.raises(InputError):
        nets.build(text, (1, 28, 28))

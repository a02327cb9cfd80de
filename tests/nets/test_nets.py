import pytest
import torch
import torch.nn.functional as F

from dae_sampler import nets
from dae_sampler.errors import InputError
from dae_sampler.nets import amx
from dae_sampler.nets.amx import Convolution, ShortRows
from dae_sampler.nets.layers import Downsample, Upsample

TEXTS = [
    "dense(32, 8, 32)",
    "conv(width=8, code=4)",
    "unet(8, 16)",
    "unet(8, 16, 8, patch=4, blocks=2)",
    "unet(100)",
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


@pytest.mark.parametrize(
    ("shape", "widths"),
    [((1, 1, 2), [32]), ((1, 8, 8), [32, 64]), ((1, 28, 28), [32, 64, 128]), ((3, 60, 48), [32, 64, 128, 128])],
)
def test_unet_has_a_stage_for_each_halving_down_to_four_pixels(shape, widths):
    net = nets.build("unet", shape)
    assert [stage[0].conv1.in_channels for stage in net.encoder] == widths
    sides = []
    net.attention.register_forward_hook(lambda _, inputs, __: sides.extend(inputs[0].shape[-2:]))
    net(torch.randn(1, *shape), torch.randn(1, net.embedding))
    assert max(sides) <= 4


def test_upsampling_is_the_transposed_convolution():
    up, x = Upsample(6, 5), torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(up(x), F.conv_transpose2d(x, up.weight, up.bias, stride=2))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 6), (7, 3)])
def test_downsampling_is_the_convolution_of_stride_two(height, width):
    down, x = Downsample(6, 5), torch.randn(2, 6, height, width)
    even = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
    torch.testing.assert_close(down(x), F.conv2d(even, down.weight, down.bias, stride=2))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (7, 7), (3, 8), (1, 1)])
def test_short_rows_have_the_gradients_of_the_convolution(height, width):
    torch.manual_seed(0)
    shapes = (32, 6, height, width), (5, 6, 3, 3), (5,)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    y = F.conv2d(*inputs, padding=1)
    torch.testing.assert_close(ShortRows.apply(*inputs), y)
    weights = torch.randn_like(y)
    expected = torch.autograd.grad(y, inputs, weights)
    torch.testing.assert_close(torch.autograd.grad(ShortRows.apply(*inputs), inputs, weights), expected)


@pytest.mark.parametrize("batch", [32, 20])
def test_with_amx_or_without_a_convolution_has_the_same_gradients(monkeypatch, batch):
    torch.manual_seed(0)
    convolution, x = Convolution(8), torch.randn(batch, 8, 4, 4)

    def gradients(tiles):
        monkeypatch.setattr(amx, "multiplies_tiles", lambda device: tiles)
        with torch.autocast("cpu", torch.bfloat16):
            return torch.autograd.grad(convolution(x).square().sum(), convolution.parameters())

    for short, usual in zip(gradients(True), gradients(False), strict=True):
        assert (short - usual).norm() < 0.01 * usual.norm()


def test_dense_has_the_widths_given():
    net = nets.build("dense(128, 64, 28, 64, 128)", (1, 28, 28))
    assert [layer.in_features for layer in net.layers] == [784, 128, 64, 28, 64, 128]
    assert net.layers[-1].out_features == 784


@pytest.mark.parametrize(
    "text",
    [
        "unet(4)",
        "unet(8, 1e9)",
        "unet(8, 8, 8, 8, 8, 8, 8, 8, 8)",
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


def test_a_network_that_keeps_more_than_weights_is_refused(monkeypatch):
    class Normalised(torch.nn.Sequential):
        def __init__(self, shape, conditional, extra):
            super().__init__(torch.nn.Conv2d(1, 1, 3), torch.nn.BatchNorm2d(1))

    monkeypatch.setitem(nets.NETS, "mine:Normalised", Normalised)
    with pytest.raises(InputError, match=r"keeps 1\.running_mean .* GroupNorm"):
        nets.build("mine:Normalised", (1, 8, 8), conditional=False)

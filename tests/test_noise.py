import torch

from dae_sampler.noise import ImageNoise, StepNoise, batch_indices


def test_an_image_gets_the_same_noise_whatever_its_batch():
    whole = ImageNoise(7, 0, 8)
    part = ImageNoise(7, 3, 2)
    for draw in ("normal", "uniform", "normal"):
        everything = getattr(whole, draw)((8, 1, 4, 4))
        assert torch.equal(everything[3:5], getattr(part, draw)((2, 1, 4, 4)))


def test_images_and_seeds_differ():
    a, b = ImageNoise(0, 0, 4).normal((4, 16)), ImageNoise(1, 0, 4).normal((4, 16))
    assert len({tuple(row.tolist()) for row in torch.cat([a, b])}) == 8


def test_processes_share_out_the_global_draw():
    whole = StepNoise(3, 11).normal((8, 5))
    shards = [StepNoise(3, 11, rank=r, world=4).normal((2, 5)) for r in range(4)]
    assert torch.equal(whole, torch.cat(shards))


def test_steps_differ_and_repeat():
    assert torch.equal(StepNoise(0, 5).uniform((9,)), StepNoise(0, 5).uniform((9,)))
    assert not torch.equal(StepNoise(0, 5).uniform((9,)), StepNoise(0, 6).uniform((9,)))


def test_each_epoch_is_a_fresh_permutation():
    n, batch = 10, 4
    drawn = torch.cat([batch_indices(0, step, batch, n) for step in range(5)])
    first, second = drawn[:10], drawn[10:20]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(n))
    assert first.tolist() != second.tolist()


def test_a_batch_may_be_larger_than_the_data():
    assert torch.bincount(batch_indices(0, 0, 25, 10)).tolist().count(0) == 0


def test_moments():
    normal, uniform = ImageNoise(0, 0, 50).normal((50, 1000)), StepNoise(0, 0).uniform((50, 1000))
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert abs(uniform.mean() - 0.5) < 0.01


def test_data_on_the_cpu_are_drawn_from_the_same_source():
    noise = StepNoise(0, 5)
    assert noise.on_cpu() is noise

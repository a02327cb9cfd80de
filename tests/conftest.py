import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # there is another worker beside this one; child processes round alike

import pytest
import torch

from dae_sampler import cli
from dae_sampler.corruption import parse


class GaussianData:
    """The exact denoiser of N(mean, variance) data, any dimension: what samplers are held against."""

    device = torch.device("cpu")

    def __init__(self, mean=0.4, variance=0.01, corruption="gaussian(0.002..20)", shape=(1, 4, 4)):
        self.mean, self.variance, self.shape = mean, variance, shape
        self.corruption = parse(corruption)

    def __call__(self, x, level):
        sigma = torch.as_tensor(level)
        return self.mean + self.variance / (self.variance + sigma**2) * (x - self.mean)


@pytest.fixture(autouse=True)
def seeded():
    """Initial weights do not depend on which tests ran before."""
    torch.manual_seed(0)


@pytest.fixture
def gaussian_data():
    return GaussianData


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command in this process; returns what it printed."""

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["dae-sampler", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert end.value.code == code, captured
        return captured.out + captured.err

    return run


@pytest.fixture
def data_root():
    """Where MNIST lies, or a skip."""
    root = os.environ.get("DAE_SAMPLER_DATA")
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("set DAE_SAMPLER_DATA to a folder that holds MNIST/raw to run this")
    return Path(root)

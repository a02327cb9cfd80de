"""Feature spaces, in which sets of images are compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import hub
from ..errors import InputError, import_name, unknown
from ..pixels import to_float


class Classifier(nn.Module):
    """A small convolutional classifier of ten kinds of small images, whose last hidden layer is a feature space.

    Calling it gives logits (B,10); :meth:`features` gives (B,128).
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(9 * 128, 128),
        )
        self.head = nn.Linear(128, 10)

    def features(self, images: Tensor) -> Tensor:
        """Features before the last nonlinearity, (B,128), of images (B,C,H,W) in [0,1]."""
        return self.body(2 * images - 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.relu(self.features(images)))


def load_classifier() -> Classifier:
    """The MNIST classifier that ships, in evaluation mode.

    Raises:
        InputError: it is not there.
    """
    from safetensors.torch import load_file

    path = hub.folder() / "features" / "mnist.safetensors"
    if not path.is_file():
        raise InputError("the MNIST classifier does not lie beside the shipped models: install the package again")
    classifier = Classifier()
    classifier.load_state_dict(load_file(path))
    return classifier.eval().requires_grad_(False)


Features = Callable[[Tensor], Tensor]
"""Images (B,C,H,W), float32 in [0,1] -> features (B, any number)."""


def feature_space(name: str, shape: tuple[int, int, int]) -> Features:
    """The function that maps images of ``shape`` (C,H,W) to features.

    Args:
        name: ``"mnist"``, the classifier that ships; ``"inception"``, Inception v3's 2048 features by torchmetrics,
            whose weights torch-fidelity downloads; or ``"module:function"`` of your own, which is imported.
        shape: of the images.

    Raises:
        InputError: there is no such space, it is not for such images, or its weights cannot be had.
    """
    if name == "mnist":
        if tuple(shape) != (1, 28, 28):
            raise InputError(
                "the feature space 'mnist' is for 28x28 grey images: choose `features` inception, or yours"
            )
        return load_classifier().features
    if name == "inception":
        return _inception()
    if ":" not in name:
        raise unknown("feature space", name, ["mnist", "inception"])
    features = import_name(name, "features")
    try:
        found = features(torch.zeros(2, *shape))
        fits = isinstance(found, Tensor) and found.ndim == 2 and len(found) == 2
    except Exception as error:  # it is the user's code
        raise InputError(f"{name} fails on images {tuple(shape)} ({error}): check `features`") from None
    if not fits:
        raise InputError(f"{name} does not map images (B,C,H,W) to features (B, any number): check `features`")
    return features


def _inception() -> Features:
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        net = NoTrainInceptionV3("inception-v3-compat", ["2048"])
    except ImportError:
        raise InputError("Inception needs torch-fidelity: pip install 'dae-sampler[evaluate]' torch-fidelity") from None
    except Exception as error:  # a download can fail in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"Inception's weights cannot be had ({reason}): choose `features` module:function") from None
    return lambda images: net((255 * images.expand(-1, 3, -1, -1)).round().to(torch.uint8))


@torch.no_grad()
def embed(features: Features, images: Tensor, batch: int = 500) -> Tensor:
    """Features of all images (N,C,H,W), uint8 or float in [0,1]: (N, features), float32.

    Raises:
        InputError: some are not finite.
    """
    found = torch.cat([features(to_float(some)).float() for some in images.split(batch)])
    if not found.isfinite().all():
        raise InputError("some features are not finite: check the function that is given as `features`")
    return found

"""Trainable torch modules, one a file; `ancestral.from_torch` turns each into a Rust model."""

from ancestral import _torch  # noqa: F401  (first: it says what to install where torch is missing)
from ancestral.nn._base import Autoregressive
from ancestral.nn.fvsbn import FVSBN
from ancestral.nn.gated_pixelcnn import GatedPixelCNN
from ancestral.nn.made import MADE, MaskedLinear
from ancestral.nn.masked_conv import MaskedConv2d
from ancestral.nn.nade import NADE
from ancestral.nn.pixelcnn import PixelCNN

__all__ = ["FVSBN", "MADE", "NADE", "Autoregressive", "GatedPixelCNN", "MaskedConv2d", "MaskedLinear", "PixelCNN"]

"""Compressed files that were made once, and the models and rows they were made of: every later release reads them.

Weights and rows are integers of a bit generator, whose stream NumPy keeps (unlike those of its distributions), times
powers of two: the same on any machine and with any NumPy.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

import ancestral
import oracle

MODELS: dict[str, tuple[str, oracle.Config]] = {
    "fvsbn": ("FVSBN", oracle.fvsbn_config(37)),
    "nade": ("NADE", oracle.nade_config(37, 21, list(range(36, -1, -1)))),
    "pixelcnn": ("PixelCNN", oracle.pixelcnn_config((1, 5, 6), n_channels=10, n_head=9)),
    "categorical-rgb": ("PixelCNN", oracle.pixelcnn_config((3, 2, 3), 5, n_channels=12, n_head=7)),
    "categorical-256": ("PixelCNN", oracle.pixelcnn_config((1, 2, 2), 256, n_head=17)),
}
N, BLOCK_LEN = 7, 4


def model(name: str) -> ancestral.Model:
    """Weights between −1 and 1, of 24 bits so that sums of them round, times a power of two near 2/√inputs."""
    kind, config = MODELS[name]
    raw = np.random.PCG64(0)
    tensors = {}
    for key, like in oracle.random_tensors(kind, config, np.random.default_rng(0), 1.0).items():
        uniform = ((raw.random_raw(like.size) >> 40) * 2.0 + 1.0).reshape(like.shape) / 2**24 - 1.0
        n_inputs = max(1, np.count_nonzero(like) // len(like)) if like.ndim > 1 else 1
        factor = 2.0 ** (1 - round(math.log2(n_inputs) / 2))
        tensors[key] = np.where(like != 0, uniform * factor, 0).astype(np.float32)
    return ancestral.Model.from_tensors(kind, config, tensors)


def rows(name: str) -> npt.NDArray[np.uint8]:
    kind, config = MODELS[name]
    shape = (N, *oracle.event_shape(kind, config))
    raw = np.random.PCG64(1).random_raw(math.prod(shape))
    return ((raw >> 32) % oracle.n_classes(kind, config)).astype(np.uint8).reshape(shape)


FILES: dict[str, str] = {
    "fvsbn": (
        "89414e435a0d0a1a01000000b5d8dcf994b9e152203d11a3d9cd0ac7fd6f6651c96e64713bbc57582525adde070000000000"
        "00000400000025000000020000007bc155e21c000000c7f756b5180000001f73bbe6ce1d4820088d20633cd8d80a2a2e77c5"
        "3831012032715ab1a6b5a8a1521ec82947485cafb01b3f1a46b359186c5142570554bb85cec0c370"
    ),
    "nade": (
        "89414e435a0d0a1a01000000374852e3808d1ae070451efe2ab7b2629530b4027b903650f1e92c75a0c5bb1f070000000000"
        "0000040000002500000002000000630611381c000000a0b1fbd6180000002b35a4c002623e6f3516285735f9711f24e71403"
        "97a3b17fedf2e46463a487a72140ab8f1dabf4dd4f57108b415b56d26daca4598aa2c6ed0c464216"
    ),
    "pixelcnn": (
        "89414e435a0d0a1a01000000cf9203b50990b04a1f4ae2f079ceea325c10595b0d8203208501d5de4cc8a58e070000000000"
        "0000040000001e0000000200000037be6e4814000000bf27041f100000001b99b1beef2b84d536f5f8720091c3572c3f6959"
        "0d277a34b728b7beb2d0ca004b6f1badc0e9df2c1503be16"
    ),
    "categorical-rgb": (
        "89414e435a0d0a1a01000000fa34f71e8af2eb2aff620d91b44f637e0b54ba9820b26898a07869d815bc40f3070000000000"
        "0000040000001200000005000000b9f8311d24000000d9854692180000000e5428aed40cd6d703cf02f706ac5bade057993b"
        "6461fdb17b02b3482e35a7256f87f61cf011161c4de8f7c7c16852ab511773eb7532ec0476b7d42e04a5c79b49e974b7"
    ),
    "categorical-256": (
        "89414e435a0d0a1a01000000a99ba8d658251bdbd6e7ff0d8625396bb12f49322182169e2935630686ef2426070000000000"
        "0000040000000400000000010000b8d5a56f14000000690fdd12100000005aecb4870b7ff15bebfb51f37bdc74ac65e97cf8"
        "dd2152afaaaf69d460ecf0830ebce7fe09332bf5f6b8d1fd"
    ),
}

"""What is not a whole, valid model is refused: a FormatError, never a crash, a hang or a huge allocation."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ancestral
from support.cases import Case, build_case
from support.families import EVERY_SMALL, NADE, PixelCNN
from support.model_file import Header, file_of, join, split


@pytest.fixture(scope="module")
def nade(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, bytes]:
    case = build_case(NADE, NADE.config(5, 3, [4, 2, 0, 1, 3]))
    path = tmp_path_factory.mktemp("files") / "nade.safetensors"
    case.model.save(path)
    return case, path.read_bytes()


def refused(tmp_path: Path, content: bytes, match: str | None = None) -> str:
    path = tmp_path / "attack.safetensors"
    path.write_bytes(content)
    with pytest.raises(ancestral.FormatError, match=match) as error:
        ancestral.load(path)
    assert str(error.value)
    return str(error.value)


# --- damage ----------------------------------------------------------------------------------------------


def test_format_error_is_a_value_error() -> None:
    assert issubclass(ancestral.FormatError, ValueError)


def test_truncated_anywhere(nade: tuple[Case, bytes], tmp_path: Path) -> None:
    _, content = nade
    for length in range(len(content)):
        refused(tmp_path, content[:length])


def test_longer_than_it_should_be(nade: tuple[Case, bytes], tmp_path: Path) -> None:
    for extra in (b"\0", b"\0" * 4, nade[1]):
        refused(tmp_path, nade[1] + extra)


def test_any_byte_of_the_header_changed(nade: tuple[Case, bytes], tmp_path: Path) -> None:
    """Refused as a FormatError or a model: no other exception, no crash, no hang, no huge allocation."""
    _, content = nade
    path = tmp_path / "flipped.safetensors"
    x = nade[0].events(2)
    n_refused = 0
    for position in range(len(content) - len(split(content)[1])):
        for flip in (0x01, 0x10, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                model = ancestral.load(path)
            except ancestral.FormatError:
                n_refused += 1
            else:
                if model.n_dims == 5:
                    assert np.isfinite(model.log_prob(x)).all()
    assert n_refused > 1000


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.binary(max_size=300))
@example(b"")
@example(b"\x02\0\0\0\0\0\0\0{}")
@example(b"\xff" * 8)
@example(b"\0" * 8)
@example(b"PK\x03\x04" + b"\0" * 100)
@example(b"\x02\0\0\0\0\0\0\0[]")
@example(b"\x04\0\0\0\0\0\0\0null")
def test_garbage(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content)


@pytest.mark.parametrize("length", [0, 1, 2**20, 10**8, 10**8 + 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, 2**64 - 8])
def test_header_lengths(length: int, nade: tuple[Case, bytes], tmp_path: Path) -> None:
    refused(tmp_path, struct.pack("<Q", length) + nade[1][8:])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"__metadata__":{"format":' + "[" * 50_000 + "]" * 50_000 + "}}",
        b"\xff\xfe{}",
        b'{"__metadata__":{"kind":"\xed\xa0\x80"}}',
        "{}",
        '{"__metadata__":{}}',
        '{"__metadata__":[]}',
        '{"__metadata__":null}',
    ],
    ids=range(9),
)
def test_strange_headers(text: str | bytes, nade: tuple[Case, bytes], tmp_path: Path) -> None:
    refused(tmp_path, join(text, split(nade[1])[1]))


@pytest.mark.parametrize("config", ["[" * 100_000, '{"n_dims":' * 50_000, "", "{}", "[]", "null", "5", '"5"', "\0"])
def test_strange_configs(config: str, nade: tuple[Case, bytes], tmp_path: Path) -> None:
    header, data = split(nade[1])
    header["__metadata__"]["config"] = config
    refused(tmp_path, join(header, data))


def changed(content: bytes, change: Callable[[Header], None]) -> bytes:
    header, data = split(content)
    change(header)
    return join(header, data)


ATTACKS: dict[str, Callable[[Header], Any]] = {
    "no metadata": lambda h: h.pop("__metadata__"),
    "no format": lambda h: h["__metadata__"].pop("format"),
    "no kind": lambda h: h["__metadata__"].pop("kind"),
    "no config": lambda h: h["__metadata__"].pop("config"),
    "no version": lambda h: h["__metadata__"].pop("version"),
    "format of another program": lambda h: h["__metadata__"].update(format="pt"),
    "format empty": lambda h: h["__metadata__"].update(format=""),
    "kind unknown": lambda h: h["__metadata__"].update(kind="GPT"),
    "kind in other letters": lambda h: h["__metadata__"].update(kind="nade"),
    "kind of another model": lambda h: h["__metadata__"].update(kind="FVSBN"),
    "metadata is a number": lambda h: h["__metadata__"].update(kind=3),
    "config is an object, not its text": lambda h: h["__metadata__"].update(
        config=json.loads(h["__metadata__"]["config"])
    ),
    "tensor missing": lambda h: h.pop("c"),
    "tensor renamed": lambda h: h.update(cc=h.pop("c")),
    "tensor twice under two names": lambda h: h.update(extra=h["c"]),
    "empty tensor added": lambda h: h.update(extra={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
    "shape transposed": lambda h: h["W"].update(shape=h["W"]["shape"][::-1]),
    "shape flattened": lambda h: h["W"].update(shape=[15]),
    "shape with an axis more": lambda h: h["W"].update(shape=[*h["W"]["shape"], 1]),
    "shape scalar": lambda h: h["c"].update(shape=[]),
    "shape negative": lambda h: h["c"].update(shape=[-3]),
    "shape overflows": lambda h: h["W"].update(shape=[2**32, 2**32]),
    "shape overflows to the right size": lambda h: h["W"].update(shape=[3317, (2**64 + 15) // 3317]),
    "shape float": lambda h: h["c"].update(shape=[3.0]),
    "dtype as wide": lambda h: h["W"].update(dtype="I32"),
    "dtype half": lambda h: h["W"].update(dtype="F16", shape=[6, 5]),
    "dtype bytes": lambda h: h["W"].update(dtype="U8", shape=[3, 20]),
    "dtype unknown": lambda h: h["W"].update(dtype="F31"),
    "dtype missing": lambda h: h["W"].pop("dtype"),
    "offsets missing": lambda h: h["W"].pop("data_offsets"),
    "offsets beyond the file": lambda h: h["W"].update(data_offsets=[10**6, 10**6 + 60]),
    "offsets enormous": lambda h: h["W"].update(data_offsets=[2**63, 2**63 + 60]),
    "offsets reversed": lambda h: h["W"].update(data_offsets=h["W"]["data_offsets"][::-1]),
    "offsets negative": lambda h: h["W"].update(data_offsets=[-60, 0]),
    "offsets overlap": lambda h: h["b"].update(data_offsets=[0, 20]),
    "offsets swapped to another tensor": lambda h: h["V"].update(data_offsets=h["W"]["data_offsets"]),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_on_the_header(name: str, nade: tuple[Case, bytes], tmp_path: Path) -> None:
    refused(tmp_path, changed(nade[1], ATTACKS[name]))


@pytest.mark.parametrize("version", ["2", "99", "0", "", "1.0", "one"])
def test_another_version(version: str, nade: tuple[Case, bytes], tmp_path: Path) -> None:
    """A file of a later version says so."""
    message = refused(tmp_path, changed(nade[1], lambda h: h["__metadata__"].update(version=version)))
    assert "version" in message
    assert version in message


def test_keys_twice(nade: tuple[Case, bytes], tmp_path: Path) -> None:
    """Two readers could disagree on which of two equal keys counts."""
    header, data = split(nade[1])
    text = json.dumps(header)
    entry = f'"c": {json.dumps(header["c"])}'
    assert entry in text
    refused(tmp_path, join(text.replace(entry, f"{entry}, {entry}"), data))
    refused(tmp_path, join(text.replace('"kind": ', '"kind": "FVSBN", "kind": '), data))
    config = json.dumps(nade[0].config)[:-1] + ', "n_hidden": 3}'
    header["__metadata__"]["config"] = config
    refused(tmp_path, join(header, data))


ORDERS: list[Any] = [
    [], [0], [0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 4, 5], [0, 1, 2, 3, -1], [0, 1, 2, 3, 2**64],
    [0, 1, 2, 3, 2**32 + 4], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4.0], [0, 1, 2, 3, "4"], [0, 1, 2, 3, None],
    "natural", 0, {}, [[0, 1, 2, 3, 4]], True,
]  # fmt: skip
SIZES: list[Any] = [0, -1, 4, 2**31, 2**32 + 5, 2**63, 2**64, 10**30, 5.0, 5.5, "5", None, True, [5], 1e300]

WRONG_CONFIGS: list[tuple[str, Any]] = [
    *(("order", value) for value in ORDERS),
    *(("n_dims", value) for value in SIZES),
    *(("n_hidden", value) for value in SIZES),
    ("surplus", 1),
]


@pytest.mark.parametrize(("key", "value"), WRONG_CONFIGS, ids=str)
def test_wrong_configs(key: str, value: Any, nade: tuple[Case, bytes], tmp_path: Path) -> None:
    case, content = nade
    wrong = {**case.config, key: value}
    metadata = {"config": json.dumps(wrong)}
    message = refused(tmp_path, changed(content, lambda h: h["__metadata__"].update(metadata)))
    if isinstance(value, (str, list, dict, float)) or key == "surplus":
        assert key in message
    with pytest.raises((ValueError, TypeError)):
        ancestral.Model.from_tensors("NADE", wrong, case.tensors)


@pytest.mark.parametrize("key", ["n_dims", "n_hidden", "order"])
def test_config_with_a_key_missing(key: str, nade: tuple[Case, bytes], tmp_path: Path) -> None:
    config = {k: v for k, v in nade[0].config.items() if k != key}
    metadata = {"config": json.dumps(config)}
    message = refused(tmp_path, changed(nade[1], lambda h: h["__metadata__"].update(metadata)))
    assert key in message


PIXELCNN = PixelCNN.config((1, 3, 4))
WRONG_PIXELCNN: list[tuple[str, Any]] = [
    *(("event_shape", v) for v in ([], [1], [3, 4], [1, 3, 4, 1], [1, 0, 4], [0, 3, 4], [1, -3, 4])),
    *(("event_shape", v) for v in ([1, 3.0, 4], "1x3x4", None, 12, [5, 3, 4], [2, 3, 4])),
    *(("event_shape", v) for v in ([1, 2**32, 2**32], [2**64, 1, 1], [1, 10**12, 10**12], [1, 2**63, 2])),
    *(("n_classes", v) for v in (0, 1, 3, 257, -2, 2**32 + 2, 2.0, "2", None)),
    *(("n_channels", v) for v in (0, 1, 2, 7, 9, 10, -8, 2**63, 2**64, 8.0, None)),
    *(("n_blocks", v) for v in (0, 1, 3, -1, 2**32, 2**63, 10**12, 2.0, None)),
    *(("n_head", v) for v in (0, 1, 7, -6, 2**63, 6.0, None)),
    *(("input_scale", v) for v in (float("nan"), float("inf"), "1", None, [1.0], 1e39)),
    *(("input_shift", v) for v in (float("nan"), -float("inf"), "0", None, -1e39)),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG_PIXELCNN, ids=str)
def test_wrong_configs_of_a_pixelcnn(key: str, value: Any, tmp_path: Path) -> None:
    tensors = PixelCNN.random_tensors(PIXELCNN, np.random.default_rng(0), 1.0)
    if (key, value) == ("event_shape", [2, 3, 4]):
        tensors.pop("input.bias")  # other shapes may fit a two-channel image, but never with a tensor less
    wrong = {**PIXELCNN, key: value}
    refused(tmp_path, file_of("PixelCNN", wrong, tensors))
    with pytest.raises((ValueError, TypeError)):
        ancestral.Model.from_tensors("PixelCNN", wrong, tensors)


@pytest.mark.parametrize("name", EVERY_SMALL)
def test_parts_that_do_not_fit(name: str, build: Callable[..., Case], tmp_path: Path) -> None:
    """Of every family: tensors that are missing, one too many, of other shapes; settings of another sort."""
    family, config, tensors, _ = build(*EVERY_SMALL[name])
    wrong = [{**tensors, "another": np.zeros(2, np.float32)}, {}]
    for key, value in tensors.items():
        wrong.append({k: v for k, v in tensors.items() if k != key})
        wrong += [{**tensors, key: other} for other in (value[None], value[..., None], np.repeat(value, 2, axis=0))]
    for parts in wrong:
        refused(tmp_path, family.file(config, parts))
        with pytest.raises(ancestral.FormatError):
            family.model(config, parts)
    if (graph := family.graph(config)) is None:
        for key in config:
            refused(tmp_path, family.file({**config, key: {"a": 1}}, tensors))
        return
    # A network's config is for those who train it; what it is says the graph.
    graphs = graph.get("members", [graph])
    for part in [graph, *graphs, *[one["space"] for one in graphs], *[node for one in graphs for node in one["nodes"]]]:
        for key, value in list(part.items()):
            part[key] = {"a": 1}
            refused(tmp_path, file_of(family.kind, config, tensors, graph))
            part[key] = value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", EVERY_SMALL)
def test_values_that_are_not_finite(name: str, value: float, build: Callable[..., Case], tmp_path: Path) -> None:
    case = build(*EVERY_SMALL[name])
    for tensor in case.tensors:
        tensors = {key: array.copy() for key, array in case.tensors.items()}
        tensors[tensor].flat[-1] = value
        assert tensor in refused(tmp_path, case.family.file(case.config, tensors))
        with pytest.raises(ValueError, match=tensor.replace(".", r"\.")):
            case.family.model(case.config, tensors)


def test_an_enormous_image(run_python: Callable[..., str], tmp_path: Path) -> None:
    """Convolutions fit an image of any size: what a few kilobytes ask for must not take the process down."""
    tensors = PixelCNN.random_tensors(PIXELCNN, np.random.default_rng(0), 1.0)
    path = tmp_path / "model.safetensors"
    for side in (2**20, 2**28, 2**31):
        path.write_bytes(file_of("PixelCNN", {**PIXELCNN, "event_shape": [1, side, side]}, tensors))
        script = """
        import os
        import ancestral
        try:
            model = ancestral.load(os.environ["MODEL"])
            model.sample(1, rng=0)
        except (ancestral.FormatError, ValueError, MemoryError) as error:
            print("refused", error)
        """
        assert run_python(script, MODEL=str(path)).startswith("refused")

"""ancestral.plot: what is drawn, and that nothing global is touched."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ancestral import plot

pytest.importorskip("matplotlib")


def sheet(axes) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.ma.filled(axes.images[0].get_array().astype(float), np.nan)


def test_images_stand_in_rows_with_gaps_between() -> None:
    images = np.arange(5 * 2 * 3).reshape(5, 2, 3)
    drawn = sheet(plot.image_grid(images, n_cols=3))
    assert drawn.shape == (2 * 3 - 1, 3 * 4 - 1)
    np.testing.assert_array_equal(drawn[0:2, 4:7], images[1])
    np.testing.assert_array_equal(drawn[3:5, 0:3], images[3])
    assert np.isnan(drawn[2]).all()
    assert np.isnan(drawn[:, 3]).all()
    assert np.isnan(drawn[3:, 8:]).all()  # the sixth place stays empty


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, (3, 3)), ({"n_rows": 2}, (2, 4)), ({"n_cols": 7}, (1, 7)), ({"n_rows": 2, "n_cols": 2}, (2, 2))],
)
def test_number_of_rows_and_columns(given: dict[str, int], wanted: tuple[int, int]) -> None:
    drawn = sheet(plot.image_grid(np.ones((7, 1, 4, 4)), **given))
    assert drawn.shape == (wanted[0] * 5 - 1, wanted[1] * 5 - 1)


def test_colour_is_scaled_to_the_largest_value() -> None:
    images = np.zeros((1, 3, 2, 2), dtype=np.uint8)
    images[0, 1, 0, 0] = 7
    drawn = sheet(plot.image_grid(images))
    assert drawn.shape == (2, 2, 3)
    assert drawn[0, 0].tolist() == [0, 1, 0]


def test_all_zero_images_are_drawn_dark_and_vmax_sets_the_scale() -> None:
    assert plot.image_grid(np.zeros((2, 3, 3))).images[0].get_clim() == (0, 1)
    assert plot.image_grid(np.ones((2, 3, 3)), vmax=4).images[0].get_clim() == (0, 4)


@pytest.mark.parametrize("shape", [(784,), (3, 784), (3, 2, 4, 4), (0, 4, 4), (2, 0, 4)])
def test_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images has shape \(.*\); wanted .*reshape"):
        plot.image_grid(np.zeros(shape))


@pytest.mark.parametrize("name", ["n_rows", "n_cols"])
def test_wrong_grid_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is -1; wanted an integer of at least 1"):
        plot.image_grid(np.zeros((2, 4, 4)), **{name: -1})


def _history(valid: list[float]) -> SimpleNamespace:
    return SimpleNamespace(epochs=[1, 2, 3], train_nll=[9.0, 5.0, 3.0], valid_nll=valid, best_epoch=2)


def test_history_shows_both_curves_and_the_kept_epoch() -> None:
    axes = plot.history(_history([9.5, 6.25, 7.0]))  # type: ignore[arg-type]
    train, valid, best = axes.get_lines()
    assert list(train.get_ydata()) == [9.0, 5.0, 3.0]
    assert list(valid.get_ydata()) == [9.5, 6.25, 7.0]
    assert (list(best.get_xdata()), list(best.get_ydata())) == ([2], [6.25])
    assert "nats" in axes.get_ylabel()


@pytest.mark.parametrize("n", [1, 3, 20])
def test_epochs_are_marked_at_whole_numbers(n: int) -> None:
    epochs = list(range(1, n + 1))
    axes = plot.history(SimpleNamespace(epochs=epochs, train_nll=epochs, valid_nll=[], best_epoch=n))  # type: ignore[arg-type]
    ticks = axes.get_xticks()
    assert set(ticks) & set(epochs)
    assert all(tick.is_integer() for tick in ticks)


def test_history_without_validation() -> None:
    axes = plot.history(_history([]))  # type: ignore[arg-type]
    assert [line.get_label() for line in axes.get_lines()] == ["train"]


def test_histograms_share_bins_and_are_densities() -> None:
    sets = {"few": [-10.0, -8.0, -8.1], "many": np.linspace(-20, -5, 1000)}
    axes = plot.log_prob_histogram(sets, n_bins=30)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["few", "many"]
    few, many = (patch.get_xy() for patch in axes.patches)
    np.testing.assert_array_equal(np.unique(few[:, 0]), np.unique(many[:, 0]))
    assert np.unique(many[:, 0]) == pytest.approx(np.linspace(-20, -5, 31))
    for outline in (few, many):
        x, y = outline.T
        area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2  # of a polygon, by the shoelace formula
        assert area == pytest.approx(1.0)
    assert "nats" in axes.get_xlabel()


def test_histogram_of_one_value() -> None:
    assert len(plot.log_prob_histogram({"same": np.full(9, -3.0)}).patches) == 1


@pytest.mark.parametrize(
    ("sets", "error"),
    [
        ({}, ValueError),
        ({"a": []}, ValueError),
        ({"a": [-1.0], "b": np.zeros((2, 2))}, ValueError),
        ({"a": [-1.0, np.nan]}, ValueError),
        ({"a": [-np.inf]}, ValueError),
        ([-1.0, -2.0], TypeError),
        (np.zeros(3), TypeError),
    ],
)
def test_wrong_log_probs_are_named(sets: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^log_probs.*; wanted "):
        plot.log_prob_histogram(sets)  # type: ignore[arg-type]


def test_wrong_number_of_bins_is_named() -> None:
    with pytest.raises(ValueError, match="n_bins is 0; wanted an integer of at least 1"):
        plot.log_prob_histogram({"a": [-1.0]}, n_bins=0)


def test_draws_on_the_given_axes_and_saves_without_pyplot(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    loaded = "matplotlib.pyplot" in sys.modules
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot.image_grid(np.ones((4, 3, 3)), title="four", ax=left) is left
    assert plot.history(_history([]), ax=right) is right  # type: ignore[arg-type]
    assert plot.log_prob_histogram({"a": [-1.0, -2.0]}, ax=right) is right
    figure.savefig(tmp_path / "both.png")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert left.get_title() == "four"
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"ancestral\[plot\]"):
        plot.image_grid(np.ones((1, 2, 2)))

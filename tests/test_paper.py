"""Figure 8 as printed: its sums against its entries, and the paper's text against both."""

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo.figures.benchmarks import benchmarks_figure
from mhc_demo.numerics.paper import FIGURE_8_TITLES, MHC_PAPER, TABLE_4, figure8_source

pytestmark = pytest.mark.filterwarnings("error")

PANELS = {(panel.method, panel.key): panel for panel in mhc.figure8()}
EVERY = pytest.mark.parametrize("panel", PANELS.values(), ids=lambda p: f"{p.method}-{p.key}")


def test_figure_8_has_six_panels_of_each_method():
    assert list(PANELS) == [(method, key) for method in ("hc", "mhc") for key in FIGURE_8_TITLES]
    for panel in PANELS.values():
        assert panel.matrix.shape == (4, 4)
        assert panel.row_sums.shape == panel.column_sums.shape == (4,)
        assert panel.title == FIGURE_8_TITLES[panel.key]


def test_the_sources_name_their_papers():
    assert "arXiv:2512.24880" in MHC_PAPER
    assert "Figure 8" in figure8_source()
    assert MHC_PAPER in figure8_source()


@EVERY
def test_the_numbers_have_the_declared_decimals(panel):
    large = panel.method == "hc" and panel.key in ("composite_31_60", "composite_1_60")
    assert panel.decimals == (1 if large else 2)
    for numbers in (panel.matrix, panel.row_sums, panel.column_sums):
        np.testing.assert_array_equal(numbers, np.round(numbers, panel.decimals))


@EVERY
def test_the_printed_sums_are_the_sums_of_the_entries_to_the_printed_digits(panel):
    # Four entries and the sum itself, each off by at most half a unit of the last digit.
    unit = 10.0**-panel.decimals
    tolerance = 4 * unit / 2 + unit / 2
    np.testing.assert_allclose(panel.matrix.sum(1), panel.row_sums, rtol=0, atol=tolerance)
    np.testing.assert_allclose(panel.matrix.sum(0), panel.column_sums, rtol=0, atol=tolerance)


@EVERY
def test_the_printed_sums_label_rows_and_columns_and_not_the_other_way_round(panel):
    if panel.method == "mhc" and panel.key == "layer_60":
        # Doubly stochastic to a hundredth: both readings fit.
        assert np.abs(panel.row_sums - panel.column_sums).max() <= 0.0101
        return
    wrong = np.abs(panel.matrix.sum(0) - panel.row_sums).max()
    right = np.abs(panel.matrix.sum(1) - panel.row_sums).max()
    assert wrong > 2 * right


def gains(method, key):
    matrix = PANELS[method, key].matrix
    return {
        (direction, definition): float(mhc.amax_gain(matrix, direction, definition))
        for direction in ("forward", "backward")
        for definition in ("paper", "worst-case")
    }


def test_the_two_definitions_differ_by_a_factor_of_two_in_hc_31_60():
    gain = gains("hc", "composite_31_60")
    assert gain["forward", "paper"] == pytest.approx(264.6, abs=1e-9)
    assert gain["forward", "worst-case"] == pytest.approx(568.2, abs=1e-9)  # "about 568"
    assert gain["backward", "paper"] == pytest.approx(489.0, abs=1e-9)
    assert gain["backward", "worst-case"] == pytest.approx(1026.8, abs=1e-9)


def test_hyper_connections_gain_509_over_all_60_layers():
    gain = gains("hc", "composite_1_60")
    assert gain["forward", "paper"] == pytest.approx(509.1, abs=1e-9)
    assert gain["backward", "paper"] == pytest.approx(259.1, abs=1e-9)


def test_the_first_layer_of_hc_alone_gains_18_7():
    assert gains("hc", "layer_1")["forward", "paper"] == pytest.approx(18.72, abs=1e-9)


def test_mhc_row_sums_are_printed_as_1_and_only_the_whole_composite_has_1_01():
    for (method, key), panel in PANELS.items():
        if method == "mhc":
            expected = [1, 1.01, 1.01, 1] if key == "composite_1_60" else [1, 1, 1, 1]
            np.testing.assert_array_equal(panel.row_sums, expected)


def test_mhc_column_sums_range_from_0_41_to_1_50():
    sums = np.stack([p.column_sums for p in PANELS.values() if p.method == "mhc"])
    assert (sums.min(), sums.max()) == (0.41, 1.5)


def test_mhc_has_no_negative_entry_so_both_definitions_agree():
    for (method, key), panel in PANELS.items():
        if method == "mhc":
            assert (panel.matrix >= 0).all()
            gain = gains(method, key)
            for direction in ("forward", "backward"):
                assert gain[direction, "paper"] == gain[direction, "worst-case"]


def test_a_truncated_projection_is_not_quite_non_expansive():
    # Spectral norm 1.14, to the printed digits of the entries.
    norm = np.linalg.norm(PANELS["mhc", "composite_31_60"].matrix, 2)
    assert norm == pytest.approx(1.14, abs=0.01)


def test_sixty_layers_of_mhc_have_made_the_streams_alike():
    matrix = PANELS["mhc", "composite_1_60"].matrix
    np.testing.assert_allclose(matrix, 0.25, atol=0.04)  # "about 0.25 everywhere"
    assert mhc.METRICS["stream_disagreement"](matrix) < 0.06


def test_the_benchmarks_are_drawn_as_printed():
    p = benchmarks_figure()
    for k, method in enumerate(("HC", "mHC"), start=1):
        data = p.select_one({"name": method}).data_source.data
        assert list(data["benchmark"]) == list(TABLE_4)
        for benchmark, ahead in zip(data["benchmark"], data["ahead"], strict=True):
            plain, *others = TABLE_4[benchmark]
            assert ahead == pytest.approx(others[k - 1] - plain)
    ahead_of_hc = {name for name, (_, hc, mhc_) in TABLE_4.items() if mhc_ > hc}
    assert set(TABLE_4) - ahead_of_hc == {"MATH"}  # as the note and the story say
    assert all(hc > plain for plain, hc, _ in TABLE_4.values())

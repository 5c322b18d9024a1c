"""Figures with several panels, as of ours beside the paper's."""

import pytest

from dact.explain import figures, sweep_figures
from dact.explain.sweep import Setting, Spread
from dact.explain.sweep_figures import FamilyPoint


def setting(model, label, accuracy, steps):
    return Setting(model, label, "x", 1, Spread(accuracy, None), Spread(steps, None), None)


PANELS = {
    "one": [setting("mac", "1 step", 0.5, 1.0), setting("dact", "τ=0", 0.9, 2.0)],
    "other": [
        setting("act", "", 0.7, 3.0),
        setting("act", "", 0.6, 2.0),
        setting("mac", "2 steps", 0.8, 2.0),
    ],
}


def test_every_panel_has_its_points_and_a_kind_its_colour():
    """Points without names are not joined: nobody says which follows which."""
    drawn = sweep_figures.sweep_panels(PANELS, "accuracy", "accuracy", ("dact",)).axes
    assert [axes.get_title(loc="left") for axes in drawn] == ["one", "other"]
    colors = {}
    for axes, settings in zip(drawn, PANELS.values(), strict=True):
        assert {bars.get_label() for bars in axes.containers} == {one.model for one in settings}
        for bars in axes.containers:
            own = sorted(
                (s.steps.mean, s.accuracy.mean) for s in settings if s.model == bars.get_label()
            )
            assert list(zip(*bars[0].get_data(), strict=True)) == own
            colors.setdefault(bars.get_label(), set()).add(bars[0].get_color())
            assert (bars[0].get_linestyle() == "None") == (bars.get_label() == "act")
    assert all(len(own) == 1 for own in colors.values())
    assert len(set.union(*colors.values())) == len(colors) == 3
    assert [text.get_text() for axes in drawn for text in axes.texts] == ["τ=0"]


@pytest.mark.parametrize("count", [1, 6])
def test_there_are_colours_for_all_kinds_of_a_page(count):
    kinds = [setting(f"kind {n}", "x", 0.5, 1.0) for n in range(count)]
    (axes,) = sweep_figures.sweep_map(kinds, "accuracy", "accuracy").axes
    assert len(axes.containers) == count


def test_families_are_points_in_the_colour_of_their_type():
    ours = [FamilyPoint("count", 5.0, 2.0), FamilyPoint("query", 4.5, 1.0)]
    theirs = [FamilyPoint("count", 7.0, 8.0), FamilyPoint("count", 6.0, 9.0)]
    figure = sweep_figures.family_panels({"a": ours, "b": theirs})
    one, other = figure.axes
    points = [[c.get_offsets().tolist() for c in axes.collections] for axes in (one, other)]
    assert points == [[[[5.0, 2.0]], [[4.5, 1.0]]], [[[7.0, 8.0], [6.0, 9.0]], []]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["count", "query"]
    first, second = (axes.collections[0].get_facecolor().tolist() for axes in (one, other))
    assert first == second


def test_the_same_panels_are_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        figure = sweep_figures.sweep_panels(PANELS, "accuracy", "accuracy")
        figures.save_as(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()

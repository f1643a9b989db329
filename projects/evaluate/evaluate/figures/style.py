"""How every figure looks."""

from typing import Any, Literal

from bokeh.models.annotations import Title
from bokeh.plotting import figure

# Colours that stay apart for the colour-blind (Okabe and Ito 2008), darkest first.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b", "#000000")
BACKGROUND, ZERO_LAG, INJECTIONS, KNOWN = "#5b6b7f", "#d55e00", "#0072b2", "#009e73"
GUIDE = "#9aa5b1"
# Colours by which people of the field know the detectors.
IFO_COLORS = {"H1": "#ee0000", "L1": "#4ba6ff", "V1": "#9b59b6", "K1": "#ffb200", "G1": "#222222"}
Place = Literal["top_left", "top_right", "bottom_right", "below"]
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def ifo_color(ifo: str, position: int) -> str:
    """Colour of a detector, by its position where it has none of its own."""
    return IFO_COLORS.get(ifo, COLORS[position % len(COLORS)])


def new_figure(title: str, x: str, y: str, height: int = 360, **options: Any) -> figure:
    """An empty figure as wide as its place.

    Args:
        title: Title.
        x: Label of the horizontal axis, with unit.
        y: Label of the vertical axis, with unit.
        height: Height in pixels.
        options: Further options of `bokeh.plotting.figure`.
    """
    plot = figure(
        title=Title(text=title, text_font=FONT, text_font_size="14px", text_color="#1c2733"),
        x_axis_label=x,
        y_axis_label=y,
        height=height,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset,save",
        **options,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.outline_line_color = "#d5dbe1"
    plot.grid.grid_line_color = "#eceff3"
    for axis in plot.axis:
        axis.axis_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "13px"
        axis.major_label_text_font = FONT
        axis.major_label_text_font_size = "12px"
        axis.axis_line_color = "#b8c0c9"
        axis.minor_tick_line_color = None
    return plot


def finish_legend(plot: figure, location: Place) -> figure:
    """Place the legend; a click on an entry hides what it stands for.

    Args:
        plot: A figure whose glyphs have labels.
        location: A corner, as bokeh names it, or `below` for a place outside of the axes.
    """
    for legend in plot.legend:
        legend.click_policy = "hide"
        legend.label_text_font = FONT
        legend.label_text_font_size = "12px"
        legend.background_fill_alpha = 0.85
        legend.border_line_color = "#d5dbe1"
        legend.spacing = 1
        if location == "below":
            plot.add_layout(legend, "below")
            legend.ncols = 2
            legend.border_line_color = None
        else:
            legend.location = location
    return plot

"""Figures of the report: each function turns results into bokeh figures."""

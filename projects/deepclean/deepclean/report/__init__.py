"""What cleaning did to a span of frames, as numbers and as a page."""

from deepclean.report.findings import Findings, find
from deepclean.report.page import render
from deepclean.report.parts import Reader

__all__ = ["Findings", "Reader", "find", "render"]

"""Numbers in words and units."""

from evaluate.candidates import Candidate
from evaluate.origin import Origin
from evaluate.rates import YEAR

UNITS = (("yr", YEAR), ("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def duration(seconds: float) -> str:
    """A time in the largest unit of which it holds one or more."""
    for unit, length in UNITS:
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.2g} s"


def number(value: float) -> str:
    """Four digits, without an exponent where people count so far."""
    if 1000 <= value < 1e8:
        return f"{float(f'{value:.4g}'):,.0f}"
    return f"{value:.3g}"


def rate(per_year: float) -> str:
    """A rate per year, and the time in which there is one."""
    return f"{number(per_year)} / yr (1 per {duration(YEAR / per_year)})"


def candidate_rate(event: Candidate) -> str:
    """False-alarm rate of an event, with the sign that says what is known of it."""
    if event.far is None:
        return "above that of the kept background"
    return f"{'< ' if event.is_upper_limit else ''}{rate(event.far)}"


def candidate_interval(event: Candidate) -> str:
    """Poisson interval of an event's false-alarm rate."""
    if event.far_interval is None:
        return ""
    low, high = event.far_interval
    return f"{number(low)} to {number(high)} / yr"


def probability(origin: Origin | None) -> str:
    """p_astro of an event; nothing if it is not known."""
    if origin is None:
        return ""
    return "> 0.999" if origin.p_astro > 0.999 else f"{origin.p_astro:.3f}"

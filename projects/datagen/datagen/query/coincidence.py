"""Times at which all detectors take science data and no veto holds, for each role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from igwn_segments import segmentlist
from runtime.experiment import Role, Span

from datagen.query.intervals import length, split, within
from datagen.query.science import Science
from datagen.query.vetoes import Veto


@dataclass(frozen=True)
class Yield:
    """What a role gets, and what each cut took.

    Attributes:
        role: The role.
        span: Its GPS span [s].
        science: Science time of each detector in it [s].
        vetoed: For each detector and kind of veto (a category, or `gate`) the science time it
            took; what two kinds take counts for both [s].
        coincident: Time in which all detectors take science data [s].
        unvetoed: What the vetoes leave of that [s].
        minimum_length: Least length of a segment [s].
        segments: Those pieces of it that are long enough, in order of time.
    """

    role: Role
    span: Span
    science: dict[str, float]
    vetoed: dict[str, dict[str, float]]
    coincident: float
    unvetoed: float
    minimum_length: float
    segments: list[tuple[float, float]]

    @property
    def livetime(self) -> float:
        """Length of all segments [s]."""
        return float(sum(stop - start for start, stop in self.segments))

    def __str__(self) -> str:
        cuts = [
            f"{ifo} {kind} {seconds:.0f} s"
            for ifo, kinds in self.vetoed.items()
            for kind, seconds in kinds.items()
        ]
        return (
            f"strain.{self.role} [{self.span[0]:.0f}, {self.span[1]:.0f}) has science data of "
            f"{', '.join(f'{ifo} {seconds:.0f} s' for ifo, seconds in self.science.items())}; "
            f"all at once {self.coincident:.0f} s; vetoes leave {self.unvetoed:.0f} s"
            f"{' (' + ', '.join(cuts) + ')' if cuts else ''}; segments shorter than "
            f"{self.minimum_length:g} s took {self.unvetoed - self.livetime:.0f} s and left "
            f"{len(self.segments)} segments of {self.livetime:.0f} s"
        )


def coincide(detectors: Sequence[segmentlist]) -> segmentlist:
    """Times that all detectors have."""
    first, *others = detectors
    for other in others:
        first = first & other
    return first


def subtract(science: Sequence[segmentlist], vetoes: Sequence[Veto]) -> list[segmentlist]:
    """Take from each detector's science segments its own vetoes."""
    left = list(science)
    for veto in vetoes:
        left[veto.ifo] = left[veto.ifo] - veto.segments
    return left


def role_yield(
    role: Role,
    span: Span,
    minimum_length: float,
    ifos: Sequence[str],
    science: Science,
    vetoes: Sequence[Veto],
) -> Yield:
    """Coincident segments of a role, with an account of what was cut.

    Args:
        role: The role.
        span: Its GPS span [s].
        minimum_length: Least length of a segment, after all cuts [s].
        ifos: Detectors.
        science: Their science segments.
        vetoes: Their vetoes.
    """
    active = [within(segments, *span) for segments in science.active]
    left = coincide(subtract(active, vetoes))
    pieces = split(left, science.edges)
    vetoed: dict[str, dict[str, float]] = {}
    for index, ifo in enumerate(ifos):
        for kind in dict.fromkeys(veto.kind for veto in vetoes if veto.ifo == index):
            taken = segmentlist()
            for veto in vetoes:
                if veto.ifo == index and veto.kind == kind:
                    taken = taken | veto.segments
            vetoed.setdefault(ifo, {})[kind] = length(taken & active[index])
    return Yield(
        role=role,
        span=span,
        science={ifo: length(own) for ifo, own in zip(ifos, active, strict=True)},
        vetoed=vetoed,
        coincident=length(coincide(active)),
        unvetoed=length(left),
        minimum_length=minimum_length,
        segments=[(start, stop) for start, stop in pieces if stop - start >= minimum_length],
    )

"""What events are ranked by.

A class that a module of this package registers is known by its name in `search.ranking`.
"""

import importlib
import pkgutil

from infer.ranking.base import RANKINGS, Ranking, make_ranking, register
from infer.ranking.events import Ranker, rank_pieces

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["RANKINGS", "Ranker", "Ranking", "make_ranking", "rank_pieces", "register"]

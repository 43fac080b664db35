"""Arguments as users write them, checked and turned into what the core takes.

Every error names the argument, what came and what was wanted, "X is ...; wanted ...": TypeError for the kind of thing,
ValueError for its value.
"""

from ancestral._arguments.arrays import as_array, is_tensor
from ancestral._arguments.data import (
    all_values,
    as_values,
    bounds,
    events,
    evidence,
    log_probs,
    partial_events,
    stacked,
    values,
)
from ancestral._arguments.numbers import LAST_INDEX, LAST_ROW, batch_size, flag, integer, integers, real, threads
from ancestral._arguments.outputs import Scalar, empty, output, parts
from ancestral._arguments.random import Rng, seed
from ancestral._arguments.shapes import wrong_shape
from ancestral._arguments.strings import brief, choice, json_text, path, text

__all__ = [
    "LAST_INDEX",
    "LAST_ROW",
    "Rng",
    "Scalar",
    "all_values",
    "as_array",
    "as_values",
    "batch_size",
    "bounds",
    "brief",
    "choice",
    "empty",
    "events",
    "evidence",
    "flag",
    "integer",
    "integers",
    "is_tensor",
    "json_text",
    "log_probs",
    "output",
    "partial_events",
    "parts",
    "path",
    "real",
    "seed",
    "stacked",
    "text",
    "threads",
    "values",
    "wrong_shape",
]

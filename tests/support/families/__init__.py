"""Every family of models, listed once. The generic tests run over this list.

A new family is a file here with a subclass of `Family`, and a line in `FAMILIES`. It must give

- `kind`, its name in model files, and `config(...)`, which makes a config of its arguments;
- `configs`, the models that the tests take;
- `formula`: logits in float64 of (config, tensors, x), from the paper alone; `hidden` if it has features, else `lacks`;
- `weights`, `last_layer`, `n_params`, `of_bits`, `any_config`;
- and what differs from the defaults: `graph` (of a network), `order`, `event_shape`, `n_classes`, `last_bias`,
  `module`, `state`, `revision`, `core_step`.

`make references` then writes its entries. What is checked of each family, and in which tests/test_NAME.py:

    log_prob and conditionals against `formula`; torch modules; any config     parity
    surprise, features, temperature against `formula`                          surprise, features, temperature
    Σ p = 1; χ² of 200,000 draws; a conditional sees only what came before     exact
    sample_and_log_prob gives the bits of sample and log_prob                  parity
    equal bits with any batch, threads, start, layout, stream                  reproducible (support/bits.py)
    equal bits on every instruction set, in later releases                     references (`configs.references`)
    equal bits in every floating-point mode                                    float_modes
    completion, beam search, ranges, information, typicality                   completion, beam_search, ranges, ...
    any sequence of operations                                                 machine
    save and load; pickle and copies                                           files, process
    other tensors; damaged and hostile files                                   from_tensors, {damaged,hostile}_files
    compression; hostile blobs                                                 compression, damaged_blobs

Mixtures of orders have a list of their own, `MIXTURES`: what takes conditionals they refuse (mixtures), the rest runs
over both lists (`EVERY_SMALL` and the like).
"""

from __future__ import annotations

from support.families.family import Family
from support.families.fvsbn import FVSBN
from support.families.gated_pixelcnn import GatedPixelCNN
from support.families.made import MADE
from support.families.made_orders import MADEOfOrders
from support.families.nade import NADE
from support.families.pixelcnn import PixelCNN
from support.oracle import Config

FAMILIES: list[Family] = [
    FVSBN,
    NADE,
    PixelCNN,
    MADE,
    GatedPixelCNN,
]

MIXTURES: list[Family] = [MADEOfOrders]

Models = dict[str, tuple[Family, Config]]


def _named(which: str, families: list[Family] = FAMILIES) -> Models:
    pairs = [(name, (family, config)) for family in families for name, config in getattr(family.configs, which).items()]
    assert len(dict(pairs)) == len(pairs), f"two of the models of {which} have the same name"
    return dict(pairs)


SMALL = _named("small")
FEW = {name: SMALL[name] for family in FAMILIES for name in family.configs.few}
MEDIUM = _named("medium")
LARGE = _named("large")
SHAPES = SMALL | _named("shapes")

EVERY_SMALL = _named("small", FAMILIES + MIXTURES)
EVERY_FEW = {name: EVERY_SMALL[name] for family in FAMILIES + MIXTURES for name in family.configs.few}
EVERY_MEDIUM = _named("medium", FAMILIES + MIXTURES)
EVERY_LARGE = _named("large", FAMILIES + MIXTURES)
EVERY_SHAPE = EVERY_SMALL | _named("shapes", FAMILIES + MIXTURES)
REFERENCES = _named("references", FAMILIES + MIXTURES)

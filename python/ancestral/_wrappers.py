"""The module of `ancestral.nn` inside the wrappers that torch puts around modules."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ancestral.nn import Autoregressive


def unwrapped(module: object) -> Autoregressive:
    """The module itself, or the one inside DataParallel, DistributedDataParallel, AveragedModel or what
    `torch.compile` returns, however nested.

    Raises TypeError for anything else; where it holds a module of ours, the error says how to get at it.
    """
    inner = module
    while not isinstance(inner, Autoregressive):
        # By attribute: the type of compiled modules lies in torch._dynamo, which takes seconds to import.
        if isinstance(inner, nn.Module) and isinstance(original := getattr(inner, "_orig_mod", None), nn.Module):
            inner = original
        elif isinstance(inner, (DataParallel, DistributedDataParallel, AveragedModel)):
            inner = inner.module
        else:
            what = f"the class {inner.__name__}" if isinstance(inner, type) else f"a {type(inner).__name__}"
            around = "" if inner is module else f"a {type(module).__name__} around "
            raise TypeError(f"module is {around}{what}; wanted a module of ancestral.nn{_hint(module)}")
    return inner


def _hint(module: object) -> str:
    if isinstance(module, nn.Module):
        for name, part in module.named_modules():
            if isinstance(part, Autoregressive):
                return f", such as the {part.kind} that it holds: module.get_submodule({name!r})"
    return ""

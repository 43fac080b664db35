"""What a user reads of Model, in help, errors, pickles and repr: nothing of the files that it is put together from."""

from __future__ import annotations

import inspect
import pickle
import pydoc
import re
import traceback
from types import FunctionType

import pytest

import ancestral
from ancestral import Model
from support.cases import build_case
from support.families import NADE

METHODS = sorted(name for name, value in vars(Model).items() if isinstance(value, FunctionType))
PUBLIC = [name for name in METHODS if not name.startswith("_")]


def test_help_begins_with_the_docstring_and_has_no_other_class() -> None:
    text = pydoc.plain(pydoc.render_doc(Model))
    title, _, rest = text.split("\n", 2)
    assert title.endswith("class Model in module ancestral.model")
    assert re.match(
        r"class Model\(builtins\.object\)\n( \|  Model\(.*\n \| *\n)? \|  A trained autoregressive model", rest
    )
    assert Model.__mro__ == (Model, object)
    # Methods follow at once, and no line names a place that they come from.
    assert re.search(r"\n \|  Methods defined here:\n", rest)
    assert "inherited from" not in text
    assert not re.search(r"\bfrom ancestral\.|operations|_core|_inner", text)
    for name in PUBLIC:
        assert re.search(rf"\n \|  {name}\(self[,)]", text), name


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_those_of_model(name: str) -> None:
    method = vars(Model)[name]
    assert (method.__module__, method.__qualname__) == ("ancestral.model", f"Model.{name}")
    assert pickle.loads(pickle.dumps(method)) is method
    assert inspect.getsource(method).lstrip().startswith(f"def {name}(")
    assert next(iter(inspect.signature(method).parameters)) == "self"
    if name in PUBLIC:
        assert method.__doc__


@pytest.mark.parametrize("name", PUBLIC)
def test_errors_name_the_method(name: str) -> None:
    model = build_case(NADE, NADE.config(4, 3)).model
    with pytest.raises(TypeError, match=rf"^Model\.{name}\(\) got an unexpected keyword argument 'nonsense'"):
        getattr(model, name)(nonsense=1)


def test_objects_say_what_they_are() -> None:
    model = build_case(NADE, NADE.config(4, 3)).model
    assert repr(Model) == "<class 'ancestral.model.Model'>"
    assert repr(model).startswith("NADE(")
    assert repr(model.sample).startswith("<bound method Model.sample of NADE(")
    assert type(pickle.loads(pickle.dumps(model))) is Model
    assert pickle.loads(pickle.dumps(model.sample))(3, rng=0).shape == (3, 4)
    try:
        model.sample(-1)
    except ValueError as error:
        frame = traceback.extract_tb(error.__traceback__)[1]
        assert (frame.name, frame.filename.endswith("sampling.py")) == ("sample", True)


def test_public_names_are_said_to_be_of_public_modules() -> None:
    for name in ("Completion", "Estimate", "LowSampleSizeWarning", "Model", "kl_divergence", "load"):
        module = getattr(ancestral, name).__module__
        assert not re.search(r"\._", module), (name, module)

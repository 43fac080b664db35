"""What Python's own tools ask of `ancestral`, with torch and where it is missing, hidden or broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from test_no_torch import BLOCK_TORCH

HIDDEN = {
    "blocked": BLOCK_TORCH,
    "none": "import sys; sys.modules['torch'] = None",
    "broken": """
import sys
from pathlib import Path
(Path(FOLDER) / "torch").mkdir()
(Path(FOLDER) / "torch" / "__init__.py").write_text("raise OSError('libtorch_cpu.so: cannot open shared object file')")
sys.path.insert(0, FOLDER)
""",
}

TOOLS = """
import copy, importlib, inspect, pickle, pydoc
import ancestral

members = dict(inspect.getmembers(ancestral))
listed = set(dir(ancestral))
assert listed == set(ancestral.__all__) | {"__version__"}
assert {"Model", "fit", "from_torch", "load", "datasets", "plot", "History"} <= listed & members.keys()
for name in ("Model", "fit", "from_torch", "load", "kl_divergence", "FormatError"):
    assert pickle.loads(pickle.dumps(members[name])) is members[name], name
    assert members[name] is getattr(ancestral, name), name
assert copy.copy({name: value for name, value in members.items()}) == members
text = pydoc.plain(pydoc.render_doc(ancestral))
assert "Fast, exact, reproducible sampling" in text
for name in ("fit", "from_torch", "Model"):
    assert name in text, name
    assert pydoc.render_doc(f"ancestral.{name}")
assert not hasattr(ancestral, "nonsense") and not hasattr(ancestral, "__wrapped__")
inspect.unwrap(ancestral)
for value in members.values():
    inspect.getdoc(value), repr(value)
"""

WITHOUT = """
def error_of(statement):
    try:
        exec(statement, {"ancestral": ancestral})
    except Exception as error:
        return error
    raise SystemExit(f"no error: {statement}")

for name in ("nn", "distributions"):
    assert name not in members, name
    assert not hasattr(ancestral, name)
    assert getattr(ancestral, name, 3) == 3
statements = {
    "ancestral.nn": AttributeError,
    "ancestral.nn.FVSBN(3)": AttributeError,
    "ancestral.distributions": AttributeError,
    "from ancestral import nn": ImportError,
    "from ancestral import distributions": ImportError,
    "import ancestral.nn": ImportError,
    "from ancestral.nn import FVSBN": ImportError,
    "from ancestral.distributions import Autoregressive": ImportError,
    "ancestral.fit(None, None, epochs=3)": ImportError,
    "ancestral.from_torch(None)": ImportError,
    "from ancestral import fit; fit()": ImportError,
}
for statement, kind in statements.items():
    error = error_of(statement)
    assert type(error) is kind, (statement, error)
    assert "need PyTorch: pip install 'ancestral[torch]'" in str(error), (statement, error)
assert "PyTorch" in ancestral.fit.__doc__
"""

STAR = """
names = {}
exec("from ancestral import *", names)
assert set(ancestral.__all__) <= names.keys() and not {"nn", "distributions"} & names.keys()
assert not {"nn", "distributions"} & listed
"""


@pytest.mark.parametrize("hidden", HIDDEN)
def test_without_torch(hidden: str, run_python: Callable[..., str], tmp_path: Path) -> None:
    # A torch that is broken is found, and known for what it is when it is imported: too late for `__all__`.
    star = "" if hidden == "broken" else STAR
    run_python(f"FOLDER = {str(tmp_path)!r}\n" + HIDDEN[hidden] + TOOLS + WITHOUT + star)


def test_with_torch(run_python: Callable[..., str]) -> None:
    pytest.importorskip("torch")
    script = """
assert hasattr(ancestral, "nn") and hasattr(ancestral, "distributions")
assert {"nn", "distributions"} <= set(ancestral.__all__) & members.keys()
names = {}
exec("from ancestral import *", names)
assert set(ancestral.__all__) <= names.keys()
from ancestral import nn
assert ancestral.nn is nn is members["nn"] and nn.FVSBN(3).n_dims == 3
assert inspect.signature(ancestral.fit).parameters["epochs"].default == 30
"""
    run_python(TOOLS + script)

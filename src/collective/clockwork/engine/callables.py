"""How a callable and its arguments are stored, and found again.

Functions are stored by name, never by value: what runs is the code that the
worker has when the job's turn comes. What could not be found again is refused
when the job is made, with the argument's name and the remedy.
"""

from __future__ import annotations

from .interfaces import UnresolvableError
from collections.abc import Iterable
from persistent import Persistent
from types import BuiltinFunctionType
from types import FunctionType
from types import MethodType
from types import ModuleType
from ZODB.broken import Broken

import builtins
import importlib
import io
import pickle


#: Values of these types can always be stored, so that the common call pays
#: nothing for the check.
PLAIN_TYPES = frozenset((str, int, float, bool, bytes, type(None)))

_METHOD_WRAPPER = type("".__str__)


def dotted_name(callable) -> str:
    """The ``module:qualified.name`` under which a function is found again.

    Raises ValueError for a lambda, a function inside another function, or
    anything else that no worker could import under its name.
    """
    module = getattr(callable, "__module__", None)
    name = getattr(callable, "__qualname__", None)
    owner = getattr(callable, "__self__", None)
    if isinstance(owner, ModuleType):
        module = owner.__name__
    elif isinstance(owner, type):
        # A class method, perhaps inherited: of the class that it was got from.
        module = owner.__module__
        name = f"{owner.__qualname__}.{callable.__name__}"
    if not module or not name:
        raise ValueError(
            f"{callable!r} has no name under which a worker could import it: "
            "use a function at the top of a module"
        )
    if "<" in name:
        kind = "a lambda" if name.endswith("<lambda>") else "a local function"
        raise ValueError(
            f"{module}.{name} is {kind}, which a worker cannot import: define a "
            "function at the top of a module and pass its values as arguments"
        )
    if module == "__main__":
        raise ValueError(
            f"{name} is defined in the script being run (__main__), which a worker "
            "cannot import: move it to a module"
        )
    dotted = f"{module}:{name}"
    try:
        found = resolve(dotted)
    except UnresolvableError as error:
        raise ValueError(
            f"{callable!r} cannot be imported under its own name: {error}"
        ) from error
    if found is not callable and found != callable:
        raise ValueError(
            f"{dotted} is another object than {callable!r} (replaced by a decorator "
            "or patched?): a worker would call that other one"
        )
    return dotted


def resolve(dotted: str):
    """The object under a name made by ``dotted_name``.

    Raises UnresolvableError, naming what is missing.
    """
    module_name, _colon, qualified = dotted.partition(":")
    try:
        found = importlib.import_module(module_name)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UnresolvableError(
            f"{dotted.replace(':', '.')} cannot be imported: {error}"
        ) from error
    return found


def split(callable) -> tuple[object, str | None]:
    """What of a callable is stored: a dotted name or an object, and a method's name.

    Raises TypeError for something that cannot be called, ValueError for what
    a worker could not find again.
    """
    if not builtins.callable(callable):
        raise TypeError(f"{callable!r} cannot be called, so it cannot be queued")
    if isinstance(callable, MethodType | BuiltinFunctionType | _METHOD_WRAPPER):
        owner = callable.__self__
        if isinstance(owner, ModuleType) or owner is None:
            return dotted_name(callable), None
        if isinstance(owner, type):
            return dotted_name(callable), None
        return owner, callable.__name__
    if isinstance(callable, FunctionType | type):
        return dotted_name(callable), None
    return callable, None


def join(stored, method: str | None):
    """The callable of what ``split`` returned.

    Raises UnresolvableError if its code is not here.
    """
    if isinstance(stored, str):
        return resolve(stored)
    refuse_broken("the callable", stored)
    return stored if method is None else getattr(stored, method)


def name_of(stored, method: str | None) -> str:
    """A readable name, without importing or loading anything."""
    if isinstance(stored, str):
        return stored.replace(":", ".")
    kind = type(stored)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if method is None else f"{name}.{method}"


def refuse_broken(what: str, value) -> None:
    """Raise UnresolvableError if the value's class could not be imported."""
    if isinstance(value, Broken) or (
        isinstance(value, type) and issubclass(value, Broken)
    ):
        kind = value if isinstance(value, type) else type(value)
        raise UnresolvableError(
            f"{what} is a {kind.__module__}.{kind.__name__}, which cannot be imported"
        )


class _ReferencePickler(pickle.Pickler):
    """Pickles as the database would: persistent objects by reference."""

    def persistent_id(self, obj):
        if isinstance(obj, Persistent):
            return "reference"
        return None


def check_storable(arguments: Iterable[tuple[str, object]]) -> None:
    """Raise TypeError, naming the argument, if one cannot be stored."""
    for name, value in arguments:
        if type(value) in PLAIN_TYPES or isinstance(value, Persistent):
            continue
        try:
            _ReferencePickler(io.BytesIO(), 3).dump(value)
        except Exception as error:
            # Pickling runs code of the value's class, which may raise anything.
            raise TypeError(
                f"{name} ({type(value).__name__}) cannot be stored in the database: "
                f"{error}. Pass plain values or persistent objects, and look up or "
                "open the rest inside the function"
            ) from error

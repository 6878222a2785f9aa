"""Optional packages: imported where they are needed, or one sentence that says how to install them."""

import importlib
import sys
from types import ModuleType

from bertie.errors import BertieError

# Modules whose package bears another name.
_PACKAGES = {"rouge_score": "rouge-score", "sklearn": "scikit-learn", "unidic_lite": "unidic-lite"}


def need(module: str, extra: str, what: str = "This") -> ModuleType:
    """Import ``module``, which bertie's ``extra`` installs, for ``what``: "Reading Parquet files" begins the error."""
    package = module.partition(".")[0]
    name = _PACKAGES.get(package, package)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise _broken(name, what, error) from error
        raise BertieError(f"{what} needs {name}, which is not installed: pip install 'bertie[{extra}]'") from None
    except ImportError as error:
        raise _broken(name, what, error) from error


def missing(module: str, extra: str, what: str = "This") -> str:
    """Return the sentence with which `need` would refuse; empty if it would not."""
    try:
        need(module, extra, what)
    except BertieError as error:
        return str(error)
    return ""


def need_torch(module: str) -> None:
    """Let the import of a module that needs PyTorch fail with the sentence of `need` where it is not installed."""
    if why := missing("torch", "torch", module):
        raise ModuleNotFoundError(why, name="torch")


def refuse_without_torch(error: ImportError, what: str) -> None:
    """Raise the sentence of `need` in the place of an error that the lack of PyTorch caused; return for any other."""
    if (error.name or "").partition(".")[0] == "torch":
        need("torch", "torch", what)


def loaded(module: str) -> ModuleType | None:
    """Return ``module`` if the program has imported it, or is about to; None: it has not, and need not for this."""
    return importlib.import_module(module) if sys.modules.get(module) is not None else None


def _broken(name: str, what: str, error: ImportError) -> BertieError:
    return BertieError(f"{what} needs {name}, which is installed but cannot be imported ({error}); install it again")

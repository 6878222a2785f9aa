"""Optional packages: imported on demand; the error for a missing one says how to install it."""

import importlib
import sys
from types import ModuleType

from bertie.errors import BertieError

# Modules whose package has a different name.
_PACKAGES = {"rouge_score": "rouge-score", "sklearn": "scikit-learn", "unidic_lite": "unidic-lite"}


def need(module: str, extra: str, what: str = "This") -> ModuleType:
    """Import ``module``, which bertie's ``extra`` installs; the error begins with ``what``: "Reading Parquet files"."""
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
    """Return the error message that `need` would raise, or an empty string if the module can be imported."""
    try:
        need(module, extra, what)
    except BertieError as error:
        return str(error)
    return ""


def need_torch(module: str) -> None:
    """Make the import of ``module`` fail with the message of `need` if PyTorch is not installed."""
    if why := missing("torch", "torch", module):
        raise ModuleNotFoundError(why, name="torch")


def refuse_without_torch(error: ImportError, what: str) -> None:
    """Raise the error of `need` if ``error`` was caused by missing PyTorch; return for any other."""
    if (error.name or "").partition(".")[0] == "torch":
        need("torch", "torch", what)


def loaded(module: str) -> ModuleType | None:
    """Return ``module`` if the program has imported it or is importing it; None otherwise, without importing it."""
    return importlib.import_module(module) if sys.modules.get(module) is not None else None


def _broken(name: str, what: str, error: ImportError) -> BertieError:
    return BertieError(f"{what} needs {name}, which is installed but cannot be imported ({error}); install it again")

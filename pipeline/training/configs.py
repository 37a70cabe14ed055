"""Training configs from TOML: a file names only what it changes."""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import TrainingError
from pipeline.training.loop import Schedule

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")


def read_config(default: C, path: Path | None) -> C:
    """The default config changed by a TOML file; nested configs are tables.

    Raises
    ------
    TrainingError
        The file is absent or no TOML, or names an unknown key or a value of another type.
    """
    if path is None:
        return default
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise TrainingError(f"{path}: not readable; give an existing TOML file") from exc
    except tomllib.TOMLDecodeError as exc:
        raise TrainingError(f"{path}: not TOML: {exc}") from exc
    return change(default, given, str(path))


def change(config: C, given: Mapping[str, Any], where: str) -> C:
    """`config` with the values of `given`.

    Raises
    ------
    TrainingError
        A key is unknown or a value has another type than the default.
    """
    known = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise TrainingError(f"{where}: unknown key {key}; known are {', '.join(known)}")
        old = known[key]
        if dataclasses.is_dataclass(old) and not isinstance(old, type) and isinstance(value, Mapping):
            values[key] = change(old, value, f"{where} [{key}]")
        elif old is None or type(value) is type(old) or (isinstance(old, float) and type(value) is int):
            values[key] = float(value) if isinstance(old, float) else value
        else:
            raise TrainingError(f"{where}: {key} must be {type(old).__name__}, not {type(value).__name__}")
    return dataclasses.replace(config, **values)


def least(config: C, amounts: Mapping[str, Any]) -> C:
    """The smallest run of a config: each schedule two small batches, and `amounts` for fields of these names.

    What a run learns is nothing; that it goes through every step on a site's own data is known in minutes.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Schedule):
            values[field.name] = dataclasses.replace(
                value, epochs=1, stop=0, steps=2, batch=min(value.batch, 4), threads=1
            )
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            values[field.name] = least(value, amounts)
        elif isinstance(value, tuple) and all(dataclasses.is_dataclass(each) for each in value):
            values[field.name] = tuple(least(each, amounts) for each in value)
        elif field.name in amounts:
            values[field.name] = amounts[field.name]
    return dataclasses.replace(config, **values)

"""
`[logging]` of `statepipe.toml`: where log lines go, and what no text may show.

    log_fields      the table, checked
    log_settings    what applies, environment included

    format = "json"                       # "text", "json", "none"
    file   = "logs/statepipe.jsonl"       # relative to the project; without it standard error
    level  = "info"                       # "debug" (every batch), "info", "warning", "error"
    hide   = ["env:CRM_TOKEN", "file:/run/secrets/warehouse"]
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal

FORMATS: Final = ("text", "json", "none")
LEVELS: Final = ("debug", "info", "warning", "error")

SECRET_BYTES_MAX: Final = 65_536

_CHOICES: Final = {"format": FORMATS, "level": LEVELS}
_KEYS: Final = ("format", "file", "level", "hide")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """
    What is said about log lines; None where nothing is.

    Attributes:
        format: "text", "json" or "none".
        file: The file they are appended to.
        level: The least important level that is shown.
        hidden: Values that are secrets, as their references were when they were read.
    """

    format: str | None = None
    file: Path | None = None
    level: str | None = None
    hidden: tuple[str, ...] = field(default=(), repr=False)


def log_fields(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """
    Return the table as it is, if it can mean something.

    Raises:
        DefinitionError: An unknown key, or a value that is none of its kind.
    """
    known(values, _KEYS, where=where)
    for key, value in values.items():
        if key in _CHOICES:
            _choice(key, value, where=where)
        elif key == "file" and not (isinstance(value, str) and value and "\0" not in value):
            raise refusal(
                f"{where}: file is {value!r}, not a path",
                next_step='file = "logs/statepipe.jsonl"',
            )
        elif key == "hide" and not (isinstance(value, list) and all(map(_is_reference, value))):
            raise refusal(
                f"{where}: hide is {value!r}, not a list of references",
                next_step='hide = ["env:CRM_TOKEN", "file:/run/secrets/warehouse"]',
            )
    return dict(values)


def log_settings(
    tables: Iterable[Mapping[str, Any]], *, environ: Mapping[str, str], start: Path, root: Path
) -> LogSettings:
    """
    Return what applies.

    Args:
        tables: `[logging]` by level of the configuration, the weakest first; `hide` adds up.
        environ: STATEPIPE_LOG_FORMAT, _FILE and _LEVEL win; and it holds secrets.
        start: What a file of `environ` is relative to.
        root: What files of the tables are relative to.

    Raises:
        DefinitionError: The environment says something that is no format or level.
    """
    merged: dict[str, Any] = {}
    references: list[str] = []
    for table in tables:
        merged |= table
        references += table.get("hide", [])
    file = root / merged["file"] if "file" in merged else None
    for key in _CHOICES:
        name = f"STATEPIPE_LOG_{key.upper()}"
        if environ.get(name):
            merged[key] = _choice(key, environ[name], where=name)
    if environ.get("STATEPIPE_LOG_FILE"):
        file = start / environ["STATEPIPE_LOG_FILE"]
    values = (_secret(each, environ=environ, root=root) for each in references)
    return LogSettings(
        format=merged.get("format"),
        file=file,
        level=merged.get("level"),
        hidden=tuple(value for value in values if value),
    )


def _choice(key: str, value: object, *, where: str) -> str:
    choices = _CHOICES[key]
    if not isinstance(value, str) or value not in choices:
        raise refusal(
            f"{where}: {key} is {value!r}{did_you_mean(str(value), choices)}",
            next_step=f"it is one of {', '.join(choices)}",
        )
    return value


def _is_reference(value: object) -> bool:
    return (
        isinstance(value, str) and value.partition(":")[0] in ("env", "file") and value[-1] != ":"
    )


def _secret(reference: str, *, environ: Mapping[str, str], root: Path) -> str | None:
    """Return the value of a reference; None if there is none here, so that nothing can show it."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        return environ.get(name)
    try:
        with (root / name).open("rb") as file:
            return file.read(SECRET_BYTES_MAX).decode("utf-8", "replace").strip()
    except OSError:
        return None

"""
Log lines: one for each fact, on the standard `logging`, after its commit.

    log_fact        a fact as a log record of the logger "statepipe"
    sentence        a fact as a sentence
    JsonFormatter   a record as one line of JSON, as log_schema.json describes it
    schema          that description

`log_fact` is made to be given to an engine: `Engine(config, log=log_fact)`. Who shows the
records, and where, is then decided as in any program, by handlers and levels; the command
line does it with `--log-format` and `--log-file`.

A fact that failed is an error, one that will be tried again or took an instance over a
warning, a batch is debug, and everything else info.
"""

import datetime as dt
import json
import logging
from importlib.resources import files
from typing import Any, Final

from statepipe.model import Status
from statepipe.observe import redact
from statepipe.said import Fact
from statepipe.units import format_duration

#: Rises when a field changes its meaning or goes away; a new field alone does not raise it.
SCHEMA_VERSION: Final = 1

#: What is longer is cut: texts at their end, tracebacks at their beginning.
TEXT_CHARS_MAX: Final = 4_000
TRACEBACK_CHARS_MAX: Final = 16_000

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_log: Final = logging.getLogger("statepipe")

_TEXTS: Final = frozenset({"instance", "error", "note", "message", "meaning", "next_step"})


def log_fact(fact: Fact) -> None:
    """Log `fact`, if somebody listens at its level."""
    level = level_of(fact)
    if not _log.isEnabledFor(level):
        return
    # Not through Logger.log: it looks for the caller, which takes as long as the line itself.
    record = logging.LogRecord("statepipe", level, "", 0, sentence(fact), None, None)
    record.created = fact.at_ms / 1000
    record.fact = fact
    _log.handle(record)


def level_of(fact: Fact) -> int:
    """Return the level of `logging` that a fact has."""
    if fact.kind == "batch":
        return logging.DEBUG
    if fact.kind == "move" and fact.status == Status.FAILED:
        return logging.ERROR
    if fact.kind in ("retry", "fenced") or fact.event == "takeover" or fact.error_class is not None:
        return logging.WARNING
    return logging.INFO


def sentence(fact: Fact) -> str:
    """Return what happened, for people: "monday: extracting -> validating, ok, 12ms"."""
    moved = fact.source not in ("", fact.target)
    waits = fact.kind == "interrupt" and fact.event == "wait"
    submits = fact.kind == "interrupt" and fact.event == "submit"
    kind = "waits" if waits else "job submitted" if submits else fact.kind
    where = f"{fact.source} -> {fact.target}" if moved else f"{kind} in {fact.target}"
    if moved and fact.kind != "move":
        where = f"{fact.kind}, {where}"
    said = [where]
    if fact.event != fact.kind and not waits and not submits:
        said.append(fact.event)
    if fact.note is not None:
        said.append(fact.note)
    if fact.records is not None:
        said.append(f"{fact.records:,} records")
    if fact.rejected:
        said.append(f"{fact.rejected:,} rejected")
    if fact.attempt is not None and (fact.attempt > 1 or fact.error_class is not None):
        said.append(f"attempt {fact.attempt}")
    if fact.took_ms is not None:
        said.append(format_duration(fact.took_ms))
    if fact.wake_at_ms is not None:
        left = format_duration(max(0, fact.wake_at_ms - fact.at_ms))
        said.append(f"at most {left}" if waits and fact.note else f"again in {left}")
    if fact.error_class is not None:
        said.append(f"{fact.error_class}: {fact.error or ''}")
    return f"{fact.instance}: {', '.join(said)}"


class JsonFormatter(logging.Formatter):
    """
    Formats each record as one line of JSON, in ASCII.

    Records that are no facts, of this logger or any other, have their message, the name of
    the logger and the exception, if there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its line break."""
        fact = getattr(record, "fact", None)
        line: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "timestamp": rfc3339(round(record.created * 1000)),
            "level": record.levelname.lower(),
        }
        line |= _other_fields(record) if fact is None else _fact_fields(fact)
        line["message"] = _message(record)
        for name in _TEXTS & line.keys():
            line[name] = redact.beginning(line[name], chars_max=TEXT_CHARS_MAX)
        if "traceback" in line:
            line["traceback"] = redact.end(line["traceback"], chars_max=TRACEBACK_CHARS_MAX)
        return _encode(line)


def rfc3339(at_ms: int) -> str:
    """Return a moment in UTC, to the millisecond: "2026-02-08T12:30:05.123Z"."""
    moment = dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def schema() -> dict[str, Any]:
    """Return the JSON Schema that every line of this release conforms to."""
    text = files("statepipe.observe").joinpath("log_schema.json").read_text(encoding="utf-8")
    described: dict[str, Any] = json.loads(text)
    return described


def _fact_fields(fact: Fact) -> dict[str, Any]:
    fields = {name: value for name, value in fact._asdict().items() if value is not None}
    fields["state"] = fact.target
    if fact.wake_at_ms is not None:
        fields["wakes_at"] = rfc3339(fields.pop("wake_at_ms"))
    return fields


def _other_fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": "log", "logger": record.name}
    for name in ("error_class", "meaning", "next_step", "exit_code"):
        if hasattr(record, name):
            fields[name] = getattr(record, name)
    if record.exc_info and record.exc_info[0] is not None:
        fields["error_class"] = record.exc_info[0].__name__
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001  (the arguments are formatted here)
        return f"(a log record that cannot be formatted: {type(error).__name__})"

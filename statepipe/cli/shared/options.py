"""
Options that commands share, and how their values are read.

    command             a command with its examples and the options that all have
    common_options      --store, --env, --config, --output, --quiet, --no-color, --debug
    log_options         --log-format, --log-file, --log-level, of commands that drive
    instance_id         the argument ID, checked
    instance_or_group   an argument ID, or the option --group
    parsed_params       `-p key=value` and `-p key:=json` as a mapping
    duration_ms         "2h", "90d" as an option's value
    confirm             ask before something is changed

    DEFINITION          --definition pinned|latest, of commands that take an instance back to work

The common options are accepted before and after the name of the command.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import Any, Final

import click

from statepipe.cli.shared.render import escape
from statepipe.cli.shared.session import FORMATS, LOG_FORMATS, LOG_LEVELS, Session
from statepipe.errors import BadParameter, Refused, UsageError
from statepipe.machine.scalars import Unread
from statepipe.units import parse_duration_ms

ID_CHARS_MAX: Final = 200
#: What goes back further than this would leave the calendar; no store is as old.
DURATION_MS_MAX: Final = 100 * 366 * 86_400_000

#: What a command is made of.
Function = Callable[..., Any]

DEFINITION: Final = click.option(
    "--definition",
    type=click.Choice(["pinned", "latest"]),
    default="pinned",
    show_default=True,
    help="If the machine has changed since: refuse, or go on with what it is now.",
)


def common_options() -> list[click.Parameter]:
    """Return the options every command has; each writes into the session."""
    return [
        _option(["-s", "--store"], metavar="PATH", help="The checkpoint store (STATEPIPE_STORE)."),
        _option(["-e", "--env"], metavar="NAME", help="An [env.NAME] of the file (STATEPIPE_ENV)."),
        _option(["--config"], metavar="PATH", help="The statepipe.toml (STATEPIPE_CONFIG)."),
        _option(["-o", "--output"], type=click.Choice(FORMATS), help="Default: table."),
        _option(["-q", "--quiet"], is_flag=True, help="Say nothing but the answer."),
        _option(["--no-color"], is_flag=True, help="No colours (NO_COLOR)."),
        _option(["--debug"], is_flag=True, help="Print tracebacks of defects (STATEPIPE_DEBUG)."),
    ]


def log_options() -> list[click.Parameter]:
    """Return the options that say where log lines go; each writes into the session."""
    return [
        _option(
            ["--log-format"],
            type=click.Choice(LOG_FORMATS),
            help="Log lines (STATEPIPE_LOG_FORMAT); on standard error without a file.",
        ),
        _option(
            ["--log-file"],
            metavar="PATH",
            help="Append log lines to it, as JSON unless said otherwise (STATEPIPE_LOG_FILE).",
        ),
        _option(
            ["--log-level"],
            type=click.Choice(LOG_LEVELS),
            help="The least important; default debug for json, info for text.",
        ),
    ]


class Changing(click.Command):
    """A command that changes something; it says so before its options are read."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401  (click's signature)
    ) -> click.Context:
        """Return the context of one call."""
        if parent is not None:
            parent.find_root().ensure_object(Session).changes = True
        return super().make_context(info_name, args, parent, **extra)


def command(
    name: str, *, examples: Iterable[str], logs: bool = False, changes: bool = False
) -> Callable[[Callable[..., int | None]], click.Command]:
    """
    Make a function a command that has the common options, and examples in its help.

    An option of its own wins over a common one of the same name.

    Args:
        name: Its name.
        examples: Calls of it.
        logs: True if it has the options of log lines as well; then it changes something.
        changes: True if it changes something, and its refusals are log lines where one logs.
    """
    epilog = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)

    def made(function: Callable[..., int | None]) -> click.Command:
        kind = Changing if logs or changes else click.Command
        wrapped = click.command(name, cls=kind, epilog=epilog)(function)
        for param in wrapped.params:
            param.callback = partial(_not_empty, param.callback)
        own = {name for param in wrapped.params for name in param.opts}
        shared = [*(log_options() if logs else ()), *common_options()]
        wrapped.params.extend(each for each in shared if own.isdisjoint(each.opts))
        return wrapped

    return made


def instance_id(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:  # noqa: ANN401  (one id, several, or none)
    """
    Check an id, or several, as a click callback.

    Raises:
        UsageError: One is empty, too long, begins with "-", or has what cannot be printed.
    """
    for each in value if isinstance(value, tuple) else (value,):
        if each is not None and not is_id(each):
            raise UsageError(
                f"{each!r} is not the id of an instance",
                meaning="nothing was read or changed",
                next_step=f"an id is 1..{ID_CHARS_MAX} printable characters, the first no dash",
            )
    return value


def instance_or_group(which: str) -> Callable[[Function], Function]:
    """Let a command have an ID or a --group, not both; `which` says what of a group it takes."""
    argument = click.argument("instance", metavar="[ID]", required=False, callback=instance_id)
    option = click.option("--group", metavar="ID", callback=instance_id, help=which)

    def given(function: Function) -> Function:
        @wraps(function)
        def one(**options: Any) -> Any:  # noqa: ANN401  (what the command takes and returns)
            if (options["instance"] is None) == (options["group"] is None):
                raise click.UsageError("name an instance, or a group with --group")
            return function(**options)

        return argument(option(one))

    return given


def is_id(text: str) -> bool:
    """Return True if `text` may name an instance."""
    return 0 < len(text) <= ID_CHARS_MAX and text.isprintable() and not text.startswith("-")


def parsed_params(
    given: Sequence[str], *, option: str = "-p", declared: bool = True
) -> dict[str, Any]:
    """
    Return parameters as given with `option`: text after `=`, a JSON value after `:=`.

    Args:
        given: As they were typed.
        option: Which option they are of, for errors.
        declared: True if each has a declared type, so that its text is Unread.

    Raises:
        BadParameter: One has no `=`, is given twice, or its JSON is none.
    """
    params: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        typed = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name:
            raise _bad(f"{option} {each!r} has no value", option)
        if name in params:
            raise _bad(f"parameter {name!r} is given twice", option)
        if not typed:
            params[name] = Unread(text) if declared else text
            continue
        try:
            params[name] = json.loads(text)
        except ValueError as error:
            raise _bad(f"the value of {name!r} is not JSON: {error}", option) from None
        except RecursionError:
            raise _bad(f"the value of {name!r} is nested too deep", option) from None
    return params


def duration_ms(text: str, *, option: str) -> int:
    """
    Return a duration given as the value of `option`, in milliseconds.

    Raises:
        BadParameter: It is none, or longer than 100 years.
    """
    try:
        ms, wrong = parse_duration_ms(text), ""
    except OverflowError:
        ms = DURATION_MS_MAX + 1
    except ValueError as error:
        ms, wrong = 0, str(error)
    if ms > DURATION_MS_MAX:
        wrong = f"{text!r} is longer than 100 years"
    if wrong:
        raise BadParameter(
            f"{option}: {wrong}",
            meaning="nothing was read or changed",
            next_step=f"{option} 2h",
        )
    return ms


def confirm(question: str, *, yes: bool, again: str = "the same command with --yes") -> None:
    """
    Ask at the terminal, unless `yes`.

    Raises:
        Refused: Nobody can be asked, or the answer was no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(
            f"{question.rstrip('?')} needs a yes, and there is no terminal to ask at",
            meaning="nothing was changed",
            next_step=again,
        )
    sys.stderr.write(f"{escape(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("not confirmed", meaning="nothing was changed", next_step=again)


def _option(names: list[str], **facts: Any) -> click.Option:  # noqa: ANN401  (click's own keywords)
    field = names[-1].removeprefix("--").replace("-", "_")
    return click.Option(
        names,
        expose_value=False,
        callback=partial(_not_empty, partial(_keep, field)),
        default=None,
        **facts,
    )


def _not_empty(
    then: Callable[..., Any] | None,
    ctx: click.Context,
    param: click.Parameter,
    value: Any,  # noqa: ANN401  (whatever the option is of)
) -> Any:  # noqa: ANN401  (as above)
    """Refuse an option's "": `--env "$UNSET"` means an environment, and none is not the same."""
    if isinstance(param, click.Option) and "" in (value if isinstance(value, tuple) else (value,)):
        raise click.BadParameter("it is empty", ctx, param)
    if param.name == "reason" and isinstance(value, str) and value.isspace():
        raise click.BadParameter("it is blank", ctx, param)
    return value if then is None else then(ctx, param, value)


def _keep(field: str, ctx: click.Context, _param: click.Parameter, value: Any) -> None:  # noqa: ANN401  (text or a flag)
    if value is not None:
        setattr(ctx.find_root().ensure_object(Session), field, value)


def _bad(message: str, option: str) -> BadParameter:
    return BadParameter(
        message,
        meaning="nothing was changed",
        next_step=f"{option} day=2013-02-08 for text, {option} limit:=10 for a JSON value",
    )

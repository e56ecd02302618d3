"""
The command line: `statepipe COMMAND`, also `python -m statepipe`.

    main        one call: parse, run, turn every error into text and an exit code
    Commands    the group; it imports a command's module only when that command is used
    COMMANDS    name, module, one line of help; `--help` needs no more

Each command has a module of its name, or shares one; what they share is in `shared/`:

    options     options that every command has, parameters, confirmation
    session     the common options as given         places  configuration and store
    render      tables, JSON; what comes from a store is escaped
    addressing  what to type next, for the store that was meant
    progress    what a person sees of instances that are driven
    driving     signals, progress and exit codes of commands that drive instances
    exporting   the stores that metrics are collected from, and the endpoint

With `-o json` or `-o jsonl` only JSON goes to standard output. Exit codes are part of
the contract: 0 success, 1 the instance ended failed, 2 usage, 3 not found, 4 store
unusable, 5 definition changed, 6 a check found a defect, 70 a defect of statepipe,
74 the answer cannot be written, 75 busy, 76 fenced, 124 waited too long, 128 + n ended by signal n.
"""

import gc
import os
import signal
import sys
import traceback
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Final

import click
from click.shell_completion import CompletionItem, shell_complete

from statepipe import __version__
from statepipe.cli.shared.addressing import Address, addressed
from statepipe.cli.shared.options import common_options
from statepipe.cli.shared.render import broken, escape, open_closed_streams, silence
from statepipe.cli.shared.session import LOG_FORMATS, LOG_LEVELS, SPARE, Session, Told
from statepipe.errors import StatepipeError, StoreInDoubt, Unwritten, UsageError
from statepipe.suggest import did_you_mean

EXIT_DEFECT: Final = 70

#: What a shell asks for with it, completing a line.
_COMPLETE: Final = "_STATEPIPE_COMPLETE"

COMMANDS: Final = {
    "cancel": ("steer", "End an unfinished instance; it can be resumed."),
    "check": ("check", "Prove what can be proved of machines before they run."),
    "doctor": ("doctor", "Examine the store, its files and who holds them."),
    "callback": ("signal", "Tell a state that waits what a task's token stands for."),
    "emit": ("signal", "Send an event to all who wait for it, or are started by it."),
    "expand": ("expand", "The machines that templates make."),
    "fork": ("copies", "A new instance, from a state that another one was in."),
    "graph": ("graph", "Draw a machine, for Mermaid or Graphviz."),
    "history": ("history", "The journal of an instance."),
    "init": ("init", "Make a runnable example in a new folder."),
    "inspect": ("inspect", "One instance: where it stands, why, what to type next."),
    "kill": ("steer", "End an instance by force."),
    "logs": ("logs", "What the tasks of an instance printed and logged."),
    "ls": ("ls", "List instances, newest first."),
    "metrics": ("metrics", "Watch: metrics for Prometheus, dashboards, alert rules."),
    "migrate": ("migrate", "Bring the store to this release's schema."),
    "notify": ("notify", "Who was told of what; send what is due; try a target."),
    "pause": ("steer", "Let an instance rest until it is resumed."),
    "policy": ("policy", "What governs a state, and where it comes from."),
    "prune": ("prune", "Let go of instances that ended long ago."),
    "quarantine": ("quarantine", "Rejected records, by reason and one by one."),
    "restart": ("copies", "A new instance, from the start, as another one."),
    "resume": ("resume", "Go on from the last commit."),
    "retry": ("retry", "Let one task of several go on."),
    "rewind": ("steer", "Put an instance back into an earlier state."),
    "run": ("run", "Create an instance and drive it to its end."),
    "signal": ("signal", "Send an event to an instance that waits for it, or will."),
    "staged": ("staged", "What lies between the states, and raw data that was kept."),
    "start": ("run", "Create an instance; a worker drives it."),
    "stats": ("stats", "How long states take, week by week, and whether it grows."),
    "top": ("top", "How the machines are doing, live."),
    "trace": ("trace", "Instances as traces, for OpenTelemetry."),
    "triggers": ("triggers", "What starts instances by itself: schedules, events."),
    "unpause": ("unpause", "Let a paused instance go on."),
    "wait": ("wait", "Until instances rest; whoever drives them."),
    "watermark": ("watermark", "How far each machine has loaded; put it elsewhere."),
    "why": ("why", "Why an instance ran, waits, failed or rests."),
    "worker": ("run", "Drive whatever is ready."),
    "workers": ("workers", "Who drives instances, and whether each lives."),
}

_HELP: Final = ["-h", "--help"]

#: Other names that people's fingers know.
_ALIASES: Final = {"show": "inspect"}


class Commands(click.Group):
    """A group that knows its commands by name and imports them one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click's signature)
        """Import and return one command, None if there is none of that name."""
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = import_module(f"statepipe.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of `args`; an unknown one gets the nearest name offered."""
        is_alone = ctx.ensure_object(Session).is_alone
        if is_alone and args[:1] == ["run"] and not set(_HELP) & set(args):
            _start_worker(ctx)  # it needs one nearly always
        known = not args or args[0].startswith("-") or self.get_command(ctx, args[0]) is not None
        if not known and not ctx.resilient_parsing:  # a shell that completes wants no errors
            hint = did_you_mean(args[0], [*COMMANDS, *_ALIASES])
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, without importing any, and the options."""
        commands = [
            CompletionItem(name, help=text)
            for name, (_, text) in sorted(COMMANDS.items())
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's signature)
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])


def _start_worker(ctx: click.Context) -> None:
    """Start a worker process: it takes as long to begin as the command takes to be imported."""
    from statepipe.runtime.executors.spare import Spare  # noqa: PLC0415  (20 ms, for these alone)

    ctx.meta[SPARE] = spare = Spare()
    ctx.call_on_close(spare.end)


@click.command(
    "statepipe",
    cls=Commands,
    context_settings={"help_option_names": _HELP},
    params=common_options(),
    epilog="\b\nExamples:\n  statepipe init demo && cd demo\n  statepipe run orders\n"
    "  statepipe ls --failed\n  statepipe resume --failed",
)
@click.version_option(__version__, prog_name="statepipe")
def statepipe() -> None:
    """ETL pipelines as state machines that survive kill -9."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line and return its exit code.

    Args:
        argv: The arguments after the program's name; None takes those of the process.
    """
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # An id or an error text may hold what the terminal's encoding does not.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(args, is_alone=argv is None)
    except BrokenPipeError:  # text of click's own, such as --help
        code = 0
    code = _flushed(code)
    if argv is None:  # the process ends: looking through all of its objects takes 30 ms
        gc.freeze()
    return code


def _flushed(code: int) -> int:
    """Write out what is left of the answer; return `code`, unless that was success and is lost."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if not code:
            return _lost(error)
        silence("stdout")
    return code


def _lost(error: OSError) -> int:
    """Let nothing more go to standard output, and return what its `error` makes of success."""
    try:
        broken("stdout", error)
    except Unwritten as unwritten:
        return _ended(unwritten)
    return 0


def _run(args: list[str], *, is_alone: bool) -> int:
    session = Session(is_alone=is_alone)
    try:
        _refuse_undecodable(args)
        result = _called(args, session)
    except click.exceptions.Exit as ending:  # --help, --version
        return ending.exit_code
    except (StatepipeError, Told) as error:
        return _ended(_as_line(error, args, session), session.address)
    except click.UsageError as error:
        return _refuse(error, args, session)
    except (KeyboardInterrupt, click.Abort):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  (the last door: whatever it is, say what it means)
        return _defect(error, session.address, wants_trace="--debug" in args)
    return result if isinstance(result, int) else 0


def _called(args: list[str], session: Session) -> object:
    """Return what the command returned, or the exit code of what a shell has asked."""
    if asked := os.environ.get(_COMPLETE):
        return shell_complete(statepipe, {}, "statepipe", _COMPLETE, asked)
    # Not click's main(): it turns a closed pipe into exit 1 before we can see it.
    with statepipe.make_context("statepipe", args, obj=session) as context:
        return statepipe.invoke(context)


def _refuse_undecodable(args: list[str]) -> None:
    """Refuse bytes that are no text: neither the store nor a log line could have them."""
    for each in args:
        if not each.isascii() and any("\ud800" <= sign <= "\udfff" for sign in each):
            raise UsageError(
                f"{each} is not UTF-8",
                meaning="nothing was read or changed",
                next_step="type it as UTF-8; a file by a name that is",
            )


def _ended(error: StatepipeError | Told, address: Address = ()) -> int:
    if isinstance(error, Told):
        error = error.error
    else:
        next_step = addressed(error.next_step, address)
        _tell(error.message, meaning=error.meaning, next_step=next_step)
    if isinstance(error, StoreInDoubt):
        # At once: an orderly exit closes the store, and SQLite then syncs once more,
        # which may report a success that the disk never had.
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(error.exit_code)
    return error.exit_code


def _refuse(error: click.UsageError, args: list[str], session: Session) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # a bare group: help is the answer
        with suppress(OSError):
            error.show()
        return error.exit_code
    text = error.format_message().rstrip(".")
    asked = error.ctx.command_path if error.ctx else "statepipe"
    refusal = UsageError(
        text[:1].lower() + text[1:],
        meaning="nothing was read or changed",
        next_step=_as_a_value(error, args, asked) or f"{asked} --help",
    )
    return _ended(_as_line(refusal, args, session), session.address)


def _as_a_value(error: click.UsageError, args: list[str], asked: str) -> str:
    """Return how to type a number below zero that was taken for an option; "" if it was none."""
    if not isinstance(error, click.NoSuchOption) or not error.option_name[1:].isdigit():
        return ""
    value = next((each for each in args if each.startswith(error.option_name)), error.option_name)
    return f"{asked} … -- {value}   # a value that begins with - is the last, behind --"


def _as_line(
    error: StatepipeError | Told, args: list[str], session: Session
) -> StatepipeError | Told:
    """Log what a command that changes something refuses, unless it has; Told if that is all."""
    if not session.changes or session.is_logged or isinstance(error, Told):
        return error
    # What cannot be parsed leaves its options unread.
    session.log_format = session.log_format or _given(args, "--log-format", LOG_FORMATS)
    session.log_level = session.log_level or _given(args, "--log-level", LOG_LEVELS)
    session.log_file = session.log_file or _given(args, "--log-file")
    # 50 ms that only refusals need pay.
    from statepipe.cli.shared.loglines import log_lines  # noqa: PLC0415  (as said)
    from statepipe.cli.shared.places import config_of  # noqa: PLC0415  (as said)

    try:
        with log_lines(config_of(session), session):
            raise error
    except Told as told:
        return told
    except StatepipeError:  # it is in a file, or nobody logs, or nobody can say who does
        return error


def _given(args: list[str], option: str, choices: Collection[str] = ()) -> str | None:
    """Return the value of an option as it was typed, None if it is none of the choices."""
    pairs = zip(args, [*args[1:], ""], strict=True)
    typed = [
        then if each == option else each.partition("=")[2]
        for each, then in pairs
        if each == option or each.startswith(f"{option}=")
    ]
    return next(
        (each for each in reversed(typed) if each and (not choices or each in choices)), None
    )


def _defect(error: Exception, address: Address, *, wants_trace: bool) -> int:
    if isinstance(error, OSError) and _is_of_stdout(error):  # --help, --version
        return _lost(error)
    _tell(
        f"a defect of statepipe: {type(error).__name__}: {error}",
        meaning="everything committed is safe; an instance that was under way can be resumed",
        next_step=addressed(
            "statepipe doctor   # then report it, with the output of --debug", address
        ),
    )
    if wants_trace or os.environ.get("STATEPIPE_DEBUG"):
        with suppress(OSError):
            traceback.print_exception(error)
    return EXIT_DEFECT


def _is_of_stdout(error: OSError) -> bool:
    """Return True if standard output is what click could not write its text to."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_code is click.echo.__code__ for frame in frames)


def _tell(message: str, *, meaning: str, next_step: str) -> None:
    from statepipe.observe.redact import redacted  # noqa: PLC0415  (2 ms that only errors need pay)

    message, meaning, next_step = map(redacted, (message, meaning, next_step))
    lines = [f"statepipe: {escape(message)}"]
    if meaning:
        lines.append(f"  meaning: {escape(meaning)}")
    if next_step:
        lines.append(f"  next:    {escape(next_step)}")
    with suppress(OSError):  # who has no answer is told so at the end
        sys.stdout.flush()
    try:
        sys.stderr.write("\n".join(lines) + "\n")
    except OSError:
        silence("stderr")

"""
`statepipe doctor`: is the store sound, is anything left behind, who is at it.
"""

from typing import Final

from statepipe.cli.shared.options import command
from statepipe.cli.shared.places import config_here
from statepipe.cli.shared.render import escape
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.store.care.health import examine

EXIT_FOUND: Final = 6
EXIT_UNUSABLE: Final = 4


@command("doctor", examples=["statepipe doctor", "statepipe doctor -o json"])
def doctor() -> int:
    """
    Examine the store and change nothing. Exits 6 if it is damaged, 4 if it is unusable.

    Reads every staged batch, so it takes as long as reading the stage does.
    """
    out = Session.current().out()
    severities = set()
    found = []
    config = config_here()
    for check in examine(config.store, clock=SystemClock(), env=config.env):
        severities.add(check.severity)
        found.append({**check._asdict(), "fix": out.addressed(check.fix)})
        if not out.is_json:
            word = out.paint(check.severity) + " " * (len("unusable") - len(check.severity))
            out.raw(f"{word}  {check.subject:<12} {escape(check.found)}")
            if check.severity != "ok" and check.fix:
                out.say(f"{'':<10}{'':<12} fix: {check.fix}")
    if out.is_json:
        out.values(found)
    if "unusable" in severities:
        return EXIT_UNUSABLE
    return EXIT_FOUND if "error" in severities else 0

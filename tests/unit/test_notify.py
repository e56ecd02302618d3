"""`[notify.NAME]`: who is told, of what; bad settings are named, secrets are not repeated."""

from pathlib import Path

import pytest

from statepipe.config import Config, load_config, refuse_unknown_machines
from statepipe.errors import DefinitionError
from statepipe.notify import EVENTS, EVENTS_DEFAULT, Target, refuse_unknown
from statepipe.units import Rate

TOML = """\
[notify.oncall]
url = "env:ONCALL_URL"
on = ["failed", "stalled"]
rate = "10/h"
repeat_after = "4h"

[notify.team]
webhook = "https://hooks.example.org/team"
on = "done"
machines = ["orders", "rates"]

[notify.mail]
command = ["mail", "-s", "{summary}", "ann@example.org"]
timeout = "30s"
stalled_after = "1h"

[env.prod.notify.oncall]
url = "file:/run/secrets/oncall"
rate = "1/d"

[env.test.notify.oncall]
command = ["true"]

[env.test.notify.extra]
webhook = "env:EXTRA"
"""


def loaded(folder: Path, text: str = TOML, env: str | None = None) -> Config:
    """Load `text` as the file in `folder`."""
    (folder / "statepipe.toml").write_text(text, encoding="utf-8")
    return load_config(start=folder, environ={}, env=env)


def test_a_target_says_how_it_is_reached_and_what_it_hears_of(tmp_path: Path) -> None:
    """Durations and rates are in milliseconds from here on."""
    targets = loaded(tmp_path).targets

    assert targets == {
        "oncall": Target(
            name="oncall",
            url="env:ONCALL_URL",
            on=("failed", "stalled"),
            rate=Rate(10, 3_600_000),
            repeat_after_ms=4 * 3_600_000,
        ),
        "team": Target(
            name="team",
            webhook="https://hooks.example.org/team",
            on=("done",),
            machines=("orders", "rates"),
        ),
        "mail": Target(
            name="mail",
            command=("mail", "-s", "{summary}", "ann@example.org"),
            timeout_ms=30_000,
            stalled_after_ms=3_600_000,
        ),
    }
    assert [each.way for each in targets.values()] == ["url", "webhook", "command"]


def test_an_overlay_wins_key_by_key_and_another_way_replaces_the_one_below(tmp_path: Path) -> None:
    """A test environment must not page anybody because it forgot to take the pager away."""
    prod = loaded(tmp_path, env="prod").targets["oncall"]
    test = loaded(tmp_path, env="test").targets

    assert (prod.url, prod.rate, prod.on) == (
        "file:/run/secrets/oncall",
        Rate(1, 86_400_000),
        ("failed", "stalled"),
    )
    assert (test["oncall"].command, test["oncall"].url) == (("true",), None)
    assert list(test) == ["oncall", "team", "mail", "extra"]


@pytest.mark.parametrize(
    ("settings", "machine", "named", "heard"),
    [
        ({}, "orders", False, ()),
        ({}, "orders", True, EVENTS_DEFAULT),
        ({"on": ("done",)}, "orders", False, ("done",)),
        ({"on": ("done",)}, "orders", True, ("done",)),
        ({"machines": ("orders",)}, "orders", False, EVENTS_DEFAULT),
        ({"machines": ("orders",)}, "rates", False, ()),
        ({"machines": ("orders",)}, "rates", True, EVENTS_DEFAULT),
        ({"machines": (), "on": ("done",)}, "orders", False, ()),
        ({"machines": (), "on": ("done",)}, "orders", True, ("done",)),
    ],
)
def test_a_target_hears_of_its_machines_and_of_those_that_name_it(
    *, settings: dict[str, tuple[str, ...]], machine: str, named: bool, heard: tuple[str, ...]
) -> None:
    """`on` alone is every machine; neither `on` nor `machines` is only where it is named."""
    target = Target(name="oncall", url="env:X", **settings)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict

    assert tuple(e for e in EVENTS if target.hears(e, machine=machine, named=named)) == heard


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[notify]\noncall = 1", "oncall is 1, not a table"),
        ("[notify.Bad]\nurl = 'env:X'", "notify: 'Bad' is not a name"),
        ("[notify.a]\nurll = 'env:X'", 'notify.a: unknown key "urll"; did you mean "url"?'),
        ("[notify.a]\non = 'failed'", "notify.a must have exactly one of url, webhook, command"),
        ("[notify.a]\nurl = 'env:X'\nwebhook = 'env:Y'", "notify.a must have exactly one of"),
        ("[notify.a]\nurl = 'slack://hunter2/x'", "notify.a: url is not a reference"),
        ("[notify.a]\nurl = 'env:'", "url is not a reference"),
        ("[notify.a]\nurl = 'file:relative'", "url is not a reference"),
        ("[notify.a]\nwebhook = 'ftp://x'", "webhook is neither an http nor an https URL"),
        ("[notify.a]\nwebhook = 'https://'", "webhook is not a URL"),
        ("[notify.a]\nwebhook = 'https://x:99999/'", "webhook is not a URL"),
        ("[notify.a]\nwebhook = 'https://x/a b'", "webhook is not a URL"),
        ("[notify.a]\nwebhook = 'https://[x/'", "webhook is not a URL"),
        ("[notify.a]\nwebhook = 'https://ann:hunter2@x/'", "webhook has a login in it"),
        ("[notify.a]\nwebhook = 3", "webhook is 3, not text"),
        ("[notify.a]\ncommand = 'mail ann'", "command is not a list of a program"),
        ("[notify.a]\ncommand = []", "command is not a list of a program"),
        ("[notify.a]\ncommand = ['']", "command names no program"),
        (
            "[notify.a]\ncommand = ['x', '{sumary}']",
            'command has {sumary}; did you mean "summary"?',
        ),
        ("[notify.a]\ncommand = ['x', '{e.__class__}', '{params}']", "command has {params}"),
        ("[notify.a]\nurl = 'env:X'\non = ['faild']", 'no event "faild"; did you mean "failed"?'),
        ("[notify.a]\nurl = 'env:X'\non = [1]", "on is [1], not a list of names"),
        ("[notify.a]\nurl = 'env:X'\nmachines = 1", "machines is 1, not a list of names"),
        ("[notify.a]\nurl = 'env:X'\nrate = 10", "rate is 10, not a number of notices in a time"),
        ("[notify.a]\nurl = 'env:X'\nrate = '10/w'", "rate is '10/w'"),
        ("[notify.a]\nurl = 'env:X'\nrate = '0/h'", "rate is '0/h'"),
        ("[notify.a]\nurl = 'env:X'\ntimeout = '6m'", "timeout is '6m', not a duration of more"),
        ("[notify.a]\nurl = 'env:X'\ntimeout = 5", "timeout is 5, not a duration"),
        ("[notify.a]\nurl = 'env:X'\ntimeout = 'soon'", "timeout is 'soon', not a duration"),
        ("[notify.a]\nurl = 'env:X'\nrepeat_after = '0s'", "repeat_after is '0s'"),
        ("[env.x.notify.a]\nurl = 3", "env.x.notify.a: url is not a reference"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named_with_a_remedy(
    tmp_path: Path, text: str, said: str
) -> None:
    """File, key path, what is wrong, what to write; and no word of what may be a secret."""
    with pytest.raises(DefinitionError) as refusal:
        loaded(tmp_path, text)

    error = refusal.value
    assert said in error.message
    assert error.message.startswith(str(tmp_path / "statepipe.toml"))
    assert error.next_step
    assert "hunter2" not in error.message + error.next_step


def test_a_name_that_is_no_target_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """A slip in the name would tell nobody, and nobody would notice."""
    targets = loaded(tmp_path).targets
    refuse_unknown(["oncall", "team"], targets, where="machine orders")

    with pytest.raises(DefinitionError, match='no target "oncal"; did you mean "oncall"'):
        refuse_unknown(["team", "oncal"], targets, where="machine orders")


def test_a_machine_that_is_not_there_is_found_in_a_target_as_well(tmp_path: Path) -> None:
    """Its target would never hear of the machine that was meant."""
    config = loaded(tmp_path)
    refuse_unknown_machines(config, machines=["orders", "rates"])

    with pytest.raises(DefinitionError, match=r'\[notify.team\]: there is no machine "rates"'):
        refuse_unknown_machines(config, machines=["orders"])

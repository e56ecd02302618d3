"""`statepipe.toml`: where it is found, who wins, and where each part of a policy came from."""

from pathlib import Path

import pytest

from statepipe.config import Config, load_config, refuse_unknown_overrides, resolve_policy
from statepipe.errors import DefinitionError
from statepipe.policy import Policy

TOML = """\
store = "data/store.db"

[policies.default]
max_attempts = 4

[policies.transient]
errors = ["Throttled"]
max_attempts = 5
interval = "2s"

[machines.orders.states.extracting]
timeout = "40m"

[env.prod]
store = "/var/lib/statepipe/prod.db"

[env.prod.policies.transient]
interval = "10s"

[env.prod.machines.orders.states.extracting]
batch_size = 99
"""


def loaded(folder: Path, text: str = TOML, env: str | None = None) -> Config:
    """Load `text` as the file in `folder`."""
    (folder / "statepipe.toml").write_text(text, encoding="utf-8")
    return load_config(start=folder, environ={}, env=env)


def test_without_a_file_the_defaults_stand_in_the_folder_itself(tmp_path: Path) -> None:
    """No configuration is needed to begin."""
    config = load_config(start=tmp_path, environ={})

    assert config.path is None
    assert config.root == tmp_path
    assert config.machines_dir == tmp_path / "machines"
    assert config.store == tmp_path / "checkpoints" / "statepipe.db"
    assert config.policies == {}


def test_the_file_is_found_from_a_folder_below(tmp_path: Path) -> None:
    """Paths in it are relative to it, wherever one stands."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    loaded(tmp_path)

    config = load_config(start=below, environ={})

    assert config.path == tmp_path / "statepipe.toml"
    assert config.root == tmp_path
    assert config.store == tmp_path / "data" / "store.db"


def test_the_store_goes_by_command_line_then_environment_then_overlay_then_file(
    tmp_path: Path,
) -> None:
    """What is said closer to the person wins; relative to where the person is."""
    loaded(tmp_path)
    both = {"STATEPIPE_STORE": "env.db", "STATEPIPE_ENV": "prod"}

    assert load_config(start=tmp_path, environ=both, store="cli.db").store == tmp_path / "cli.db"
    assert load_config(start=tmp_path, environ=both).store == tmp_path / "env.db"
    assert load_config(start=tmp_path, environ={}, env="prod").store == Path(
        "/var/lib/statepipe/prod.db"
    )
    assert load_config(start=tmp_path, environ={"STATEPIPE_STORE": ""}).store == (
        tmp_path / "data" / "store.db"
    )


def test_a_named_file_is_used_and_must_exist(tmp_path: Path) -> None:
    """`--config` and STATEPIPE_CONFIG; a missing one is no silent default."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.toml").write_text('store = "y.db"', encoding="utf-8")

    for config in (
        load_config(start=tmp_path, environ={}, config="other/x.toml"),
        load_config(start=tmp_path, environ={"STATEPIPE_CONFIG": "other/x.toml"}),
    ):
        assert config.store == other / "y.db"
        assert config.machines_dir == other / "machines"

    with pytest.raises(DefinitionError, match=r"gone\.toml cannot be read: No such file"):
        load_config(start=tmp_path, environ={}, config="gone.toml")


@pytest.mark.parametrize("option", ["store", "env", "config"])
def test_an_empty_option_is_not_an_option_that_is_not_given(tmp_path: Path, option: str) -> None:
    """`--env "$ENV"` with no such variable meant another store; only a variable may be empty."""
    with pytest.raises(DefinitionError, match='that is named is ""'):
        load_config(start=tmp_path, environ={}, **{option: ""})

    assert load_config(start=tmp_path, environ={f"STATEPIPE_{option.upper()}": ""}).env is None


def test_batches_that_may_only_grow_are_refused(tmp_path: Path) -> None:
    """The two may be said in different places; what governs is looked at."""
    text = "[policies.p]\nbatch_size_min = 5_000\n"
    config = loaded(tmp_path, text + "[policies.default]\nbatch_size = 10\n")

    with pytest.raises(DefinitionError, match="batch_size_min is 5000, above batch_size"):
        resolve_policy(config, machine="m", state="s", settings={}, retry="p")
    resolve_policy(config, machine="m", state="s", settings={"batch_size": 5_000}, retry="p")


def test_an_unknown_environment_names_the_nearest(tmp_path: Path) -> None:
    """A typing mistake must not run production work on the default store."""
    with pytest.raises(DefinitionError, match='no environment "prd"; did you mean "prod"'):
        loaded(tmp_path, env="prd")
    with pytest.raises(DefinitionError, match='no environment "x"'):
        load_config(start=tmp_path / "nowhere", environ={"STATEPIPE_ENV": "x"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('stor = "x"', 'unknown key "stor"; did you mean "store"?'),
        ("[resources.crm]\nslot = 4", 'resources.crm: unknown key "slot"; did you mean "slots"?'),
        ("store = 3", "store is 3, not a path"),
        ("[policies.p]\nmax_attempts = 0", "policies.p: max_attempts is 0"),
        ("[policies.p]\nuses = 1", 'policies.p: unknown key "uses"'),
        ("policies = 1", "policies is 1, not a table"),
        ("[policies]\np = 1", "p is 1, not a table"),
        ("[machines.m]\nstate = 1", 'machines.m: unknown key "state"; did you mean "states"?'),
        ("[machines.m.states.s]\ntimeot = '1s'", 'machines.m.states.s: unknown key "timeot"'),
        ("[machines.m.states.s]\nretry = 3", "machines.m.states.s: retry is 3, neither"),
        ("[machines.m.states.s]\nretry = {x = 1}", 'machines.m.states.s.retry: unknown key "x"'),
        ("[env.prod]\nmachine = {}", 'env.prod: unknown key "machine"; did you mean "machines"?'),
        ("[env.prod.policies.p]\nretries = -1", "env.prod.policies.p: retries is -1"),
        (
            "store 3\n",
            "is not TOML: Expected '=' after a key in",
        ),
        ("a = " + "[" * 50_000, "is nested too deep"),
        ("\ufeffstore = 'x'", "begins with a byte order mark"),
    ],
)
def test_a_mistake_is_named_by_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    """In overlays that are not chosen too: they are wrong before they are needed."""
    with pytest.raises(DefinitionError) as refusal:
        loaded(tmp_path, text)

    assert refusal.value.message.startswith(str(tmp_path / "statepipe.toml"))
    assert said in refusal.value.message


def test_a_file_that_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    """Neither a traceback nor a default."""
    path = tmp_path / "statepipe.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match=r"is not UTF-8 \(line 1\)"):
        load_config(start=tmp_path, environ={})

    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(DefinitionError, match="is larger than 1,000,000 bytes"):
        load_config(start=tmp_path, environ={})

    path.unlink()
    path.symlink_to("gone")
    with pytest.raises(DefinitionError, match="cannot be read: No such file"):
        load_config(start=tmp_path, environ={})

    path.unlink()
    path.mkdir()
    with pytest.raises(DefinitionError, match="cannot be read: Is a directory"):
        load_config(start=tmp_path, environ={})


def test_a_policy_is_merged_field_by_field_with_its_origins(tmp_path: Path) -> None:
    """Default, [policies.default], the state's retry, its own keys, file, overlay."""
    config = loaded(tmp_path, env="prod")
    assert config.policies["transient"]["interval_ms"] == 10_000
    file = tmp_path / "statepipe.toml"

    resolved = resolve_policy(
        config,
        machine="orders",
        state="extracting",
        settings={"timeout": "20m", "executor": "thread"},
        retry="transient",
    )

    assert resolved.policy == Policy(
        errors=("Throttled",),
        max_attempts=5,
        interval_ms=10_000,
        timeout_ms=2_400_000,
        executor="thread",
        batch_size=99,
    )
    origins = {key: where for key, where in resolved.origins.items() if where != "default"}
    assert origins == {
        "errors": f"{file} [policies.transient]",
        "max_attempts": f"{file} [policies.transient]",
        "interval_ms": f"{file} [env.prod.policies.transient]",
        "executor": "machine orders, state extracting",
        "timeout_ms": f"{file} [machines.orders.states.extracting]",
        "batch_size": f"{file} [env.prod.machines.orders.states.extracting]",
    }
    assert set(resolved.origins) == set(Policy().to_dict())


def test_a_state_that_says_nothing_gets_the_default_policy(tmp_path: Path) -> None:
    """[policies.default] if the file has one, the built-in defaults elsewhere."""
    resolved = resolve_policy(loaded(tmp_path), machine="m", state="s", settings={}, retry=None)

    assert resolved.policy == Policy(max_attempts=4)
    assert resolved.origins["max_attempts"].endswith("[policies.default]")
    assert resolve_policy(
        load_config(start=tmp_path / "elsewhere", environ={}, config=None),
        machine="m",
        state="s",
        settings={},
        retry="default",
    ).policy == Policy(max_attempts=4)


def test_an_inline_retry_and_an_overriding_retry_count(tmp_path: Path) -> None:
    """`retry = { … }` in the machine; `retry = "name"` in an override replaces its fields."""
    text = TOML + '[machines.m.states.s]\nretry = "transient"\ninterval = "3s"\n'

    resolved = resolve_policy(
        loaded(tmp_path, text),
        machine="m",
        state="s",
        settings={},
        retry={"max_attempts": 9, "jitter": "none"},
    )

    assert resolved.policy == Policy(
        errors=("Throttled",), max_attempts=5, interval_ms=3_000, jitter="none"
    )
    assert resolved.origins["jitter"] == "machine m, state s, retry"


def test_an_unknown_policy_names_the_nearest(tmp_path: Path) -> None:
    """The message says who asked for it and where to add it."""
    config = loaded(tmp_path)

    with pytest.raises(DefinitionError) as refusal:
        resolve_policy(config, machine="m", state="s", settings={}, retry="transiet")

    assert refusal.value.message == (
        'machine m, state s: there is no policy "transiet"; did you mean "transient"?'
    )
    assert refusal.value.next_step == f"add [policies.transiet] to {tmp_path / 'statepipe.toml'}"


def test_an_override_of_a_state_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It would change nothing, silently."""
    config = loaded(tmp_path)

    refuse_unknown_overrides(config, machine="orders", states=["extracting", "done"])
    with pytest.raises(
        DefinitionError,
        match=r'no state "extracting" in which something runs; did you mean "extract"',
    ):
        refuse_unknown_overrides(config, machine="orders", states=["extract", "done"])

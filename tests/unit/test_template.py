"""Machines from configuration: one template, a file of values each, and every mistake named."""

from pathlib import Path

import pytest

from statepipe.errors import DefinitionError, NotFound
from statepipe.machine.digest import canonical, digest
from statepipe.machine.loading.loader import find_machine, list_machines, load_machine
from statepipe.machine.states.tasks import Load

TEMPLATE = """\
version = 2
why = "Copies {template.table}."
extract = { run = "replicate_:extract", batch_size = "{template.batch}" }
load = { to = "sqlite:///{template.table}.db", table = "{template.table}", key = "{template.key}" }

[params]
table = { type = "text", default = "{template.table}" }

[template.params]
table = "text"
key   = "list"
batch = { type = "int", default = 1000 }
"""


def project(root: Path, template: str = TEMPLATE, **values: str) -> Path:
    """Write a template and files of values; return the folder of machines."""
    folder = root / "machines"
    (folder / "replicate").mkdir(parents=True)
    (folder / "replicate.template.toml").write_text(template, encoding="utf-8")
    for name, text in values.items():
        (folder / "replicate" / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


ORDERS = 'table = "orders"\nkey = ["id"]\n'
ITEMS = 'table = "items"\nkey = ["order", "line"]\nbatch = 50\n'


def test_each_file_of_values_is_a_machine(tmp_path: Path) -> None:
    """Called as the file is; values come with their types, also in the middle of a text."""
    folder = project(tmp_path, orders=ORDERS, items=ITEMS)

    assert list_machines(folder) == ["items", "orders"]
    items = load_machine(find_machine("items", folder))

    assert (items.name, items.version, items.why) == ("items", 2, "Copies items.")
    load = items.state("loading").task
    assert isinstance(load, Load)
    assert (load.to, load.table, load.key) == ("sqlite:///items.db", "items", ("order", "line"))
    assert items.state("extracting").settings["batch_size"] == 50
    assert items.params[0].default == "items"


def test_each_has_a_digest_of_its_own(tmp_path: Path) -> None:
    """And the one that a file in full would have."""
    folder = project(tmp_path, orders=ORDERS, copies=ORDERS)
    plain = TEMPLATE.partition("[template.params]")[0].replace("{template.table}", "orders")
    plain = plain.replace('"{template.key}"', '["id"]').replace('"{template.batch}"', "1000")
    (tmp_path / "orders.toml").write_text('machine = "orders"\n' + plain, encoding="utf-8")

    digests = [
        digest(canonical(load_machine(path), contract_digests={}))
        for path in (
            find_machine("orders", folder),
            find_machine("copies", folder),
            tmp_path / "orders.toml",
        )
    ]

    assert digests[0] == digests[2] != digests[1]


def test_a_value_is_never_syntax(tmp_path: Path) -> None:
    """Quotes, brackets and references in a value stay what they are: text."""
    hostile = "x\\\"]\\n[states.evil]\\nrun = 'os:abort' # {template.key}"
    folder = project(tmp_path, orders=f'table = "{hostile}"\nkey = ["id"]\n')

    machine = load_machine(find_machine("orders", folder))
    load = machine.state("loading").task
    assert isinstance(load, Load)
    assert load.table == "x\"]\n[states.evil]\nrun = 'os:abort' # {template.key}"
    assert [each.name for each in machine.states] == ["extracting", "loading", "done", "failed"]
    text = 'a \\"quoted\\" {template.key} # no comment'
    folder = project(
        tmp_path / "other",
        'extract = "m:f"\nwhy = "{template.why}"\n[template.params]\nwhy = "text"\n',
        orders=f'why = "{text}"\n',
    )
    machine = load_machine(find_machine("orders", folder))
    assert machine.why == 'a "quoted" {template.key} # no comment'


@pytest.mark.parametrize(
    ("template", "values", "file", "said"),
    [
        ("", 'tabel = "x"\n', "orders.toml", "no parameter 'tabel'; did you mean \"table\"?"),
        ("", 'key = ["id"]\n', "orders.toml", "the parameter 'table' of replicate.template.toml"),
        ("", 'table = 3\nkey = ["id"]\n', "orders.toml", "table is 3, and not of type text"),
        ("", ORDERS + "batch = true\n", "orders.toml", "batch is True, and not of type int"),
        ("", "table = \n", "orders.toml", "is not TOML"),
        ('unused = "text"\n', ORDERS, "template.toml", "template.params.unused: nothing uses it"),
        ('x = "txt"\n', ORDERS, "template.toml", "template: params.x: type is 'txt'"),
        ('X = "text"\n', ORDERS, "template.toml", '"X" is not a name'),
        ('x = { type = "int", default = "1" }\n', ORDERS, "template.toml", "x is '1', and not of"),
        ("[template.other]\n", ORDERS, "template.toml", 'template: unknown key "other"'),
        ("[tempalte]\n", ORDERS, "replicate.template.toml with ", 'unknown key "tempalte"'),
    ],
)
def test_a_mistake_is_named_by_file_and_key(
    tmp_path: Path, template: str, values: str, file: str, said: str
) -> None:
    """The file that is to be mended stands first, and what to do last."""
    folder = project(tmp_path, TEMPLATE + template, orders=values)

    with pytest.raises(DefinitionError) as refused:
        load_machine(find_machine("orders", folder))

    place, _, rest = refused.value.message.partition(": ")
    assert file in place
    assert said in rest
    assert refused.value.next_step


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('table = "{template.table}"', 'table = "{template.tabel}"', 'did you mean "table"?'),
        ('why = "Copies', 'why = "{template.key} of', "'key' is of type list and stands in"),
        ("version = 2", 'version = 2\nmachine = "m"', "machine: each machine of a template"),
        ('[template.params]\ntable = "text"', '[template]\nparam = 1\n[x]\ny = "text"', "unknown"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """Before any file of values is looked at."""
    folder = project(tmp_path, TEMPLATE.replace(old, new), orders="")

    with pytest.raises(DefinitionError) as refused:
        load_machine(find_machine("orders", folder))

    assert refused.value.message.startswith(str(folder / "replicate.template.toml"))
    assert said in refused.value.message


def test_a_machine_is_there_once(tmp_path: Path) -> None:
    """Whichever of two files were taken, the other would be silently ignored."""
    folder = project(tmp_path, orders=ORDERS)
    (folder / "orders.toml").write_text('machine = "orders"\nextract = "m:f"\n')

    assert list_machines(folder) == ["orders"]
    with pytest.raises(DefinitionError, match='machine "orders" is there twice'):
        find_machine("orders", folder)


def test_a_template_is_no_machine_and_a_folder_without_one_has_none(tmp_path: Path) -> None:
    """Contracts and the like lie in folders, too."""
    folder = project(tmp_path)
    (folder / "contracts").mkdir()
    (folder / "contracts" / "orders.toml").write_text(ORDERS)

    assert list_machines(folder) == []
    with pytest.raises(NotFound):
        find_machine("orders", folder)

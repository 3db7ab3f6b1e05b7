"""Every page: its links lead somewhere, README leads to it, and the commands and options that it names exist."""

import re
from pathlib import Path

import pytest
import typer.main

from esmaml_robot.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("hardware_configs/*.md"), *ROOT.glob("tests/*/*.md"),
     ROOT / "firmware_export/boards/template/README.md"]
)  # fmt: skip
#: `esmaml robot COMMAND` and the like
GROUPS = ("baseline", "board", "robot")


def commands(group, above=""):
    """(name, command) of everything below a group."""
    for name, command in group.commands.items():
        if name in GROUPS:
            yield from commands(command, f"{above}{name} ")
        else:
            yield above + name, command


COMMANDS = dict(commands(typer.main.get_command(app)))


def prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of its headings, as they are made where Markdown is shown."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> list[tuple[str, Path, str]]:
    """(as it is written, the file it leads to, anchor or nothing) of each link that stays in this repository."""
    found = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in link]
    parts = [(link, *link.partition("#")[::2]) for link in found]
    return [(link, (page.parent / path).resolve() if path else page, anchor) for link, path, anchor in parts]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link, target, anchor in links(page):
        assert target.is_file(), f"{link}: there is no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading; there are {sorted(anchors(target))}"


def test_readme_leads_to_every_page():
    linked = {target for _, target, _ in links(ROOT / "README.md")}
    assert set(ROOT.glob("docs/*.md")) <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_and_options_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, rest in re.findall(r"\besmaml ((?:(?:baseline|robot|board) )?[a-z][a-z-]*)([^`\n]*)", text):
        if name in GROUPS:
            continue
        assert name in COMMANDS, f"esmaml {name}: no such command"
        known = {
            option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        named = set(re.findall(r"(?<![\w\"=&?])--[a-z][a-z-]+", re.split(r"[#;]", rest)[0]))
        assert named <= known | {"--help"}, f"esmaml {name}: no {sorted(named - known)}"


@pytest.mark.parametrize("name", GROUPS)
def test_help_of_a_group_has_an_example_of_a_command_in_it(name):
    examples = re.findall(rf"Example: esmaml ({name} [a-z-]+)", typer.main.get_command(app).commands[name].help or "")
    assert examples, "no example"
    assert set(examples) <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_with_options_that_exist(name):
    command = COMMANDS[name]
    examples = re.findall(rf"Example: esmaml {name}\b(.*)", command.help or "")
    assert examples, "no example"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for example in examples:
        assert set(re.findall(r"(?<!\S)--[a-z][a-z-]+", example)) <= known

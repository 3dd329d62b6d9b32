"""
What the pages say is what the code has: each command, its arguments, keys of pillar, paths, and each message of "it
says". An operator types what is there at three in the morning.
"""

import re

import pytest
import yaml

from idr import topology
from idr.backup import destinations
from idr.cloud import wanted
from idr.errors import Refused
from idr.release import expectations
from idr.values import base, jupyterhub, nginx, omero, postgresql, secrets
from idr.values.kinds import mapping
from tests import pages
from tests.tables import REPO

RUNNERS, MODULES = pages.functions("_runners"), pages.functions("_modules")
OF_CLOUD = yaml.safe_load((REPO / "pillar/environment_defaults.sls").read_text())
TYPED = (*(key for key in OF_CLOUD if key not in wanted.IN_FILES), "address")
MORE = {  # what `**given` takes
    "environment.plan": TYPED,
    "environment.apply": TYPED,
    "backup.restore": tuple(key for key in TYPED if key != "sources"),
    "release.plan": ("from",),
    "release.prepare": ("from",),
}
MESSAGES = pages.messages()
WRITTEN = {name for text in MESSAGES for name in re.findall(r"\bidr_\w+", text)}  # as metadata, in a cloud
SHAPE = mapping(
    {
        "base": base.SHAPE,
        "nginx": nginx.SHAPE,
        "omero": omero.SHAPE,
        "postgresql": postgresql.SHAPE,
        "docker": jupyterhub.DOCKER,
        "jupyterhub": jupyterhub.SHAPE,
    }
)
PATHS = re.compile(r"(?:_modules|_runners|_states|idr|salt|pillar|lab|tests|docs)/[\w./{},-]+")
MADE = ("pillar/environments/newidr.sls", "pillar/environments/<env>.sls")  # an operator's own
FILES = (".sls", ".md", ".yaml", ".json", ".service", ".mount")
# What stands in a page's message for what the code puts there
STANDS = re.compile(
    r"\bidr-production\b|\b(?:switch|newidr|idr|nowhere)\b|ada@desk:4711|\d[\d.]*|en_US\.UTF-8|setlocale\(\)"
    r"|ext4, dos, LVM2_member, …|state\.highstate|nginx\.redirects\.pages\./old|…/environment\.sls|…"
)
UNITS = re.compile(r"(?:journalctl|systemctl (?:status|start|stop|restart))((?: (?!-u\b)[\w.-]+| -u [\w-]+)+)")
OTHERS = {  # messages of other programs, which ours hand on
    "Save(…) returned error, retrying after …": "restic",
}
PAGES = pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)


def is_said(message):
    pieces = [re.escape(piece) for piece in STANDS.split(message) if piece.strip()]
    return bool(pieces) and any(map(re.compile(".*".join(pieces)).search, MESSAGES))


def wrong_with(command):
    """What keeps a command of a page from being what the code takes, one line each."""
    match command.program:
        case "make":
            return [] if re.search(rf"^{command.function}:", (REPO / "Makefile").read_text(), re.M) else ["no target"]
        case "lab/ctl":
            words = [command.function, *(word for word in command.positional if word.startswith("--"))]
            known = (REPO / "lab/ctl").read_text() + '"--help"'
            return [f"{word}: unknown" for word in words if f'"{word}"' not in known]
        case "salt-run":
            function = RUNNERS.get(command.function) or pages.of_salt(command.function, "runners")
        case "salt" | "salt-call":
            function = MODULES.get(command.function) or pages.of_salt(command.function, "modules")
        case _:  # in prose, a runner's or a module's
            found = [wrong_of(it[command.function], command) for it in (RUNNERS, MODULES) if command.function in it]
            return min(found, key=len) if found else ["no such function"]
    return wrong_of(function, command) if function else ["no such function"]


def more(function):
    """The arguments that a function judges by itself."""
    return MORE[function.name] if function.takes_more == "given" else ()


def wrong_of(function, command):
    takes = (*function.takes, *more(function))
    if function.takes_more and function.name not in RUNNERS:
        takes = (*takes, *command.named)
    given = {**dict(zip(function.takes, command.positional, strict=False)), **command.named}
    problems = [f"{key}=: it takes {', '.join(takes)}" for key in command.named if key not in takes]
    problems += [f"{word}: one too many" for word in command.positional[len(function.takes) :]]
    problems += [f"{key}: twice" for key in function.takes[: len(command.positional)] if key in command.named]
    if command.is_whole:
        problems += [f"{key}: missing" for key in function.required if key not in given]
    problems += [
        f"{key}={given[key]}: True or False"
        for key in function.booleans
        if given.get(key, "…") not in ("True", "False", "…")
    ]
    said = given.get("even_if", "").split(",") if "even_if" in given else []
    return problems + [
        f"even_if={it}: not in its docstring" for it in said if it != "…" and f"``{it}``" not in function.doc
    ]


def test_what_is_looked_at_is_found_in_the_pages():
    every, ours = pages.pages(), {**RUNNERS, **MODULES}

    assert len([it for page in every for it in pages.commands(page, ours)]) > 120
    assert len([it for page in every for it in page.said]) > 60
    assert len(pages.examples(RUNNERS["backup.restore"])) > 3


@PAGES
def test_a_page_has_commands_that_can_be_typed(page):
    told = [(it.place, it.function, wrong_with(it)) for it in pages.commands(page, {**RUNNERS, **MODULES})]

    assert [it for it in told if it[-1]] == []


@PAGES
def test_a_function_that_a_page_names_is_there(page):
    ours = {**RUNNERS, **MODULES}
    modules = {name.partition(".")[0] for name in ours}
    named = [(place, span) for place, span in page.spans if re.fullmatch(r"[a-z_]+\.[a-z_]+", span)]

    missing = [
        (place, span)
        for place, span in named
        if span.partition(".")[0] in modules and span not in ours and not span.endswith(FILES)
    ]
    assert missing == []


@PAGES
def test_an_argument_that_a_page_names_by_itself_is_one(page):
    ours = [*RUNNERS.values(), *MODULES.values()]
    takes, docs = {name for it in ours for name in (*it.takes, *more(it))}, "".join(it.doc for it in ours)
    told = []
    for place, span in page.spans:
        if re.fullmatch(r"([a-z][a-z_]*=\S*)( [a-z][a-z_]*=\S*)*", span):
            told += [(place, key) for key in re.findall(r"\b([a-z_]+)=", span) if key not in takes]
            words = re.findall(r"even_if=([a-z,-]+)", span)
            told += [(place, it) for said in words for it in said.split(",") if f"``{it}``" not in docs]

    assert told == []


@pytest.mark.parametrize("function", [*RUNNERS.values(), *MODULES.values()], ids=lambda function: function.name)
def test_the_examples_of_a_function_can_be_typed(function):
    of_ours = [it for it in pages.examples(function) if it.function == function.name]

    assert of_ours
    assert [problem for it in of_ours for problem in wrong_with(it)] == []
    assert set(pages.described(function)) <= {*function.takes, function.takes_more, *more(function)}


def unknown_in(key):
    """What is wrong with the name of a key of pillar, `nginx:cache:zones`."""
    first, *path = key.split(":")
    if first == "secrets":
        kinds = [mapping(needs, possible) for needs, possible in secrets.SHAPES.values()]
        return min((_unknown(kind, path, "secrets") for kind in kinds), key=len)
    return _unknown(SHAPE, [first, *path], "")


def _unknown(shape, path, root):
    raw = None
    for part in reversed(path):
        raw = {part: raw}
    told = []
    shape(raw, root, lambda place, what: told.append(f"{place}: {what}") if what.startswith("unknown") else None)
    return told


@PAGES
def test_a_key_of_pillar_that_a_page_names_is_there(page):
    trees = "base|nginx|omero|postgresql|docker|jupyterhub|secrets"
    told = []
    for place, span in page.spans:
        for name in re.findall(rf"^(?:{trees})(?::[a-z_{{}},]+)+", span):
            before, _, group = name.partition("{")
            for each in group.rstrip("}:").split(",") if group else [""]:
                told += [(place, problem) for problem in unknown_in((before + each).rstrip(":"))]

    assert told == []


@PAGES
def test_a_parameter_or_metadata_that_a_page_names_is_there(page):
    named = [(place, span) for place, span in page.spans if re.fullmatch(r"(?:backup|release|vm|idr)_\w+", span)]

    assert [(place, name) for place, name in named if name not in OF_CLOUD and name not in WRITTEN] == []


def wrong_in(raw):
    """What is wrong with a file of an operator's, or a part of one, as a page shows it."""
    told = []
    match next(iter(raw)):
        case "environment":
            try:
                topology.parse(raw, raw["environment"]["name"])
            except Refused as refused:
                told = refused.problems
        case "volumes":
            told = [
                key for volume in raw["volumes"] for key in volume if key not in ("name", "mount", "size_gb", "uuid")
            ]
        case "repository":
            told = [key for key in raw if key not in destinations.KEYS]
            told += [key for key in raw["keep"] if key not in OF_CLOUD["backup_keep"]]
        case first if first in expectations.KEYS:
            told = [key for key in raw if key not in expectations.KEYS]
        case first if first in OF_CLOUD:
            told = [key for key in raw if key not in OF_CLOUD]
        case _:
            SHAPE(raw, "", lambda place, what: told.append(f"{place}: {what}"))
            told = [problem for problem in told if not problem.endswith(": missing")]
    return told


@PAGES
def test_what_a_page_shows_of_a_file_can_be_read(page):
    told = {place: wrong_in(yaml.safe_load(text)) for place, language, text in page.blocks if language == "yaml"}

    assert {place: problems for place, problems in told.items() if problems} == {}


def test_the_rules_for_sets_are_shown_as_they_are():
    [shown] = [text for page in pages.pages() for _, _, text in page.blocks if "environment_defaults.sls;" in text]

    assert yaml.safe_load(shown).items() <= OF_CLOUD.items()


@PAGES
def test_a_path_of_this_repository_that_a_page_names_is_there(page):
    links = [(page.place(it.start()), it[1]) for it in re.finditer(r"\]\((?!https?:)([^)#]+)", page.text)]
    beside = [(place, span) for place, span in page.spans if re.fullmatch(r"[a-z_]+\.md", span)]
    missing = [it for it in (*links, *beside) if not ((REPO / page.name).parent / it[1]).exists()]
    missing += [
        (place, path)
        for place, span in page.spans
        if PATHS.fullmatch(span) and span not in MADE
        for path in pages.alternatives(span)
        if not (REPO / path).exists() and not ((REPO / page.name).parent / path).exists()
    ]
    assert missing == []


@PAGES
def test_a_message_that_a_page_explains_is_said(page):
    missing = [(place, message) for place, message in page.said if message not in OTHERS and not is_said(message)]
    assert missing == []


@PAGES
def test_a_unit_that_a_page_names_is_one(page):
    named = [(place, span) for place, span in page.spans if re.fullmatch(r"[\w<>-]+\.service", span)]
    shown = [*page.spans, *((place, line) for place, _, text in page.blocks for line in text.splitlines())]
    asked = [(place, words.split()) for place, text in shown for words in UNITS.findall(text)]
    named += [(place, unit.removesuffix(".service")) for place, units in asked for unit in units if unit != "-u"]
    named = [(place, unit) for place, unit in named if not unit.endswith(".mount")]  # by data_volume.unit

    assert [(place, unit) for place, unit in named if not is_said(re.sub(r"-(\d+|<\w+>)(?=\.|$)", "-…", unit))] == []


def test_a_command_that_a_message_tells_can_be_typed():
    told = []
    for text in MESSAGES:
        for name, rest in re.findall(r"salt-run (?:--\S+ )?([a-z_]+\.[a-z_]+)([^;:,()`]*)", text):
            named = {key: value or "…" for key, value in re.findall(r" ([a-z_]+)=([\w,-]*)", rest)}
            told.append((text, wrong_with(pages.Command("", "salt-run", name, [], named, is_whole=False))))

    assert len(told) > 100
    assert [it for it in told if it[-1]] == []

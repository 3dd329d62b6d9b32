"""
What the pages for operators say of the code: commands that are typed, keys of pillar, paths, messages. And what the
code has of these, read without Salt's loader.
"""

import ast
import inspect
import re
import shlex
from dataclasses import dataclass, field
from importlib import import_module

from tests.tables import REPO

PAGES = [
    *(REPO / name for name in ("README.md", "lab/README.md", "lab/omero/README.md", "pillar/environments/README.md")),
    *sorted(REPO.glob("docs/*.md")),
]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
SPAN = re.compile(r"`([^`]+)`")
TYPED = ("salt-run", "salt-call", "salt", "lab/ctl", "make")  # what a command that can be checked begins with
ALONE = re.compile(r"salt-run \w+\.\w+")  # in a block that isn't of a shell, e.g. a crontab
TAKE_A_VALUE = ("-t",)  # of these commands' options


@dataclass(frozen=True)
class Page:
    """One page's text, and how it's known in a problem."""

    name: str
    text: str

    @property
    def blocks(self):
        """``(place, language, text)`` of what stands between fences."""
        return [(self.place(found.start(2)), found[1], found[2]) for found in FENCE.finditer(self.text)]

    @property
    def spans(self):
        """``(place, text)`` of what stands between backticks, in prose and tables."""
        prose = FENCE.sub(lambda found: "\n" * found[0].count("\n"), self.text)
        return [(self.place(found.start(), prose), " ".join(found[1].split())) for found in SPAN.finditer(prose)]

    def place(self, offset, text=None):
        return f"{self.name}:{(text or self.text).count(chr(10), 0, offset) + 1}"

    @property
    def said(self):
        """``(place, message)`` of the first column of each table of what a command says, or why it's refused."""
        found, is_said = [], False
        for number, line in enumerate(self.text.splitlines(), 1):
            if not line.startswith("|"):
                is_said = False
            elif line.startswith(("| it says |", "| refused |")):
                is_said = True
            elif is_said and not line.startswith("|---"):
                first = line.split(" | ")[0].removeprefix("| ")
                found += [(f"{self.name}:{number}", message) for message in SPAN.findall(first) or [first]]
        return found


@dataclass(frozen=True)
class Function:
    """A public function of a runner or execution module: what it takes, and what it says of itself."""

    name: str
    takes: tuple[str, ...]
    required: tuple[str, ...]
    takes_more: str | None = None
    booleans: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True)
class Command:
    """What is typed: a function or a command's word, and what it's given. A whole one has all that it needs."""

    place: str
    program: str
    function: str
    positional: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)
    is_whole: bool = True


def pages():
    return [Page(str(path.relative_to(REPO)), path.read_text()) for path in PAGES]


def functions(folder):
    """The public functions of ``_runners`` or ``_modules``, by the name under which Salt has them."""
    found = {}
    for path in sorted((REPO / folder).glob("*.py")):
        tree = ast.parse(path.read_text())
        said = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)
                if isinstance(node.targets[0], ast.Name)}  # fmt: skip
        loaded = ast.literal_eval(said["__load__"]) if "__load__" in said else None
        alias = ast.literal_eval(said["__func_alias__"]) if "__func_alias__" in said else {}
        module = _virtual_name(tree, said) or path.stem
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            if loaded is None or node.name in loaded:
                name = f"{module}.{alias.get(node.name, node.name)}"
                found[name] = _function(name, node)
    return found


def _virtual_name(tree, said):
    if "__virtualname__" in said:
        return ast.literal_eval(said["__virtualname__"])
    returned = [
        one.value.value
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "__virtual__"
        for one in ast.walk(node)
        if isinstance(one, ast.Return) and isinstance(one.value, ast.Constant)
    ]
    return returned[0] if returned else None


def _function(name, node):
    arguments = node.args
    names = tuple(one.arg for one in arguments.args)
    given = arguments.defaults
    defaults = dict(zip(names[len(names) - len(given) :], given, strict=True))
    booleans = tuple(
        key for key, value in defaults.items() if isinstance(value, ast.Constant) and isinstance(value.value, bool)
    )
    more = arguments.kwarg.arg if arguments.kwarg else None
    required = tuple(key for key in names if key not in defaults)
    return Function(name, names, required, more, booleans, ast.get_docstring(node) or "")


def of_salt(name, folder):
    """A function of Salt's own, as `functions` tells ours; None where Salt hasn't any of that name."""
    module, _, function = name.partition(".")
    try:
        loaded = import_module(f"salt.{folder}.{module}")
        alias = {name: there for there, name in getattr(loaded, "__func_alias__", {}).items()}
        found = getattr(loaded, alias.get(function, function))
    except (ImportError, AttributeError):
        return None
    parameters = inspect.signature(found).parameters.values()
    named = [it for it in parameters if it.kind == it.POSITIONAL_OR_KEYWORD]
    takes_more = next(("kwargs" for it in parameters if it.kind == it.VAR_KEYWORD), None)
    needed = tuple(it.name for it in named if it.default is it.empty)
    return Function(name, tuple(it.name for it in named), needed, takes_more)


def commands(page, ours):
    """Every command of a page that can be checked; `ours` are the functions that may be named without `salt-run`."""
    found = []
    for place, language, text in page.blocks:
        number = int(place.rpartition(":")[2])
        for offset, line in enumerate(text.splitlines()):
            if language == "bash" or ALONE.search(line):
                found += _of_line(f"{page.name}:{number + offset}", line)
    modules = {name.partition(".")[0] for name in ours}
    for place, span in page.spans:
        first = span.split()[0]
        if first in TYPED:
            found += _of_line(place, span)
        elif re.fullmatch(r"[a-z_]+\.[a-z_]+", first) and first.partition(".")[0] in modules and " " in span:
            found.append(_command(place, "", _words(span), is_whole=False))
    return found


def _of_line(place, line):
    """The commands of one line of a shell."""
    found = []
    if not any(word in line.split() for word in TYPED):
        return found
    for words in _parts(_words(line)):
        start = next((number for number, word in enumerate(words) if word in TYPED), None)
        if start is None:
            continue
        program, rest = words[start], words[start + 1 :]
        while rest and rest[0].startswith("-"):
            rest = rest[2 if rest[0] in TAKE_A_VALUE else 1 :]
        rest = rest[1:] if program == "salt" else rest  # for whom
        if rest and rest[0] != "…":
            found.append(_command(place, program, rest))
    return found


def _words(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, "#"
    return list(lexer)


def _parts(words):
    parts = [[]]
    for word in words:
        if set(word) <= set(";&|"):
            parts.append([])
        elif word == ">":
            parts[-1].append(None)
        else:
            parts[-1].append(word)
    return [part[: part.index(None)] if None in part else part for part in parts]


def _command(place, program, words, is_whole=True):
    named = dict(word.split("=", 1) for word in words[1:] if re.match(r"[a-z_]+=", word))
    positional = [word for word in words[1:] if not re.match(r"[a-z_]+=", word)]
    return Command(place, program, words[0], positional, named, is_whole)


def described(function):
    """The names of a function's docstring's list of arguments."""
    lists = [part for part in function.doc.split("\n\n") if re.match(r"[a-z_]+: ", part)]
    return [name for part in lists for name in re.findall(r"^([a-z_]+): ", part, re.M)]


def examples(function):
    """The commands of a function's CLI example."""
    _, _, block = function.doc.partition(".. code-block:: bash")
    return [it for line in block.splitlines() if line.strip() for it in _of_line(function.name, line)]


def messages():
    """
    Every text of what runs, in one line each, with ``\\0`` for what is put into it: constants of Python, and each file
    of the states as it stands.
    """
    found = []
    for folder in ("_modules", "_states", "_runners", "_output", "idr", "salt"):
        for path in sorted((REPO / folder).rglob("*")):
            if path.is_symlink() or not path.is_file() or path.suffix in (".lock", ".pyc"):
                continue
            text = path.read_text()
            if path.suffix != ".py":
                found.append(" ".join(text.split()))
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.JoinedStr):
                    parts = (it.value if isinstance(it, ast.Constant) else "\0" for it in node.values)
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    found.append(inspect.getsource(import_module("salt.modules.state")))  # a run that is in the way is told by Salt
    return [" ".join(text.split()) for text in found]


def alternatives(path):
    """Of `salt/{a,b}/c`, both."""
    before, brace, rest = path.partition("{")
    if not brace:
        return [path]
    group, _, after = rest.partition("}")
    return [f"{before}{each}{after}" for each in group.split(",")]

"""Takes a query apart into its words."""
import re
from dataclasses import dataclass

TOKEN = re.compile(r"""\s*(?:(?P<string>'(?:[^']|'')*') | (?P<parameter>:\w+) | (?P<number>\d+(?:\.\d+)?)L?
                        | (?P<name>[A-Za-z_]\w*(?:\.\w+)*) | (?P<sign><=|>=|<>|!=|\|\||[-+*/=<>(),]))""", re.X)


class NotSupported(Exception):
    """The query uses something that the stand-in doesn't know; the message names it."""


@dataclass(frozen=True)
class Token:
    """A word of the query, and what kind of word it is."""
    kind: str
    text: str

    def is_word(self, *words):
        """Whether it is one of these keywords."""
        return self.kind == "name" and self.text.lower() in words


def words_of(query):
    """The query as a list of tokens."""
    tokens, at, query = [], 0, query.strip()
    while at < len(query):
        match = TOKEN.match(query, at)
        if not match:
            raise NotSupported(f"cannot read the query from here: {query[at:at + 40]}")
        tokens.append(Token(match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return tokens


def split(tokens, *separators):
    """The tokens between commas (or other separators) that stand outside of parentheses."""
    parts, depth = [[]], 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def closing(tokens, at):
    """Where the parenthesis that opens at `at` is closed."""
    depth = 0
    for index in range(at, len(tokens)):
        depth += (tokens[index].text == "(") - (tokens[index].text == ")")
        if depth == 0:
            return index
    raise NotSupported("a parenthesis that isn't closed")

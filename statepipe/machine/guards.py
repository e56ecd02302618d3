"""
The language of guards: `when = "result.rows > 0 and not params.dry_run"`. No Python is evaluated.

    Guard       a checked expression, compiled once; called with facts, answers True or False
    FACTS       the names an expression may begin with

    expression  literal: 17, 2.5, "text", 'text', true, false, null, [1, 2]
                name: result.rows, params.day, visit, attempt, records, rejected
                == != < <= > >=   in   not in   + - * /   and   or   not   ( )

It is strict where Python is not: `and`, `or` and `not` want true or false, a number is
never equal to a text (that is an error, not false), comparisons do not chain. So a
typing mistake is found by the first instance that meets it, with the guard's own text.
Length, nesting and numbers are bounded, so a guard costs microseconds at most.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from statepipe.errors import DefinitionError, GuardError
from statepipe.machine.operations import (
    COMPARISONS,
    NUMBER_MAX,
    Part,
    Unfit,
    both,
    compared,
    computed,
    constant,
    either,
    kind_name,
    looked_up,
    truth,
)
from statepipe.suggest import did_you_mean

#: What a guard may look at. `visit` counts the stays in this state, from 1;
#: `attempt` is the attempt that ended; `records` and `rejected` are this stay's.
FACTS: Final = ("result", "params", "visit", "attempt", "records", "rejected")

LENGTH_MAX: Final = 500
DEPTH_MAX: Final = 20
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![A-Za-z_0-9.])
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*)
      | (?P<text>"[^"\\]*"|'[^'\\]*')
      | (?P<sign>==|!=|<=|>=|[-<>+*/()\[\],])
    )""",
    re.VERBOSE,
)
_WORDS: Final = frozenset({"and", "or", "not", "in", "true", "false", "null"})
_LITERALS: Final = {"true": True, "false": False, "null": None}


class Guard:
    """
    A guard's text, checked and compiled.

    Attributes:
        text: The expression as its author wrote it.
        names: What it looks at, each by its parts: ("params", "day").

    Raises:
        DefinitionError: If the text is no expression; the message names the column.
    """

    __slots__ = ("_evaluate", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        parser = _Parser(text)
        self._evaluate = parser.parse()
        self.names = tuple(parser.names)

    def __call__(self, facts: Mapping[str, Any]) -> bool:
        """
        Return whether the guard holds on `facts`.

        Raises:
            GuardError: If a fact is missing or of a kind that the guard cannot use.
        """
        try:
            answer = self._evaluate(facts)
        except Unfit as unfit:
            raise self._refusal(str(unfit)) from None
        except (TypeError, ValueError, ArithmeticError) as error:
            raise self._refusal(str(error) or type(error).__name__) from None
        if answer is True or answer is False:
            return answer
        raise self._refusal(f"it gives {kind_name(answer)}, not true or false")

    def _refusal(self, why: str) -> GuardError:
        return GuardError(
            f"guard `{self.text}` cannot be decided: {why}",
            meaning="no transition was taken; the committed data is as it was",
            next_step="correct the guard in the machine's file, or the result it looks at",
        )


class _Token(NamedTuple):
    kind: str  # "number", "name", "text", "sign", "word", or "end"
    text: str
    column: int  # from 1


class _Parser:
    """Recursive descent over the tokens; every method returns a closure over the facts."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self._at = 0
        self.names: list[tuple[str, ...]] = []
        if len(text) > LENGTH_MAX:
            raise self._refusal(f"it has {len(text)} characters, more than {LENGTH_MAX}", 1)
        self._tokens = self._split()

    def parse(self) -> Part:
        whole = self._or()
        if self._peek.kind != "end":
            raise self._unexpected("the end")
        return whole

    def _split(self) -> list[_Token]:
        tokens, at, text = [], 0, self._text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                rest = text[at:]
                column = at + len(rest) - len(rest.lstrip()) + 1
                raise self._refusal(_puzzle(rest.lstrip()), column)
            group = str(match.lastgroup)
            found = match[group]
            kind = "word" if found in _WORDS else group
            tokens.append(_Token(kind, found, match.start(group) + 1))
            at = match.end()
        tokens.append(_Token("end", "", len(text) + 1))
        return tokens

    def _refusal(self, why: str, column: int) -> DefinitionError:
        shown = self._text if len(self._text) <= LENGTH_MAX else self._text[:40] + "…"
        return DefinitionError(
            f"guard `{shown}`, column {column}: {why}",
            meaning="nothing was run",
            next_step='guards look like "result.rows > 0 and attempt < 3"',
        )

    def _unexpected(self, wanted: str) -> DefinitionError:
        token = self._peek
        found = "the end" if token.kind == "end" else f'"{token.text}"'
        return self._refusal(f"expected {wanted}, found {found}", token.column)

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> str | None:
        """Step over the next token if it is one of `texts`, a word or a sign; return it."""
        token = self._peek
        if token.kind in {"word", "sign"} and token.text in texts:
            self._at += 1
            return token.text
        return None

    def _deeper(self, parse: Callable[[], Part]) -> Part:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._refusal(f"nested deeper than {DEPTH_MAX}", self._peek.column)
        inner = parse()
        self._depth -= 1
        return inner

    def _or(self) -> Part:
        left = self._and()
        while self._take("or"):
            left = either(left, self._and())
        return left

    def _and(self) -> Part:
        left = self._not()
        while self._take("and"):
            left = both(left, self._not())
        return left

    def _not(self) -> Part:
        if not self._take("not"):
            return self._comparison()
        inner = self._deeper(self._not)
        return lambda facts: not truth(inner(facts), "not")

    def _comparison(self) -> Part:
        left = self._sum()
        found = self._comparator()
        if found is None:
            return left
        whole = compared(found, left, self._sum())
        column = self._peek.column
        if self._comparator() is not None:
            raise self._refusal("comparisons do not chain; write a < b and b < c", column)
        return whole

    def _comparator(self) -> str | None:
        found = self._take("==", "!=", "in", *COMPARISONS)
        if found is None and self._take("not"):
            if not self._take("in"):
                raise self._unexpected('"in" after "not"')
            return "not in"
        return found

    def _sum(self) -> Part:
        left = self._product()
        while sign := self._take("+", "-"):
            left = computed(sign, left, self._product())
        return left

    def _product(self) -> Part:
        left = self._negative()
        while sign := self._take("*", "/"):
            left = computed(sign, left, self._negative())
        return left

    def _negative(self) -> Part:
        if not self._take("-"):
            return self._value()
        return computed("-", constant(0), self._deeper(self._negative))

    def _value(self) -> Part:
        token = self._peek
        if self._take("("):
            inner = self._deeper(self._or)
            self._close(")")
            return inner
        if self._take("["):
            return self._list()
        if self._take(*_LITERALS):
            return constant(_LITERALS[token.text])
        if token.kind not in {"name", "number", "text"}:
            raise self._unexpected("a value")
        self._at += 1
        if token.kind == "name":
            return self._name(token)
        if token.kind == "text":
            return constant(token.text[1:-1])
        return constant(self._number(token))

    def _close(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unexpected(f'"{sign}"')

    def _list(self) -> Part:
        items: list[Part] = []
        while not self._take("]"):
            if items and not self._take(","):
                raise self._unexpected('"," or "]"')
            items.append(self._deeper(self._or))
        return lambda facts: [item(facts) for item in items]

    def _number(self, token: _Token) -> int | float:
        number = int(token.text) if token.text.isdigit() else float(token.text)
        if not -NUMBER_MAX < number < NUMBER_MAX:
            raise self._refusal(f"{token.text} is too large", token.column)
        return number

    def _name(self, token: _Token) -> Part:
        root, *path = token.text.split(".")
        if root not in FACTS:
            raise self._refusal(
                f'unknown name "{root}"{did_you_mean(root, (*FACTS, *_WORDS))}'
                f" (known: {', '.join(FACTS)})",
                token.column,
            )
        self.names.append((root, *path))
        return looked_up(root, path)


def _puzzle(rest: str) -> str:
    """Say what is wrong with text that begins no token, as helpfully as its first sign allows."""
    if rest[0] in "\"'":
        if rest.find(rest[0], 1) > 0:
            return "a text with a backslash is not supported"
        return "this text is never closed"
    if rest[0] == "=":
        return 'a single "="; equality is "=="'
    if rest[0] in "&|!":
        return f'"{rest[0]}" is not known; write and, or, not'
    return f'"{rest[:10]}" is not understood'

"""A strict matcher for the part of CDDL (RFC 8610) that ``spec/messages.cddl`` uses.

pycddl 0.6 overlooks faults: it reads only the first of the arrays inside an array, does not follow ``.cbor``, and
takes numbers for bytes in maps. So it judges what must be accepted, and this matcher what must be refused.

Subset: rules ``name = type``; choices; unsigned literals; ``uint``, ``bool``, ``text``, ``bytes``, ``null``;
``bytes .size N``, ``bytes .size (low..high)`` and ``bytes .cbor rule``; arrays of ``key: type`` or of one
``low*high type``; maps with text keys.
"""

from __future__ import annotations

import re
from typing import Any

from btard.protocol.encoding import DecodeError, decode

TOKEN = re.compile(r'"\w+"|\.\.|\.\w+|[A-Za-z][\w-]*|\d+|[=\[\]{}():,/*]')
Node = tuple[Any, ...]


class Grammar:
    """The rules of one CDDL text. Raises ValueError for what is outside the subset."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = TOKEN.findall(re.sub(r";.*", "", text))
        self.rules: dict[str, Node] = {}
        while self.tokens:
            name = self.take()
            self.expect("=")
            self.rules[name] = self.choice()

    def take(self) -> str:
        """The next token."""
        if not self.tokens:
            raise ValueError("the grammar ends inside a rule")
        return self.tokens.pop(0)

    def peek(self, ahead: int = 0) -> str:
        """A token further on; empty at the end."""
        return self.tokens[ahead] if len(self.tokens) > ahead else ""

    def expect(self, token: str) -> None:
        """Take exactly ``token``."""
        if self.take() != token:
            raise ValueError(f"expected {token!r} before {self.peek()!r}")

    def choice(self) -> Node:
        """``type / type / …``"""
        options = [self.single()]
        while self.peek() == "/":
            self.take()
            options.append(self.single())
        return ("choice", *options)

    def single(self) -> Node:
        """One type without a choice."""
        token = self.take()
        if token == "[":
            return self.array()
        if token == "{":
            return self.mapping()
        if token.isdigit():
            return "literal", int(token)
        if self.peek() == ".cbor":
            return self.take(), self.take()
        if self.peek() == ".size":
            return self.take(), *self.sizes()
        return "name", token

    def sizes(self) -> tuple[int, int]:
        """``N`` or ``(low..high)``: the least and the greatest number of bytes."""
        if self.peek() != "(":
            size = int(self.take())
            return size, size
        self.take()
        low = int(self.take())
        self.expect("..")
        high = int(self.take())
        self.expect(")")
        return low, high

    def array(self) -> Node:
        """What follows ``[``."""
        if self.peek(1) == "*":
            low, _, high, entry = self.take(), self.take(), self.take(), self.choice()
            self.expect("]")
            return "list", int(low), int(high), entry
        members = []
        while self.peek() != "]":
            self.take()
            self.expect(":")
            members.append(self.choice())
            if self.peek() == ",":
                self.take()
        self.take()
        return "array", members

    def mapping(self) -> Node:
        """What follows ``{``."""
        members = {}
        while self.peek() != "}":
            key = self.take().strip('"')
            self.expect(":")
            members[key] = self.choice()
            if self.peek() == ",":
                self.take()
        self.take()
        return "map", members

    def fits(self, rule: str, item: Any) -> bool:
        """Whether ``item`` is a ``rule``."""
        return self.matches(self.rules[rule], item)

    def matches(self, node: Node, item: Any) -> bool:
        """Whether ``item`` has the type ``node``."""
        match node:
            case "choice", *options:
                return any(self.matches(option, item) for option in options)
            case "literal", value:
                return type(item) is int and item == value
            case "list", low, high, entry:
                return type(item) is list and low <= len(item) <= high and all(self.matches(entry, e) for e in item)
            case "array", members:
                same = type(item) is list and len(item) == len(members)
                return same and all(map(self.matches, members, item))
            case "map", members:
                same = type(item) is dict and item.keys() == members.keys()
                return same and all(self.matches(members[key], value) for key, value in item.items())
            case ".size", low, high:
                return type(item) is bytes and low <= len(item) <= high
            case ".cbor", rule:
                return type(item) is bytes and self.holds(rule, item)
            case "name", name if name in KINDS:
                return type(item) is KINDS[name]
            case _, name:
                return self.fits(name, item)
        raise ValueError(f"no type {node!r}")

    def holds(self, rule: str, data: bytes) -> bool:
        """Whether ``data`` encodes a ``rule``."""
        try:
            return self.fits(rule, decode(data, len(data)))
        except DecodeError:
            return False


KINDS: dict[str, type] = {"uint": int, "bool": bool, "bytes": bytes, "text": str, "null": type(None)}

"""Reads the console blocks of docs/operations.md, so that checks run the commands that stand there."""

import dataclasses
import re

from cluster import ROOT

PAGE = ROOT / "docs/operations.md"
# Begins the paragraph below a block that no check runs, and is followed by the reason.
NOT_RUN = "Not run by the checks:"


@dataclasses.dataclass
class Command:
    """One command, and the lines that the page shows below it."""

    text: str
    shown: list


@dataclasses.dataclass
class Block:
    line: int
    commands: list
    not_run: str


@dataclasses.dataclass
class Section:
    """What stands under one heading. A block that is taken with `block` counts as run."""

    heading: str
    blocks: list
    run: set = dataclasses.field(default_factory=set)

    def block(self, number):
        self.run.add(number)
        return self.blocks[number]

    def assert_all_run(self):
        left = [block.line for number, block in enumerate(self.blocks) if number not in self.run and not block.not_run]
        assert not left, f"{PAGE.name}, {self.heading!r}: nothing runs the block at line {left}"


def commands(lines):
    """The commands of a block: lines that begin with `$ `, each continued after a backslash at its end."""
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        elif found and not found[-1].shown and found[-1].text.endswith("\\"):
            found[-1].text = found[-1].text[:-1].rstrip() + " " + line.strip()
        else:
            assert found, f"a console block begins with a command, not with {line!r}"
            found[-1].shown.append(line)
    return found


def sections(text=None):
    """The sections that have console blocks, in the order of the page."""
    lines = (PAGE.read_text() if text is None else text).splitlines()
    found, number = [], 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.startswith("## "):
            found.append(Section(line[3:], []))
        elif line.startswith("```"):
            end = next(at for at in range(number, len(lines)) if lines[at] == "```")
            if line == "```console":
                below = " ".join(lines[end + 1 : end + 8]).strip()
                reason = re.match(re.escape(NOT_RUN) + r" (\S.*?\.)(\s|$)", below)
                found[-1].blocks.append(Block(number, commands(lines[number:end]), reason[1] if reason else ""))
            number = end + 1
    return [section for section in found if section.blocks]

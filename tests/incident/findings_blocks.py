"""The blocks of a document that a program writes: where they are, filling them, and whether somebody changed one by hand.

    <!-- findings: NAME -->
    <!-- Written by `make findings` … digest 0123456789ab -->
    …
    <!-- /findings -->
"""
import hashlib
import re

BLOCK = re.compile(r"^<!-- findings: ([\w-]+) -->\n(.*?)^<!-- /findings -->$", re.S | re.M)
BORDER = re.compile(r"^<!-- /?findings\b.*$", re.M)
MARK = re.compile(r"\A<!-- Written by `make findings` from (.*); not by hand. Digest ([0-9a-f]{12}) -->\n")


class BrokenDocument(Exception):
    """What is wrong with the document, in one line."""


def digest(body):
    return hashlib.sha256(body.encode()).hexdigest()[:12]


def blocks(text):
    """{name: what stands between the borders}"""
    found = BLOCK.findall(text)
    names = [name for name, _ in found]
    if len(BORDER.findall(text)) != 2 * len(found):
        raise BrokenDocument("a block of findings has only one of its borders")
    for name in names:
        if names.count(name) > 1:
            raise BrokenDocument(f"the block '{name}' stands there twice")
    return dict(found)


def fill(text, contents):
    """`contents`: {name: (source, body)}; every block must be among them, and each of them in the document."""
    there = blocks(text)
    for name in there:
        if name not in contents:
            raise BrokenDocument(f"nothing writes the block '{name}'; there are {', '.join(contents)}")
    for name in contents:
        if name not in there:
            raise BrokenDocument(f"there is no block '{name}'")

    def written(match):
        source, body = contents[match[1]]
        body = f"\n{body.strip()}\n\n"
        mark = f"<!-- Written by `make findings` from {source}; not by hand. Digest {digest(body)} -->\n"
        return f"<!-- findings: {match[1]} -->\n{mark}{body}<!-- /findings -->"

    return BLOCK.sub(written, text)


def problems(text):
    """One line for each block that nobody has filled, or whose words are not the program's."""
    try:
        there = blocks(text)
    except BrokenDocument as broken:
        return [str(broken)]
    found = []
    for name, body in there.items():
        mark = MARK.match(body)
        if not mark:
            found.append(f"the block '{name}' bears no mark of make findings")
        elif digest(body[mark.end():]) != mark[2]:
            found.append(f"the block '{name}' was changed by hand; change what writes it and run make findings")
    return found

"""The blocks of documents that a program writes: where they are, filling them, whether they still are what it wrote, and tables for them.

    <!-- findings: NAME -->
    <!-- Written by `make findings` from …; not by hand. -->
    …
    <!-- /findings -->
"""
import re

BLOCK = re.compile(r"^<!-- findings: ([\w-]+) -->\n(.*?)^<!-- /findings -->$", re.S | re.M)
BORDER = re.compile(r"^<!-- /?findings\b.*$", re.M)


class BrokenDocument(Exception):
    """What is wrong with the document, in one line."""


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
    """`contents`: {name: (source, body)}; every block must be among them."""
    for name in blocks(text):
        if name not in contents:
            raise BrokenDocument(f"nothing writes the block '{name}'; there are {', '.join(contents)}")

    def written(match):
        source, body = contents[match[1]]
        mark = f"<!-- Written by `make findings` from {source}; not by hand. -->"
        return f"<!-- findings: {match[1]} -->\n{mark}\n\n{body.strip()}\n\n<!-- /findings -->"

    return BLOCK.sub(written, text)


def nowhere(texts, contents):
    """The contents that none of the documents has a block for."""
    return sorted(set(contents) - {name for text in texts for name in blocks(text)})


def problems(text, contents):
    """One line for each block that is not what fill() makes of it."""
    try:
        there, wanted = blocks(text), blocks(fill(text, contents))
    except BrokenDocument as broken:
        return [str(broken)]
    return [f"the block '{name}' is not what its record says; change the record by measuring, and run make findings"
            for name in there if there[name] != wanted[name]]


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)

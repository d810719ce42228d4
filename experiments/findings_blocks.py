"""The blocks of documents that a program writes: finds and fills them, checks whether they are still as written, and
formats tables for them.

    <!-- findings: NAME -->
    <!-- Written by `make findings` from …; not by hand. -->
    …
    <!-- /findings -->
"""
import re
import textwrap

COLUMNS = 100
BLOCK = re.compile(r"^<!-- findings: ([\w-]+) -->\n(.*?)^<!-- /findings -->$", re.S | re.M)
BORDER = re.compile(r"^<!-- /?findings\b.*$", re.M)


class BrokenDocument(Exception):
    """An error in a document. Its message is one line."""


def blocks(text):
    """{name: the text between the borders}"""
    found = BLOCK.findall(text)
    names = [name for name, _ in found]
    if len(BORDER.findall(text)) != 2 * len(found):
        raise BrokenDocument("a block of findings has only one of its borders")
    for name in names:
        if names.count(name) > 1:
            raise BrokenDocument(f"the block '{name}' stands there twice")
    return dict(found)


def wrapped(body):
    """Wraps the prose of a body. Tables and fenced code stay as they are."""
    lines, is_code = [], False
    for line in body.strip().split("\n"):
        is_code ^= line.startswith("```")
        indent = "  " if line.startswith("- ") else ""
        if is_code or line.startswith(("|", "```")) or len(line) <= COLUMNS:
            lines.append(line)
        else:
            lines += textwrap.wrap(line, COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def fill(text, contents):
    """Fills the blocks from `contents`, {name: (source, body)}, which must have every block."""
    for name in blocks(text):
        if name not in contents:
            raise BrokenDocument(f"nothing writes the block '{name}'; there are {', '.join(contents)}")

    def written(match):
        source, body = contents[match[1]]
        mark = f"<!-- Written by `make findings` from {source}; not by hand. -->"
        return f"<!-- findings: {match[1]} -->\n{mark}\n\n{wrapped(body)}\n\n<!-- /findings -->"

    return BLOCK.sub(written, text)


def nowhere(texts, contents):
    """The names of the contents for which no document has a block."""
    return sorted(set(contents) - {name for text in texts for name in blocks(text)})


def problems(text, contents):
    """One line for each block that differs from what fill() writes."""
    try:
        there, wanted = blocks(text), blocks(fill(text, contents))
    except BrokenDocument as broken:
        return [str(broken)]
    return [f"the block '{name}' is not what its record says; change the record by measuring, and run make findings"
            for name in there if there[name] != wanted[name]]


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)

"""Finds what a name in a text stands for, and whether it exists."""

import functools
import re

import tree


def defines(path, name, text):
    """Whether the file defines (a header: declares) the name."""
    if path.suffix == ".c":
        return any(function[0] == name for function in tree.c_functions(text)) or re.search(
            rf"^(?:[\w\s*]*\bstruct|enum)\s+{name}\s*\{{|^const [\w\s*]*\b{name}\b.*=|^#\s*define\s+{name}\b",
            text, re.M)
    if path.suffix == ".h":
        return re.search(rf"\b{name}\b", tree.without_comments(text))
    return re.search(rf"^\s*(?:def |class )?{name}\b", text, re.M)


@functools.cache
def all_files(root, suffix):
    """Cached, since a text may name a hundred files."""
    return tree.files(root, suffix)


def candidates(root, document, name):
    """The files that a name may stand for: a path from the root or from the document, or else the end of a path."""
    direct = [path for path in (root / name, (root / document).parent / name) if path.exists()]
    suffix = "." + name.rpartition(".")[2]
    return direct or [root / path for path in all_files(root, suffix) if f"/{path}".endswith(f"/{name}")]

"""What the checks share: which files there are, C text without its comments, and how a check reports."""

import argparse
import os
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".pytest_cache"}


def parse_root(description):
    """The tree to look at: this repository, or what a self-test made."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=Path, default=REPOSITORY)
    return parser.parse_args().root.resolve()


def files(root, *suffixes, under=()):
    """The files below root with one of the suffixes, as sorted relative paths."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in sorted(names):
            path = (Path(folder) / name).relative_to(root)
            if path.suffix in suffixes and (not under or path.parts[0] in under):
                found.append(path)
    return found


def scripts(root):
    """The shell scripts: by suffix, or by the first line of a file without one."""
    found = files(root, ".sh")
    for path in files(root, ""):
        with open(root / path, "rb") as file:
            if re.match(rb"#!.*\b(bash|sh)\b", file.readline()):
                found.append(path)
    return sorted(found)


def without_comments(text):
    """C text with comments blanked out, its lines where they were; string literals stay."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        return re.sub(r"[^\n]", " ", match[0]) if match[0].startswith("/") else match[0]

    return token.sub(blank, text)


def c_functions(text):
    """(name, first line, last line) of every function, lines counted from 1. Rests on the layout that
    clang-format gives: a function's braces stand alone in column 0, nothing else's do."""
    lines = without_comments(text).split("\n")
    for at, line in enumerate(lines):
        if line.rstrip() != "{":
            continue
        first = at
        while first > 0 and lines[first - 1].strip() and lines[first - 1][0] not in "}#":
            first -= 1
        head = re.sub(r"__attribute__\s*\(\(.*?\)\)\s", " ", " ".join(lines[first:at]))
        name = re.search(r"([A-Za-z_]\w*)\s*\(", head)
        last = next(end for end in range(at, len(lines)) if lines[end].rstrip() == "}")
        yield name[1] if name else "?", first + 1, last + 1


def finish(problems):
    """Prints the problems, one a line, and ends with status 1 if there are any."""
    problems = list(problems)
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)

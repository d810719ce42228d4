"""Shared by the checks: the lists of files, C text without its comments, and the report of a check."""

import argparse
import io
import os
import re
import sys
import tokenize
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".pytest_cache"}
LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s")


def parse_root(description):
    """The tree to check: this repository, or one that a self-test made."""
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


def interpreted(root, suffix, interpreter):
    """The files with the suffix, and those without a suffix whose first line names the interpreter."""
    found = files(root, suffix)
    for path in files(root, ""):
        with open(root / path, "rb") as file:
            if re.match(rb"#!.*\b(" + interpreter + rb")\b", file.readline()):
                found.append(path)
    return sorted(found)


def scripts(root):
    """The shell scripts."""
    return interpreted(root, ".sh", b"bash|sh")


def python(root):
    """The Python files."""
    return interpreted(root, ".py", b"python3?")


def without_comments(text):
    """C text with comments blanked out. Line numbers and string literals stay the same."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        return re.sub(r"[^\n]", " ", match[0]) if match[0].startswith("/") else match[0]

    return token.sub(blank, text)


def c_comments(text):
    """C text with all but its comments blanked out."""
    code = without_comments(text)
    return "".join(" " if letter == other and letter != "\n" else letter for letter, other in zip(text, code))


def python_comments(text):
    """Python text with all but its comments and doc strings blanked out."""
    kept = [""] * (text.count("\n") + 1)
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        alone = before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        if token.type == tokenize.COMMENT or token.type == tokenize.STRING and alone:
            for row, line in enumerate(token.string.split("\n"), token.start[0] - 1):
                kept[row] = " " * (token.start[1] if row == token.start[0] - 1 else 0) + line
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            before = token.type
    return "\n".join(kept)


def marked_comments(mark):
    """A function that blanks out all but the comments that begin with a mark and go to the end of their line."""
    comment = re.compile(rf"(?:^|(?<=\s)){mark}.*")

    def of(text):
        found = [(line, comment.search(line)) for line in text.split("\n")]
        return "\n".join(" " * match.start() + match[0] if match else "" for line, match in found)

    return of


def comments(root):
    """(path, its text with all but comments and doc strings blanked out) of every file that has comments."""
    kinds = [(files(root, ".c", ".h"), c_comments), (python(root), python_comments),
             (scripts(root), marked_comments("#")), (files(root, ".sql"), marked_comments("--"))]
    named = [path for path in files(root, "", ".Dockerfile") if path.name in ("Makefile", "Dockerfile") or path.suffix]
    kinds.append((files(root, ".mk", ".yml", ".yaml") + named, marked_comments("#")))
    return [(path, of((root / path).read_text())) for paths, of in kinds for path in paths]


def markdown_prose(text):
    """(number, line) of each line that is not code. Code is fenced, or indented after a blank line outside a list."""
    fence, in_list, code, blank = None, False, False, True
    for number, line in enumerate(text.split("\n"), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if fence or mark:
            fence = None if fence and mark and mark[1].startswith(fence) else fence or mark[1]
            blank = False
            continue
        indented = line.startswith("    ")
        code = bool(line.strip()) and indented and not in_list and (blank or code) or code and not line.strip()
        if LIST_ITEM.match(line) and not code:
            in_list = True
        elif blank and line.strip() and not line.startswith(" "):
            in_list = False
        blank = not line.strip()
        if not code:
            yield number, line


def c_functions(text):
    """(name, first line, last line) of every function, lines counted from 1. Relies on the layout of clang-format: only
    the braces of functions are alone in their line, in column 0."""
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

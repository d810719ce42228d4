"""Reads a YAML file as tables, lists and texts that know their lines, so that a refusal can name one. Every scalar is a
text, as with PyYAML's BaseLoader: no "no" is a truth value."""
import yaml


class BrokenFile(Exception):
    """An error in a file. The message is one line that begins with "NAME:LINE: "."""


class Text(str):
    line: int  # from 1


class List(list):
    line: int


class Table(dict):
    line: int
    lines: dict  # the line of each key


def with_line(value, node):
    value.line = node.start_mark.line + 1
    return value


class Reader:
    def __init__(self, name):
        self.name = name

    def refuse(self, line, what):
        raise BrokenFile(f"{self.name}:{line}: {what}")

    def read(self, data):
        """The file's one document, from its bytes."""
        try:
            for event in yaml.parse(data, Loader=yaml.BaseLoader):
                if isinstance(event, yaml.AliasEvent):
                    self.refuse(event.start_mark.line + 1, f"*{event.anchor}: write it out, there are no aliases here")
            node = yaml.compose(data, Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            parts = [getattr(error, name, None) for name in ("context", "problem", "reason")]
            words = ", ".join(part for part in parts if part) or str(error)
            self.refuse(mark.line + 1 if mark else 1, " ".join(words.split()))
        if not isinstance(node, yaml.MappingNode):
            self.refuse(1, "the file must be a table")
        return self.convert(node)

    def convert(self, node):
        if isinstance(node, yaml.ScalarNode):
            return with_line(Text(node.value), node)
        if isinstance(node, yaml.SequenceNode):
            return with_line(List(self.convert(value) for value in node.value), node)
        table = with_line(Table(), node)
        table.lines = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.refuse(line, "a key must be a text")
            if key.value in table:
                self.refuse(line, f"{key.value} is there twice, also in line {table.lines[key.value]}")
            table[key.value] = self.convert(value)
            table.lines[key.value] = line
        return table


def read(path):
    """The file's table. Raises BrokenFile."""
    return Reader(path.name).read(path.read_bytes())

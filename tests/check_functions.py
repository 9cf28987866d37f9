#!/usr/bin/env python3
"""Finds functions of more than 60 lines, and signatures of more than 6 parameters outside kernels/.

    python3 tests/check_functions.py FILE...

A function's lines are counted from the first line of its declaration to its closing brace. Nothing is compiled: the
program reads tokens, follows the braces of namespaces and classes, and takes as a function what stands there with
parentheses in front of its brace or semicolon. A kernel's launch wants its arguments one by one, so kernels/, the tests
of kernels and what stands in for NCCL and MPI may have longer signatures. Prints one line for each finding; exit status 1 if there is any.
"""
import re
import sys

MAX_LINES = 60
MAX_PARAMETERS = 6
LONG_SIGNATURES = ("kernels/", "tests/kernels/", "tests/simt/", "tests/gpu/", "tests/comm/fake_gpu/",
                   "tests/support/mpi_checker.cpp")

TOKEN = re.compile(
    r"""(?P<skip>//(?:\\\n|[^\n])*|/\*.*?\*/|\s+)
      | (?P<preprocessor>(?<![^\n])[ \t]*\#(?:\\\n|/\*.*?\*/|[^\n])*)
      | (?P<string>(?:u8|u|U|L)?R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"|(?:u8|u|U|L)?"(?:\\.|[^"\\\n])*")
      | (?P<number>\.?[0-9](?:[eEpP][+-]|'?[\w.])*)
      | (?P<character>(?:u8|u|U|L)?'(?:\\.|[^'\\\n])+')
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>->|::|&&|\[\[|\]\]|.)""",
    re.VERBOSE | re.DOTALL)

# What has parentheses without being a function's name.
WITH_PARENTHESES = {"alignas", "decltype", "noexcept", "__launch_bounds__", "__attribute__", "explicit", "requires"}
OPENING = {"(": ")", "[": "]", "{": "}", "<": ">", "[[": "]]"}


def tokens_of(text):
    """The (token, line) pairs of a file without its comments and preprocessor lines."""
    found = []
    line = 1
    # A preprocessor line is recognized by the line start in front of it: blanks must not swallow that.
    text = re.sub(r"(?m)^[ \t]+(?=#)", "", text)
    for match in TOKEN.finditer(text):
        kind = match.lastgroup if match.lastgroup != "mark" else "string"
        token = match.group()
        if kind == "string":
            found.append(('""', line))
        elif kind not in ("skip", "preprocessor"):
            found.append((token, line))
        line += token.count("\n")
    return found


def end_of_group(tokens, start):
    """The position of the bracket that closes the one at start; angle brackets close at what cannot stand in them."""
    closing = [OPENING[tokens[start][0]]]
    at = start + 1
    while at < len(tokens):
        token = tokens[at][0]
        if token in "([{" or token == "[[":
            closing.append(OPENING[token])
        elif token == "<" and closing[-1] == ">":
            closing.append(">")
        elif token == closing[-1]:
            closing.pop()
            if not closing:
                return at
        elif token == "]]" and closing[-1] == "]":  # array[index[0]]
            closing.pop()
            if closing and closing[-1] == "]":
                closing.pop()
            if not closing:
                return at
        elif closing[-1] == ">" and token in (";", ")", "}"):
            return None
        at += 1
    return None


def parameters_in(tokens, start, end):
    """How many parameters stand between the parentheses at start and end."""
    inside = [token for token, _ in tokens[start + 1:end]]
    if not inside or inside == ["void"]:
        return 0
    count = 1
    at = start + 1
    while at < end:
        token = tokens[at][0]
        if token == ",":
            count += 1
        if token in OPENING:
            closed = end_of_group(tokens, at)
            if closed is not None and closed < end:
                at = closed
        at += 1
    return count


class Declaration:
    """What is read of one declaration up to its brace or semicolon."""

    def __init__(self, line):
        self.line = line
        self.words = []  # at the outermost level
        self.name = ""
        self.parameters = None
        self.initialized = False  # = value
        self.members = False  # the list of members in front of a constructor's body

    def is_scope(self):
        return self.parameters is None and not self.initialized and (
            "namespace" in self.words or self.words[:1] == ["extern"] and self.words[-1] == '""'
            or any(word in ("class", "struct", "union") for word in self.words) and "enum" not in self.words)


def read_declaration(tokens, at):
    """Reads one declaration; returns it, the token that ends it ('{' of a body or scope, ';', '}') and its position."""
    found = Declaration(tokens[at][1])
    while at < len(tokens):
        token = tokens[at][0]
        before = found.words[-1] if found.words else ""
        if token in ";}":
            return found, token, at
        if token == "{":
            member = found.members and (re.match(r"\w", before) or before == ">")
            body = found.parameters is not None and not found.initialized and not member
            if body or found.is_scope():
                return found, token, at
            at = end_of_group(tokens, at) or len(tokens)
            found.words.append("}")
        elif token in ("(", "[", "[["):
            end = end_of_group(tokens, at) or len(tokens)
            is_call_operator = before == "operator"
            if (token == "(" and found.parameters is None and not found.initialized and not is_call_operator
                    and before not in WITH_PARENTHESES):
                found.name = before
                found.parameters = parameters_in(tokens, at, end)
            found.words.append("operator()" if is_call_operator else OPENING[token])
            at = end
        elif token == "<" and before != "operator":
            end = end_of_group(tokens, at)
            found.words.append(">" if end else "<")
            at = end or at
        else:
            if token == "=" and "operator" not in found.words[-3:]:
                found.initialized = True
            if token == ":" and found.parameters is not None:
                found.members = True
            if token == ":" and found.words in (["public"], ["private"], ["protected"]):
                found = Declaration(tokens[min(at + 1, len(tokens) - 1)][1])
            else:
                found.words.append(token)
        at += 1
    return found, "", at


def findings_in(path):
    with open(path, encoding="utf-8") as file:
        tokens = tokens_of(file.read())
    findings = []
    depth = 0
    at = 0
    while at < len(tokens):
        found, end, at = read_declaration(tokens, at)
        is_function = (found.parameters is not None and not found.initialized
                       and not {"using", "typedef", "static_assert"} & set(found.words))
        if is_function and found.parameters > MAX_PARAMETERS and not path.startswith(LONG_SIGNATURES):
            findings.append(f"{path}:{found.line}: {found.name} has {found.parameters} parameters "
                            f"(limit {MAX_PARAMETERS})")
        if end == "{" and not found.is_scope():
            at = end_of_group(tokens, at)
            if at is None:
                return findings + [f"{path}:{found.line}: the braces of {found.name} do not match"]
            lines = tokens[at][1] - found.line + 1
            if lines > MAX_LINES:
                findings.append(f"{path}:{found.line}: {found.name} has {lines} lines (limit {MAX_LINES})")
        elif end == "{":
            depth += 1
        elif end == "}":
            depth -= 1
        at += 1
    if depth != 0:
        findings.append(f"{path}: its braces do not match")
    return findings


def main():
    findings = [finding for path in sys.argv[1:] for finding in findings_in(path)]
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

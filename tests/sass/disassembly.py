"""Reads disassembly of NVIDIA GPUs' machine code, as nvdisasm and cuobjdump -sass print it."""

import re
import struct

INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
LABEL = re.compile(r"^(\.L_x?_?\w+):")
FUNCTION = re.compile(r"^\s*(?:\.text\.(\S+):|Function : (\S+))\s*$")
TARGET = re.compile(r"`\((\.L\w+)\)|\b0x([0-9a-f]+)\s*$")


class Instruction:
    """One instruction: its address, guard, operation with its modifiers, and operands."""

    def __init__(self, address, text):
        self.address = address
        self.text = text
        words = text.split(None, 1)
        self.guard = ""
        if words and words[0].startswith("@"):
            self.guard = words[0]
            words = words[1].split(None, 1) if len(words) > 1 else [""]
        self.operation = words[0] if words else ""
        self.operands = words[1] if len(words) > 1 else ""

    @property
    def name(self):
        return self.operation.split(".")[0]

    @property
    def modifiers(self):
        return self.operation.split(".")[1:]


class Function:
    """The instructions of a kernel, and where its labels stand."""

    def __init__(self, name):
        self.name = name
        self.instructions = []
        self.labels = {}

    def loops(self):
        """Innermost loops, each the list of its instructions from the target of a backward branch to the branch."""
        ends = {}  # of several branches back to one place, the last closes the loop
        for instruction in self.instructions:
            target = self._target(instruction)
            if target is not None and target < instruction.address:
                ends[target] = instruction.address
        spans = set(ends.items())
        inner = [s for s in spans if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
        return [[i for i in self.instructions if first <= i.address <= last] for first, last in sorted(inner)]

    def _target(self, instruction):
        if instruction.name not in ("BRA", "JMP", "BRX"):
            return None
        found = TARGET.search(instruction.operands)
        if not found:
            return None
        return self.labels.get(found.group(1)) if found.group(1) else int(found.group(2), 16)


def read(text):
    """Functions by their mangled names."""
    functions, current, pending = {}, None, []
    for line in text.splitlines():
        function = FUNCTION.match(line)
        if function:
            name = function.group(1) or function.group(2)
            current = functions.setdefault(name, Function(name))
            continue
        if current is None:
            continue
        label = LABEL.match(line)
        if label:
            pending.append(label.group(1))
            continue
        found = INSTRUCTION.match(line)
        if found:
            address = int(found.group(1), 16)
            current.labels.update((name, address) for name in pending)
            pending = []
            current.instructions.append(Instruction(address, found.group(2)))
    return functions


def registers(cubin):
    """Registers of a thread by the mangled names of the kernels, as the ELF file's attributes have them."""
    if cubin[:4] != b"\x7fELF":
        raise ValueError("no ELF file")
    offset, = struct.unpack_from("<Q", cubin, 40)
    size, count, names_at = struct.unpack_from("<HHH", cubin, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, offset + size * n) for n in range(count)]

    def text(section, at):
        start = headers[section][4] + at
        return cubin[start:cubin.index(b"\0", start)].decode()

    def section(name):
        return next(h for h in headers if text(names_at, h[0]) == name)

    symbols = section(".symtab")
    found = {}
    register_count = b"\x04\x2f\x08\x00"  # form: a value; attribute 47; 8 bytes: symbol, registers
    attributes = section(".nv.info")
    at, end = attributes[4], attributes[4] + attributes[5]
    while at < end:
        form, length = cubin[at], struct.unpack_from("<H", cubin, at + 2)[0]
        if cubin[at:at + 4] == register_count:
            symbol, number = struct.unpack_from("<II", cubin, at + 4)
            found[text(symbols[6], struct.unpack_from("<I", cubin, symbols[4] + 24 * symbol)[0])] = number
        at += 4 + (length if form == 4 else 0)
    return found


def mangled(kernel):
    """What the mangled name of a kernel holds, as `MatVec<bf16, 1>`."""
    name, _, arguments = kernel.partition("<")
    out = f"{len(name)}{name}"
    if not arguments:
        return out + "E"
    out += "I"
    for argument in arguments.rstrip(">").split(","):
        argument = argument.strip()
        plain = {"float": "f", "std::int8_t": "a", "bf16": "NS_4bf16E", "f16": "NS_3f16E"}
        if argument in plain:
            out += plain[argument]
        elif argument in ("true", "false"):
            out += f"Lb{int(argument == 'true')}E"
        elif argument.isdigit():
            out += f"Li{argument}E"
        else:
            out += f"NS1_{len(argument)}{argument}E"
    return out + "E"

"""How deep the stack of an image can get: what the compiler says of each function, along the worst chain of calls.

Frames come from -fstack-usage, calls from the linked image's code as objdump lists it. The compiler's own library has
no entry there and is written by hand: its routines share code and fall into one another, so what such a routine pushes
and calls is gathered along its flow. One interrupt comes on top: none of ours lets another one in. The bound holds
where there is neither recursion nor a call through a pointer, and both are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from esmaml_robot.errors import ExportError

_FUNCTION = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
#: address, opcode in hexadecimal, mnemonic, operands and objdump's comment
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t[0-9a-f ]+\t([\w.]+)\s*(.*)$")
_TARGET = re.compile(r"\b(?:0x)?([0-9a-f]+) <[^>]+>")
_CALLS = {"call", "rcall", "bl", "blx"}
_JUMPS = {"jmp", "rjmp", "b", "b.n", "b.w"}
_BRANCHES = re.compile(r"^(cbz|cbnz|b\w\w|br\w\w)(\.[nw])?$")
_CALLS_BY_POINTER = {"icall", "eicall"}
_ENDS = {"ret", "reti", "ijmp", "eijmp", "bx", *_JUMPS}
_ROOTS = ("reset", "main")


@dataclass(frozen=True)
class StackBound:
    """bytes: an upper bound; None where there is none, and why. chain: the functions of the worst case, outermost
    first; the interrupt that comes on top is the last, as "interrupt NAME".
    """

    bytes: int | None
    chain: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True)
class _Instruction:
    mnemonic: str
    operands: str
    target: int | None
    following: int | None


@dataclass
class _Routine:
    """What begins at an address: its name, its frame in bytes, and the addresses that it calls or goes on to."""

    name: str
    frame: int = 0
    calls: set[int] = field(default_factory=set)
    by_pointer: bool = False


def read_stack_usage(folder: Path) -> dict[str, int]:
    """Bytes of stack by function, out of the .su files in a folder; of two functions with a name, the larger one.

    Raises ExportError where a function's frame has no bound.
    """
    usage: dict[str, int] = {}
    for path in sorted(folder.glob("*.su")):
        for line in path.read_text(encoding="utf-8").splitlines():
            place, size, kind = line.rsplit("\t", 2)
            name = place.rsplit(":", 1)[1]
            if kind == "dynamic":
                raise ExportError(f"{place}: its frame on the stack has no bound; no variable-length arrays here.")
            usage[name] = max(usage.get(name, 0), int(size))
    return usage


def _registers(part: str) -> int:
    """How many registers `r4` or `r4-r7` is."""
    numbers = [int(n) for n in re.findall(r"\d+", part)]
    return numbers[1] - numbers[0] + 1 if len(numbers) == 2 else 1


def _pushed(mnemonic: str, operands: str) -> int:
    """Bytes that an instruction puts on the stack."""
    if mnemonic == "push" and "{" not in operands:
        return 1
    if "{" in operands and (mnemonic in ("push", "vpush") or ("sp!" in operands and mnemonic.startswith("stmdb"))):
        inside = operands[operands.index("{") + 1 : operands.index("}")]
        width = 8 if mnemonic == "vpush" and inside.startswith("d") else 4
        return width * sum(map(_registers, inside.split(",")))
    lowered = re.match(r"sp,\s*(?:sp,\s*)?#(\d+)", operands) if mnemonic.startswith("sub") else None
    if lowered is None and mnemonic.startswith("str"):
        lowered = re.search(r"\[sp, #-(\d+)\]!", operands)
    return int(lowered.group(1)) if lowered else 0


class _Code:
    """The code of an image, out of what `objdump -d` prints."""

    def __init__(self, disassembly: str, usage: Mapping[str, int], return_bytes: int) -> None:
        self.names: dict[int, str] = {}
        self._usage, self._return_bytes = usage, return_bytes
        self._instructions: dict[int, _Instruction] = {}
        self._bodies: dict[int, list[int]] = {}
        found: list[tuple[int, str, str]] = []
        start = -1
        for line in disassembly.splitlines():
            if heading := _FUNCTION.match(line):
                start = int(heading.group(1), 16)
                self.names[start], self._bodies[start] = heading.group(2), []
            elif start >= 0 and (code := _INSTRUCTION.match(line)):
                found.append((int(code.group(1), 16), code.group(2), code.group(3)))
                self._bodies[start].append(found[-1][0])
        followers = [at for at, _, _ in found[1:]]
        for (at, mnemonic, operands), following in zip(found, [*followers, None], strict=True):
            target = _TARGET.search(operands)
            self._instructions[at] = _Instruction(
                mnemonic, operands, int(target.group(1), 16) if target else None, following
            )

    def compiled(self, at: int) -> int | None:
        """The compiler's figure for the function that begins here; None where it is none of its."""
        name = self.names.get(at, "")
        return self._usage.get(name, self._usage.get(name.split(".")[0]))

    def routine(self, at: int) -> _Routine:
        """What begins at an address that is called."""
        known = self.compiled(at)
        if known is None:
            return self._along_the_flow(at)
        body = set(self._bodies[at])  # all of it: a switch may jump by a table
        # what assembler inside of C pushes is not in the compiler's figure; what the compiler pushes is in both
        pushed = sum(
            self._instructions[p].mnemonic == "push" and "{" not in self._instructions[p].operands for p in body
        )
        routine = _Routine(self.names[at], max(known, self._return_bytes + pushed if pushed else 0))
        for place in body:
            self._note(routine, self._instructions[place], body)
        return routine

    def _note(self, routine: _Routine, code: _Instruction, body: set[int]) -> None:
        if code.mnemonic in _CALLS_BY_POINTER or (code.mnemonic == "blx" and code.target is None):
            routine.by_pointer = True
        elif code.target is not None and code.mnemonic in _CALLS:
            if not self._makes_room(code):
                routine.calls.add(code.target)
        elif code.target is not None and code.target not in body and self._goes_on(code):
            routine.calls.add(code.target)

    def _makes_room(self, code: _Instruction) -> bool:
        """A call to the next instruction: it leaves a return address on the stack, AVR's shortest way to lower it."""
        return code.mnemonic in _CALLS and code.target == code.following and code.target not in self.names

    @staticmethod
    def _goes_on(code: _Instruction) -> bool:
        return code.mnemonic in _JUMPS or bool(_BRANCHES.match(code.mnemonic))

    def _along_the_flow(self, start: int) -> _Routine:
        """A routine of the compiler's library: what can be reached from its start without a call."""
        routine = _Routine(self.names.get(start, f"code at {start:#x}"), self._return_bytes)
        seen: set[int] = set()
        waiting = [start]
        while waiting:
            at: int | None = waiting.pop()
            while at is not None and at not in seen and at in self._instructions:
                if at != start and self.compiled(at) is not None:
                    routine.calls.add(at)
                    break
                seen.add(at)
                code = self._instructions[at]
                if code.target is not None and self._goes_on(code):
                    waiting.append(code.target)
                elif self._makes_room(code):
                    routine.frame += self._return_bytes
                else:
                    self._note(routine, code, seen)
                    routine.frame += _pushed(code.mnemonic, code.operands)
                ends = code.mnemonic in _ENDS or (code.mnemonic.startswith(("pop", "ldm")) and "pc}" in code.operands)
                at = None if ends else code.following
        return routine


def _walk(start: int, code: _Code, done: dict[int, tuple[int, tuple[str, ...]]]) -> None:
    """Fill `done` with depth and chain of a routine and of all that it calls. Raises ExportError at recursion."""
    routines = {start: code.routine(start)}
    path = [start]
    while path:  # a loop, for a chain of calls may be longer than Python's own stack likes
        at = path[-1]
        routine = routines[at]
        if routine.by_pointer:
            raise ExportError(f"{routine.name} calls through a pointer")
        waiting = sorted(routine.calls - done.keys())
        if waiting:
            if waiting[0] in path:
                raise ExportError(f"{routines[waiting[0]].name} calls itself, by way of {routine.name}")
            routines[waiting[0]] = code.routine(waiting[0])
            path.append(waiting[0])
            continue
        below = max((done[callee] for callee in routine.calls), default=(0, ()))
        done[at] = (routine.frame + below[0], (routine.name, *below[1]))
        path.pop()


def bound_function(disassembly: str, usage: Mapping[str, int], return_bytes: int, name: str) -> StackBound:
    """The worst case of the stack below a call of one function, without interrupts; arguments as `bound_stack`."""
    code = _Code(disassembly, usage, return_bytes)
    start = next((at for at, found in code.names.items() if found == name), None)
    if start is None:
        return StackBound(None, (), f"the image has no {name}")
    done: dict[int, tuple[int, tuple[str, ...]]] = {}
    try:
        _walk(start, code, done)
    except ExportError as problem:
        return StackBound(None, (), str(problem))
    return StackBound(*done[start])


def bound_stack(disassembly: str, usage: Mapping[str, int], return_bytes: int, interrupt_bytes: int) -> StackBound:
    """The worst case of an image's stack.

    Args:
        disassembly: of `objdump -d`.
        usage: bytes by function, as `read_stack_usage`.
        return_bytes: what a call itself puts on the stack, for routines that `usage` does not know.
        interrupt_bytes: what the processor puts there for an interrupt, beyond the handler's own.
    """
    code = _Code(disassembly, usage, return_bytes)
    root = next((at for name in _ROOTS for at, found in code.names.items() if found == name), None)
    if root is None:
        return StackBound(None, (), f"the image has none of: {', '.join(_ROOTS)}")
    done: dict[int, tuple[int, tuple[str, ...]]] = {}
    try:
        _walk(root, code, done)
        depth, chain = done[root]
        # what the compiler made, is in the image and is not called from there, is called by the processor
        handlers = [at for at in code.names if at not in done and code.compiled(at) is not None]
        for handler in handlers:
            _walk(handler, code, done)
    except ExportError as problem:
        return StackBound(None, (), str(problem))
    if not handlers:
        return StackBound(depth, chain)
    worst = max(handlers, key=lambda at: done[at][0])
    return StackBound(depth + done[worst][0] + interrupt_bytes, (*chain, f"interrupt {code.names[worst]}"))

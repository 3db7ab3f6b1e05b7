"""The stack bound against chains of calls that were added up by hand, and against what has no bound."""

import pytest

from esmaml_robot.errors import ExportError
from firmware_export.stack import bound_function, bound_stack, read_stack_usage

#: main calls `one` twice and jumps to `two`; `one` calls the library, whose routine pushes two bytes, makes room by a
#: call to the next instruction, and falls into the next routine, which calls `deep`; an interrupt stands by itself.
AVR = """
00000080 <main>:
  80:\t0e 94 50 00 \tcall\t0xa0\t; 0xa0 <one>
  84:\t0e 94 50 00 \tcall\t0xa0\t; 0xa0 <one>
  88:\t0c 94 60 00 \tjmp\t0xc0\t; 0xc0 <two>

000000a0 <one>:
  a0:\t0e 94 70 00 \tcall\t0xe0\t; 0xe0 <__library>
  a4:\t08 95       \tret

000000c0 <two>:
  c0:\t08 95       \tret

000000e0 <__library>:
  e0:\t0f 93       \tpush\tr16
  e2:\t1f 93       \tpush\tr17
  e4:\t00 d0       \trcall\t.+0      \t; 0xe6 <__library+0x6>
  e6:\t11 f0       \tbreq\t.+4      \t; 0xec <__shared>

000000ec <__shared>:
  ec:\t01 d0       \trcall\t.+2      \t; 0xf0 <deep>
  ee:\t08 95       \tret

000000f0 <deep>:
  f0:\t08 95       \tret

00000100 <__vector_9>:
 100:\t18 95       \treti
"""
USAGE = {"main": 10, "one": 20, "two": 41, "__vector_9": 7}


def test_the_worst_chain_is_added_up():
    bound = bound_stack(AVR, USAGE, return_bytes=2, interrupt_bytes=5)
    # library: its return address, two pushes, two bytes of room; deep: a return address
    assert bound.bytes == 10 + max(41, 20 + (2 + 2 + 2) + 2) + 7 + 5
    assert bound.chain == ("main", "two", "interrupt __vector_9")
    bound = bound_stack(AVR, {**USAGE, "two": 1}, return_bytes=3, interrupt_bytes=0)
    assert bound.bytes == 10 + 20 + (3 + 2 + 3) + 3 + 7
    assert bound.chain == ("main", "one", "__library", "deep", "interrupt __vector_9")


def test_one_function_by_itself_and_what_it_pushes_in_assembler():
    bound = bound_function(AVR, USAGE, 2, "one")
    assert (bound.bytes, bound.chain) == (20 + (2 + 2 + 2) + 2, ("one", "__library", "deep"))
    # the compiler knows nothing of two pushes in assembler inside of C: it says 2 for the return address
    naked = bound_function(AVR, USAGE | {"__library": 2, "deep": 2}, 2, "__library")
    assert naked.bytes == (2 + 2) + 2 + 2  # and the return addresses of what it falls into, and of what that calls
    assert bound_function(AVR, USAGE, 2, "nothing").why == "the image has no nothing"


@pytest.mark.parametrize(
    ("changed", "to", "why"),
    [
        ("call\t0xe0\t; 0xe0 <__library>", "call\t0x80\t; 0x80 <main>", "main calls itself, by way of one"),
        ("call\t0xe0\t; 0xe0 <__library>", "icall", "one calls through a pointer"),
        ("<main>", "<start>", "the image has none of: reset, main"),
    ],
)
def test_what_has_no_bound_gets_none(changed, to, why):
    bound = bound_stack(AVR.replace(changed, to), USAGE, 2, 0)
    assert (bound.bytes, bound.chain, bound.why) == (None, (), why)


def test_registers_pushed_by_a_library_on_arm():
    code = """
00000000 <reset>:
   0:\tf000 f801 \tbl\t6 <memcpy>

00000006 <memcpy>:
   6:\te92d 41f0 \tstmdb\tsp!, {r4, r5, r6, r7, r8, lr}
   a:\ted2d 8b04 \tvpush\t{d8-d9}
   e:\tb5f0      \tpush\t{r4-r7, lr}
  10:\tb084      \tsub\tsp, #16
  12:\tbdf0      \tpop\t{r4, r5, r6, r7, pc}
"""
    assert bound_stack(code, {"reset": 8}, 0, 0).bytes == 8 + 24 + 16 + 20 + 16


def test_the_compilers_report(tmp_path):
    (tmp_path / "a.su").write_text("a.c:3:5:run\t12\tstatic\na.c:9:1:walk\t8\tdynamic,bounded\n")
    (tmp_path / "b.su").write_text("b.c:3:5:run\t30\tstatic\n")
    assert read_stack_usage(tmp_path) == {"run": 30, "walk": 8}
    (tmp_path / "c.su").write_text("c.c:3:5:grow\t12\tdynamic\n")
    with pytest.raises(ExportError, match=r"c\.c:3:5:grow: its frame on the stack has no bound"):
        read_stack_usage(tmp_path)

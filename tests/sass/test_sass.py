#!/usr/bin/env python3
"""That check_sass.py finds what it is there to find: recorded machine code as it is, and with one fault each."""

import re
import unittest

import check_sass
import disassembly
import in_flight

NAME = "_ZN4hack7kernels4cuda3runINS1_6MatVecIfLi1EEEEEvT_"
KERNEL = {"kernel": "MatVec<float, 1>", "kind": "stream", "instructions": 16, "threads": 256, "blocks": 4,
          "shared_bytes": 16384, "has_scales": 0, "rows_of_block": 16, "bytes_of_warp": 2048}


def recorded():
    with open(check_sass.os.path.join(check_sass.os.path.dirname(__file__), "recorded", "loop.sass"),
              encoding="utf-8") as file:
        return file.read()


def function_of(text):
    return disassembly.read(text)[NAME]


def faults_of(text, kernel=None, registers=64, architecture=90):
    return check_sass.faults_of(kernel or KERNEL, function_of(text), registers, architecture)


def after_first(text, operation, line):
    """The text with an instruction behind the first of this operation."""
    lines = text.splitlines()
    at = next(n for n, each in enumerate(lines) if operation in each)
    address = re.search(r"/\*([0-9a-f]+)\*/", lines[at]).group(1)
    lines.insert(at + 1, f"        /*{int(address, 16) + 8:04x}*/                   {line} ;")
    return "\n".join(lines)


class CheckSass(unittest.TestCase):
    def assert_fault(self, faults, part):
        self.assertTrue(any(part in fault for fault in faults), faults)

    def test_takes_the_loop_as_it_is(self):
        self.assertEqual(faults_of(recorded()), [])
        loop = check_sass.hot_loop(KERNEL, function_of(recorded()))
        self.assertEqual(sum(map(check_sass.is_wide_load, loop)), 4)

    def test_reads_what_cuobjdump_prints(self):
        lines = ["\t\tFunction : " + NAME]
        labels = {name: f"0x{at:x}" for name, at in function_of(recorded()).labels.items()}
        for line in recorded().splitlines()[1:]:
            if not line.startswith("."):
                lines.append(re.sub(r"`\((\.\w+)\)", lambda m: labels[m.group(1)], line) + " /* 0x000fe200 */")
        self.assertEqual(faults_of("\n".join(lines)), [])

    def test_finds_a_load_of_four_bytes(self):
        self.assert_fault(faults_of(recorded().replace("LDG.E.128.CONSTANT", "LDG.E.CONSTANT", 1)), "less than 16 bytes")

    def test_takes_a_load_of_scales_where_there_are_some(self):
        text = after_first(recorded(), "LDG", "LDG.E.U16.CONSTANT R4, desc[UR8][R42.64]")
        self.assert_fault(faults_of(text), "less than 16 bytes")
        self.assertEqual(faults_of(text, dict(KERNEL, has_scales=1)), [])

    def test_finds_a_spill_anywhere(self):
        text = recorded() + "        /*ffe0*/                   STL [R1+0x8], R70 ;\n"
        self.assert_fault(faults_of(text), "local memory")

    def test_finds_a_branch_and_a_division(self):
        self.assert_fault(faults_of(after_first(recorded(), "LDG", "@P1 BRA `(.L_x_1)")), "branches in the loop")
        self.assert_fault(faults_of(after_first(recorded(), "LDG", "@P1 BRA `(.L_x_9)")), "branches in the loop")
        call = "CALL.REL.NOINC `($__internal_24_$__cuda_sm20_div_s64)"
        self.assert_fault(faults_of(after_first(recorded(), "LDG", call)), "branches in the loop")
        self.assert_fault(faults_of(after_first(recorded(), "LDG", "MUFU.RCP R4, R5")), "MUFU")

    def test_finds_special_registers_and_narrow_reads(self):
        self.assert_fault(faults_of(after_first(recorded(), "LDG", "S2UR UR5, SR_CgaCtaId")), "S2UR")
        self.assert_fault(faults_of(after_first(recorded(), "LDG", "LDS R4, [R5]")), "shared memory")

    def test_counts_instructions(self):
        count = len(check_sass.hot_loop(KERNEL, function_of(recorded()))) / 4
        self.assertEqual(faults_of(recorded(), dict(KERNEL, instructions=count)), [])
        self.assert_fault(faults_of(recorded(), dict(KERNEL, instructions=count - 0.25)), "instructions for a load")

    def test_asks_for_tensor_cores_and_wide_loads(self):
        self.assert_fault(faults_of(recorded(), dict(KERNEL, kind="product")), "tensor cores")
        text = after_first(recorded(), "LDG", "HMMA.16816.F32.BF16 R4, R8, R2, R4")
        self.assertEqual(faults_of(text, dict(KERNEL, kind="product")), [])
        narrow = recorded().replace("LDG.E.128.CONSTANT", "LDG.E.64.CONSTANT")
        self.assert_fault(faults_of(narrow, dict(KERNEL, kind="wide")), "no load of 16 bytes")

    def test_counts_blocks(self):
        self.assertEqual(check_sass.blocks_of(KERNEL, 64, 90), 4)
        self.assertEqual(check_sass.blocks_of(KERNEL, 65, 90), 3)
        self.assertEqual(check_sass.blocks_of(dict(KERNEL, shared_bytes=66560), 64, 80), 2)
        self.assert_fault(faults_of(recorded(), registers=72), "blocks of a multiprocessor")

    def test_allows_one_way_out_before_the_branch_back(self):
        lines = recorded().rstrip().splitlines()
        last = lines[-1]
        lines[-1] = re.sub(r"@!?P\d BRA `\(\.L_x_1\)", "@!P0 CALL.REL.NOINC `(.L_x_9)", last)
        lines.append("        /*fff0*/                   BRA `(.L_x_1) ;")
        self.assertNotEqual(lines[-2], last)
        self.assertEqual(faults_of("\n".join(lines)), [])

    def test_names_kernels_as_the_compiler_does(self):
        for kernel, part in (("MatVec<std::int8_t, 1>", "6MatVecIaLi1EE"), ("RmsNorm", "7RmsNormE"),
                             ("MatVec<Q4_0Codes, 8>", "6MatVecINS1_9Q4_0CodesELi8EE"),
                             ("MatMul<bf16>", "6MatMulINS_4bf16EE"), ("AttendBlock<128>", "11AttendBlockILi128EE")):
            self.assertEqual(disassembly.mangled(kernel), part)

    def test_states_bytes_in_flight(self):
        self.assertAlmostEqual(in_flight.needed(90) / 1000, 29.1, places=1)
        rows, short = in_flight.table([KERNEL], {(KERNEL["kernel"], 90): 64}, check_sass.blocks_of)
        self.assertEqual((len(rows), short), (2, []))
        # 256 blocks of 8 warps of 2,048 bytes on 132 multiprocessors; then one warp's worth of loads less.
        self.assertIn("| o, down | – | 32 | – |", rows[0])
        _, short = in_flight.table([dict(KERNEL, bytes_of_warp=1024)], {(KERNEL["kernel"], 90): 64}, check_sass.blocks_of)
        self.assertEqual(len(short), 1)


if __name__ == "__main__":
    unittest.main()

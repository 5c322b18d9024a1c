"""The table of faults adds up what the tests say."""

from fault_table import MARKS, rows_of, table


def test_tests_share_a_row_and_one_that_fails_spoils_it():
    notes = [
        (["b", "cut", "refused", 2], True),
        (["a", "cut", "refused", 1], True),
        (["b", "cut", "refused", 3], True),
        (["a", "cut", "refused", 1], False),
    ]
    assert rows_of(notes) == [("a", "cut", "2", "FAILED"), ("b", "cut", "5", "refused")]


def test_the_table_replaces_the_one_of_before():
    page = "x\n<!-- faults -->\nold\n<!-- /faults -->\ny\n"
    text = table([("a", "b", "3", "c")])
    replaced = MARKS.sub(lambda found: found[1] + text + found[2], page)
    assert replaced.startswith("x\n<!-- faults -->\n| fault | how tried | times |")
    assert replaced.endswith("| a | b | 3 | c |\n<!-- /faults -->\ny\n")

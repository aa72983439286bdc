from skillrun.models.builtin.healer import PROCEDURES
from skillrun.models.builtin.remedy import holds, remedies


def test_the_table_of_remedies_is_whole() -> None:
    """Every remedy can be read, has a name of its own, a known procedure, known conditions, and says what it is for."""
    table = remedies()
    assert len(table) >= 40
    assert len({remedy.id for remedy in table}) == len(table)
    assert len({remedy.kind for remedy in table}) == 8
    for remedy in table:
        assert remedy.explain.rstrip().endswith((".", ":")), remedy.id
        assert not remedy.procedure or remedy.procedure in PROCEDURES, remedy.id
        for condition in remedy.facts:
            holds(condition, {})
        assert remedy.then in ("retry", "skip", "postpone", "stop")
        assert remedy.error or remedy.command

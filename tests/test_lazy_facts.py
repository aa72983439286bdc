from skillrun.host.facts import here
from skillrun.host.lazy_facts import OnDemand, essential


def test_what_a_plan_depends_on_is_the_same_however_it_was_read() -> None:
    """The facts read from files in this process are those the script finds, or a proven plan would not fit its own machine."""
    few, all_of_them = essential(), here(quick=True)
    assert set(few) == {"os", "arch", "user"}
    assert (few["os"], few["arch"]) == (all_of_them["os"], all_of_them["arch"])
    assert few["user"] == {**all_of_them["user"], "umask": few["user"]["umask"]}


def test_facts_on_demand_are_found_out_once_and_only_when_asked_for() -> None:
    """Looking at what is known costs nothing; looking for anything else finds all of it, also what was known better."""
    found: list[int] = []

    def find() -> dict[str, object]:
        found.append(1)
        return {"arch": "x86_64", "user": {"umask": "0022"}}

    facts = OnDemand({"user": {"root": True}}, find)
    assert facts["user"] == {"root": True}
    assert not found
    assert facts.get("arch") == "x86_64"
    assert facts.get("nothing") is None
    assert dict(facts) == facts.whole == {"user": {"umask": "0022"}, "arch": "x86_64"}
    assert found == [1]

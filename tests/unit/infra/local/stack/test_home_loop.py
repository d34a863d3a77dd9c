"""A home whose links lead to each other is told in a sentence by whoever opens it; to name it is no fault."""

from pathlib import Path

from infra.local.stack.home import Home


def test_a_home_that_is_a_loop_of_links_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert Home(tmp_path / "loop").root.name == "loop"


def test_a_home_behind_a_link_is_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to("there")
    assert Home(tmp_path / "here").root == (tmp_path / "there").resolve()

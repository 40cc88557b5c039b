"""`wsgate reference`."""

from pathlib import Path

from click.testing import CliRunner

from gateway.cli.main import main

PAGE = Path(__file__).parents[3] / "docs" / "reference.md"


def test_the_page_in_docs_is_what_the_models_say() -> None:
    """When it is stale: wsgate reference > docs/reference.md."""
    result = CliRunner().invoke(main, ["reference"])

    assert result.exit_code == 0
    assert result.output == PAGE.read_text()


def test_its_links_lead_somewhere() -> None:
    text = PAGE.read_text()
    headings = [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("##")]
    anchors = {
        "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")
        for title in headings
    }
    links = [part.split(")")[0] for part in text.split("](#")[1:]]

    assert links
    assert [link for link in links if link not in anchors] == []

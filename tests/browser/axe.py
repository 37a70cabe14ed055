"""axe-core in a page: what of it people with a screen reader, a keyboard alone or weak eyes could not use."""

from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / "node/web/pages/node_modules/axe-core/axe.min.js"
_RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return {
    rules: found.passes.length + found.violations.length,
    faults: found.violations.flatMap((rule) => rule.nodes.map((node) => ({
      impact: rule.impact, text: `${rule.impact} ${rule.id}: ${node.target.join(" ")}: ${node.failureSummary}`,
    }))),
  };
}"""


def serious_faults(page: Page) -> list[str]:
    """Each serious or critical fault of the page as it stands: the rule, the element and what would mend it."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE.read_text(encoding="utf-8"))  # not as a script of the page, whose policy forbids it
    result = page.evaluate(_RUN)
    assert result["rules"] > 10, "axe-core did not look at the page"
    return [fault["text"] for fault in result["faults"] if fault["impact"] in {"serious", "critical"}]

"""Kappa of experts and model: worked examples, and what cannot be said."""

import pytest

from node.review.agreement import Choices, agreement, kappa


def choice(model: str, expert: str, cells: int, month: str = "2026-10") -> Choices:
    return Choices(month=month, model=model, expert=expert, cells=cells)


def test_a_worked_example() -> None:
    """50 cells, 35 agreed: observed 0.7, by chance 0.5, kappa 0.4 (the textbook's two-by-two table)."""
    table = {
        ("monocyte", "monocyte"): 20,
        ("monocyte", "lymphocyte"): 5,
        ("lymphocyte", "monocyte"): 10,
        ("lymphocyte", "lymphocyte"): 15,
    }
    assert kappa(table) == pytest.approx(0.4)
    (whole, _month) = agreement([choice(*pair, cells) for pair, cells in table.items()])
    assert (whole.n, whole.agree) == (50, 35)
    assert whole.kappa == pytest.approx(0.4)
    lymphocyte, monocyte = sorted(whole.classes, key=lambda each: each.name)
    assert (monocyte.n, monocyte.agree) == (35, 20)
    assert (lymphocyte.n, lymphocyte.agree) == (30, 15)
    assert monocyte.kappa == lymphocyte.kappa == pytest.approx(0.4)  # with two classes one is the other's mirror


def test_what_cannot_be_said_is_none() -> None:
    assert kappa({}) is None
    assert kappa({("monocyte", "monocyte"): 9}) is None
    assert kappa({("monocyte", "lymphocyte"): 9}) == 0.0
    (empty,) = agreement([])
    assert (empty.month, empty.n, empty.kappa, empty.classes) == ("", 0, None, ())


def test_months_stand_in_order_below_all_of_them() -> None:
    found = agreement([choice("monocyte", "monocyte", 3, "2026-11"), choice("monocyte", "others", 1)])
    assert [(each.month, each.n, each.agree) for each in found] == [("", 4, 3), ("2026-10", 1, 0), ("2026-11", 3, 3)]
    assert [each.name for each in found[0].classes] == ["monocyte", "others"]

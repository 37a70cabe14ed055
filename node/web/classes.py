"""The classes as the pages name and colour them."""

from collections.abc import Callable, Mapping

from node.views import ClassView
from pipeline.domain import CellCode


def class_views(
    codes: Mapping[str, CellCode], color_of: Callable[[str], tuple[int, int, int]]
) -> tuple[ClassView, ...]:
    """Each class with the sRGB colour its segment and its annotations have."""
    return tuple(
        ClassView(
            name=code.name,
            icsh_name=code.icsh_name,
            lineage=code.lineage,
            counted=code.counted,
            color="#{:02x}{:02x}{:02x}".format(*color_of(code.name)),
        )
        for code in codes.values()
    )

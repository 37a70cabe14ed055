import numpy as np

from pipeline.nuclei import find_nuclei
from pipeline.phantom.samples import FieldSample


def test_nearly_every_cell_has_a_nucleus_found_in_it(field: FieldSample) -> None:
    whole = [cell for cell in field.cells if cell.class_name != "smudge cell"]
    numbers = {field.labels[int(n.centre[1]), int(n.centre[0])] for n in find_nuclei(field.image, 180 / 1024)}
    assert sum(cell.id + 1 in numbers for cell in whole) >= 0.9 * len(whole)


def test_centres_do_not_depend_on_the_resolution(field: FieldSample) -> None:
    coarse = np.ascontiguousarray(field.image[::2, ::2])
    fine, half = find_nuclei(field.image, 180 / 1024), find_nuclei(coarse, 2 * 180 / 1024)
    assert abs(len(fine) - len(half)) <= max(2, 0.15 * len(fine))


def test_a_blank_field_has_none() -> None:
    assert find_nuclei(np.full((200, 200, 3), 230, np.uint8), 0.2) == ()


def test_grey_discs_are_not_nuclei() -> None:
    y, x = np.mgrid[:200, :200]
    image = np.full((200, 200, 3), 225, np.uint8)
    image[(x - 100) ** 2 + (y - 100) ** 2 < 20**2] = (150, 148, 150)
    assert find_nuclei(image, 0.2) == ()

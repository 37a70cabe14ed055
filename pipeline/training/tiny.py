"""The recipe of the default bundle with the least of everything: every step is gone through, nothing is learnt."""

from pipeline.training.configs import least
from pipeline.training.recipe import Recipe

AMOUNTS = {
    "cells_each": 2,
    "tile_slides": 2,
    "varied_slides": 1,
    "thumbnail_slides": 2,
    "varied_thumbnails": 1,
    "fields": 1,
    "varied_fields": 1,
    "collages": 2,
    "epoch_cells": 8,
}


def tiny(recipe: Recipe) -> Recipe:
    """A recipe that takes minutes."""
    return least(recipe, AMOUNTS)

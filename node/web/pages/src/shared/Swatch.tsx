/** A mark in the colour of a class and the shape of its lineage; the name or the code always stands beside it. */

import type { CellClass } from "./api";
import { SHAPE_PATHS, shapeOf } from "./classes";

export function Swatch({ of }: { of: Pick<CellClass, "color" | "lineage"> }) {
  return (
    <span class="swatch" aria-hidden="true">
      <svg viewBox="0 0 12 12"><path d={SHAPE_PATHS[shapeOf(of.lineage)]} fill={of.color} /></svg>
    </span>
  );
}

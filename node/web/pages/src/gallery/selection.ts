/** Which cells are chosen: rows of the cell table, with the one the keyboard is at and the one a range began at. */

import type { Arrangement } from "./arrangement";

export interface Selection {
  readonly chosen: ReadonlySet<number>;
  readonly cursor: number | undefined;
  readonly anchor: number | undefined;
}

export const NOTHING: Selection = { chosen: new Set(), cursor: undefined, anchor: undefined };

export const only = (index: number): Selection => ({ chosen: new Set([index]), cursor: index, anchor: index });

export function toggled(selection: Selection, index: number): Selection {
  const chosen = new Set(selection.chosen);
  if (!chosen.delete(index)) chosen.add(index);
  return { chosen, cursor: index, anchor: index };
}

/** From the anchor to `index` in the order shown. */
export function extended({ order, placeOf }: Arrangement, selection: Selection, index: number): Selection {
  const from = selection.anchor === undefined ? -1 : placeOf[selection.anchor]!;
  if (from < 0) return only(index);
  const to = placeOf[index]!;
  return { chosen: new Set(order.slice(Math.min(from, to), Math.max(from, to) + 1)), cursor: index, anchor: selection.anchor };
}

export function several(indices: Iterable<number>, besides: Iterable<number> = []): Selection {
  const chosen = new Set([...besides, ...indices]);
  const last = [...chosen].at(-1);
  return { chosen, cursor: last, anchor: last };
}

/** The cell after all chosen ones, else the one before them: where work goes on when they are done. */
export function following({ order, placeOf }: Arrangement, chosen: ReadonlySet<number>): number | undefined {
  const places = [...chosen].map((index) => placeOf[index]!).filter((place) => place >= 0);
  if (!places.length) return undefined;
  for (let place = Math.max(...places) + 1; place < order.length; place++) if (!chosen.has(order[place]!)) return order[place];
  for (let place = Math.min(...places) - 1; place >= 0; place--) if (!chosen.has(order[place]!)) return order[place];
  return undefined;
}

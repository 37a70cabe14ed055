/** The keyboard in the gallery: which cells are chosen after a key. */

import type { Arrangement } from "./arrangement";
import type { Grid } from "./grid";
import { extended, only, several, toggled, type Selection } from "./selection";

/** The selection after a key, or undefined when the key is not the gallery's; `page` are the rows of a page. */
export function afterKey(
  event: KeyboardEvent, grid: Grid, arrangement: Arrangement, selection: Selection, page: number,
): Selection | undefined {
  const { order, placeOf } = arrangement;
  if (!order.length) return undefined;
  if (event.key === "a" && (event.ctrlKey || event.metaKey)) return { ...several(order), cursor: selection.cursor, anchor: selection.anchor };
  if (event.ctrlKey || event.metaKey || event.altKey) return undefined;
  const { cursor } = selection;
  const place = cursor === undefined ? -1 : placeOf[cursor]!;
  if (event.key === " " && place >= 0) return toggled(selection, cursor!);
  const vertical = (direction: -1 | 1, times: number): number | undefined => {
    let at = place < 0 ? order[0] : cursor;
    for (; times > 0 && at !== undefined; times--) at = grid.vertical(at, direction) ?? at;
    return at;
  };
  const targets: Record<string, () => number | undefined> = {
    ArrowRight: () => order[Math.min(place + 1, order.length - 1)],
    ArrowLeft: () => order[Math.max(place - 1, 0)],
    ArrowDown: () => vertical(1, place < 0 ? 0 : 1),
    ArrowUp: () => vertical(-1, place < 0 ? 0 : 1),
    PageDown: () => vertical(1, page),
    PageUp: () => vertical(-1, page),
    Home: () => order[0],
    End: () => order.at(-1),
  };
  const target = targets[event.key]?.();
  if (target === undefined) return undefined;
  return event.shiftKey ? extended(arrangement, selection, target) : only(target);
}

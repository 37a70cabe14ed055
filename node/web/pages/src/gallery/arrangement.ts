/** Which cells are shown, in which order: by class, the most doubtful first, what an expert has judged last. */

import { NONE, type CellTable } from "../viewer/cells";

export interface Filter {
  /** Classes that are not shown, as places in `/api/classes`; NONE for cells whose class an expert has yet to choose. */
  hidden: ReadonlySet<number>;
  /** Only what an expert must look at. */
  needed: boolean;
  judged: "any" | "open" | "done";
}

export const EVERYTHING: Filter = { hidden: new Set(), needed: false, judged: "any" };

/** What is hidden when only some classes are shown. */
export const allBut = (places: number[], classes: number): Set<number> =>
  new Set([NONE, ...Array(classes).keys()].filter((other) => !places.includes(other)));

export interface Group {
  /** The class, or NONE for cells whose class is hidden until an expert chose one. */
  shown: number;
  /** Rows of the cell table. */
  members: number[];
}

export interface Arrangement {
  groups: Group[];
  /** The members of all groups, one after the other. */
  order: number[];
  /** Where a row of the cell table is in `order`, or -1. */
  placeOf: Int32Array;
}

/** All cells, the least probable first. */
export function byDoubt(cells: CellTable): Int32Array {
  const order = Int32Array.from({ length: cells.count }, (_, index) => index);
  return order.sort((one, other) => cells.probability[one]! - cells.probability[other]! || one - other);
}

/** `doubt` are all cells in the order within a class, `sequence` the classes in theirs. */
export function arrange(cells: CellTable, doubt: Int32Array, sequence: number[], filter: Filter): Arrangement {
  const open = new Map<number, number[]>([NONE, ...sequence].map((shown) => [shown, []]));
  const judged = new Map<number, number[]>([...open.keys()].map((shown) => [shown, []]));
  for (const index of doubt) {
    if (!passes(cells, index, filter)) continue;
    (cells.expert[index] === NONE ? open : judged).get(cells.shown[index]!)?.push(index);
  }
  const groups = [...open].map(([shown, members]) => ({ shown, members: [...members, ...judged.get(shown)!] }));
  const order = groups.flatMap((group) => group.members);
  const placeOf = new Int32Array(cells.count).fill(-1);
  order.forEach((index, place) => (placeOf[index] = place));
  return { groups: groups.filter((group) => group.members.length > 0), order, placeOf };
}

function passes(cells: CellTable, index: number, filter: Filter): boolean {
  if (filter.needed && !cells.needed[index]) return false;
  if (filter.judged !== "any" && (cells.expert[index] !== NONE) !== (filter.judged === "done")) return false;
  return !filter.hidden.has(cells.shown[index]!);
}

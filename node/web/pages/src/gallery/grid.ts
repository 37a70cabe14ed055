/** Where each group and each of its rows of tiles lies, so that only what is in view is drawn. */

import type { Arrangement, Group } from "./arrangement";

export const HEAD = 30;
const GROUP_GAP = 10;

export interface Placed extends Group {
  top: number;
  height: number;
  /** Place of its first member in the order of the arrangement. */
  first: number;
}

export class Grid {
  readonly placed: Placed[] = [];
  readonly height: number;

  constructor(private readonly arrangement: Arrangement, readonly columns: number, readonly pitch: number) {
    let [top, first] = [0, 0];
    for (const group of arrangement.groups) {
      const height = HEAD + Math.ceil(group.members.length / columns) * pitch + GROUP_GAP;
      this.placed.push({ ...group, top, height, first });
      top += height;
      first += group.members.length;
    }
    this.height = top;
  }

  /** The groups that reach into a stretch, each with the members in it. */
  within(top: number, bottom: number): { group: Placed; from: number; to: number }[] {
    return this.placed
      .filter((group) => group.top < bottom && group.top + group.height > top)
      .map((group) => {
        const from = Math.max(0, Math.floor((top - group.top - HEAD) / this.pitch));
        const to = Math.max(from, Math.ceil((bottom - group.top - HEAD) / this.pitch));
        return { group, from: from * this.columns, to: Math.min(group.members.length, to * this.columns) };
      });
  }

  /** Top of the tile of a cell, from the top of the gallery. */
  topOf(index: number): number | undefined {
    const place = this.arrangement.placeOf[index] ?? -1;
    const group = place < 0 ? undefined : this.groupAt(place);
    return group && group.top + HEAD + Math.floor((place - group.first) / this.columns) * this.pitch;
  }

  /** The cell one row up (-1) or down (1), across groups. */
  vertical(index: number, step: -1 | 1): number | undefined {
    const place = this.arrangement.placeOf[index] ?? -1;
    const group = place < 0 ? undefined : this.groupAt(place);
    if (!group) return undefined;
    const column = (place - group.first) % this.columns;
    const row = Math.floor((place - group.first) / this.columns) + step;
    const rows = Math.ceil(group.members.length / this.columns);
    if (row >= 0 && row < rows) return group.members[Math.min(row * this.columns + column, group.members.length - 1)];
    const next = this.placed[this.placed.indexOf(group) + step];
    if (!next) return undefined;
    const lastRow = Math.floor((next.members.length - 1) / this.columns) * this.columns;
    return next.members[Math.min((step === 1 ? 0 : lastRow) + column, next.members.length - 1)];
  }

  /** The cells whose tiles touch a rectangle. */
  touched(rectangle: { x0: number; y0: number; x1: number; y1: number }, tile: number): number[] {
    return this.placed.flatMap((group) =>
      group.members.filter((_, ordinal) => {
        const x = (ordinal % this.columns) * this.pitch;
        const y = group.top + HEAD + Math.floor(ordinal / this.columns) * this.pitch;
        return x < rectangle.x1 && x + tile > rectangle.x0 && y < rectangle.y1 && y + tile > rectangle.y0;
      }),
    );
  }

  private groupAt(place: number): Placed | undefined {
    return this.placed.findLast((group) => group.first <= place);
  }
}

/**
 * Pictures of cells, 64 to a sheet. Which cells share a sheet is settled once, by the model's class and by doubt, so that
 * a cell that changes its class keeps its picture and the browser's cache stays good.
 */

import { byDoubt } from "./arrangement";
import type { CellTable } from "../viewer/cells";

const CELLS = 64;
export const COLUMNS = 8;
const AT_ONCE = 3;
const KEPT = 200;

export interface Picture {
  url: string;
  column: number;
  row: number;
  /** How many tiles the sheet is wide and high. */
  columns: number;
  rows: number;
}

interface Sheet {
  url: string | undefined;
  failed: boolean;
}

export class SheetStore {
  private readonly order: number[];
  private readonly placeOf: Int32Array;
  private readonly sheets = new Map<number, Sheet>();
  /** Wanted and not yet asked for; the newest last. */
  private wanted: number[] = [];
  private asked = 0;
  private closed = false;

  constructor(
    private readonly caseId: string,
    private readonly cells: CellTable,
    private readonly side: number,
    private readonly arrived: () => void,
  ) {
    const doubt = byDoubt(cells);
    this.order = [...doubt].sort((one, other) => cells.model[one]! - cells.model[other]!);
    this.placeOf = new Int32Array(cells.count);
    this.order.forEach((index, place) => (this.placeOf[index] = place));
  }

  /** The picture of a cell when its sheet is here; `undefined` while it is on the way, `null` when there is none. */
  picture(index: number): Picture | undefined | null {
    const place = this.placeOf[index]!;
    const number = Math.floor(place / CELLS);
    const sheet = this.sheets.get(number);
    if (sheet?.failed) return null;
    if (!sheet?.url) return undefined;
    const count = this.members(number).length;
    const [at, columns] = [place % CELLS, Math.min(COLUMNS, count)];
    return { url: sheet.url, column: at % columns, row: Math.floor(at / columns), columns, rows: Math.ceil(count / columns) };
  }

  /** Asks for the pictures of some cells, the first ones first; what was wanted before and is not now is dropped. */
  want(indices: Iterable<number>): void {
    const numbers = new Set<number>();
    for (const index of indices) numbers.add(Math.floor(this.placeOf[index]! / CELLS));
    this.wanted = [...numbers].filter((number) => !this.sheets.has(number));
    this.next();
  }

  close(): void {
    this.closed = true;
    for (const sheet of this.sheets.values()) if (sheet.url) URL.revokeObjectURL(sheet.url);
    this.sheets.clear();
  }

  private next(): void {
    while (this.asked < AT_ONCE && this.wanted.length) {
      const number = this.wanted.shift()!;
      if (!this.sheets.has(number)) void this.ask(number);
    }
  }

  private async ask(number: number): Promise<void> {
    const sheet: Sheet = { url: undefined, failed: false };
    this.sheets.set(number, sheet);
    this.asked++;
    try {
      const answer = await fetch(sheetUrl(this.caseId, this.cells, this.members(number), this.side));
      if (!answer.ok) throw new Error(answer.statusText);
      const picture = await answer.blob();
      if (!this.closed) sheet.url = URL.createObjectURL(picture);
    } catch {
      sheet.failed = true;
    }
    this.asked--;
    if (this.closed) return;
    this.forget();
    this.arrived();
    this.next();
  }

  private forget(): void {
    for (const [number, sheet] of this.sheets) {
      if (this.sheets.size <= KEPT) return;
      if (!sheet.url) continue;
      URL.revokeObjectURL(sheet.url);
      this.sheets.delete(number);
    }
  }

  private members(number: number): number[] {
    return this.order.slice(number * CELLS, (number + 1) * CELLS);
  }
}

export function sheetUrl(caseId: string, cells: CellTable, indices: number[], side: number): string {
  const ids = indices.map((index) => cells.id[index]).join(",");
  return `/api/cases/${encodeURIComponent(caseId)}/sheet?run=${cells.run}&side=${side}&ids=${ids}`;
}

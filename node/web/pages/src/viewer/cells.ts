/** All cells of a case in flat arrays, found by place; outlines come by the block, when they are near. */

import { getJson } from "../shared/api";

interface Columns {
  run: number;
  id: number[];
  x: number[];
  y: number[];
  model: number[];
  probability: number[];
  expert: number[];
  version: number[];
  review: boolean[];
}

/** No class: the expert has not judged the cell, or the model's class is hidden until one does. */
export const NONE = -1;

const BUCKET = 256;
const BLOCK = 1024;

const read = (caseId: string): Promise<Columns> => getJson(`/api/cases/${encodeURIComponent(caseId)}/cells`);

export class CellTable {
  readonly count: number;
  readonly run: number;
  readonly id: Int32Array;
  readonly x: Float32Array;
  readonly y: Float32Array;
  /** Places in `/api/classes`, or NONE. */
  readonly model: Int8Array;
  readonly expert: Int8Array;
  /** The class that counts now: the expert's where there is one. */
  readonly shown: Int8Array;
  readonly probability: Float32Array;
  /** Of the newest change of the cell. */
  readonly version: Int32Array;
  /** 1 where an expert must look before the case is signed. */
  readonly needed: Uint8Array;
  /** Grows when the columns are read again. */
  revision = 0;
  private readonly places = new Map<number, number>();
  private readonly buckets = new Map<number, number[]>();

  constructor(columns: Columns) {
    this.count = columns.id.length;
    this.run = columns.run;
    this.id = Int32Array.from(columns.id);
    this.x = Float32Array.from(columns.x);
    this.y = Float32Array.from(columns.y);
    this.model = new Int8Array(this.count);
    this.expert = new Int8Array(this.count);
    this.shown = new Int8Array(this.count);
    this.probability = new Float32Array(this.count);
    this.version = new Int32Array(this.count);
    this.needed = new Uint8Array(this.count);
    this.fill(columns);
    columns.id.forEach((id, index) => {
      this.places.set(id, index);
      const key = bucketKey(columns.x[index]! / BUCKET, columns.y[index]! / BUCKET);
      const bucket = this.buckets.get(key);
      if (bucket) bucket.push(index);
      else this.buckets.set(key, [index]);
    });
  }

  static async load(caseId: string): Promise<CellTable> {
    return new CellTable(await read(caseId));
  }

  /** Reads again what the model and the experts say; false when the case has been analysed again since. */
  async refresh(caseId: string): Promise<boolean> {
    const columns = await read(caseId);
    if (columns.run !== this.run) return false;
    this.fill(columns);
    this.revision++;
    return true;
  }

  indexOf(id: number): number | undefined {
    return this.places.get(id);
  }

  /** The expert's class of a cell, or NONE for the model's. */
  judge(index: number, expert: number): void {
    this.expert[index] = expert;
    this.shown[index] = expert === NONE ? this.model[index]! : expert;
  }

  isOpen(index: number): boolean {
    return this.needed[index] === 1 && this.expert[index] === NONE;
  }

  /** The cell nearest to a point, at most `reach` away. */
  nearest(x: number, y: number, reach: number, visible: (index: number) => boolean): number | undefined {
    let best: number | undefined;
    let distance = reach * reach;
    for (let column = Math.floor((x - reach) / BUCKET); column <= (x + reach) / BUCKET; column++) {
      for (let row = Math.floor((y - reach) / BUCKET); row <= (y + reach) / BUCKET; row++) {
        for (const index of this.buckets.get(bucketKey(column, row)) ?? []) {
          const away = (this.x[index]! - x) ** 2 + (this.y[index]! - y) ** 2;
          if (away <= distance && visible(index)) [best, distance] = [index, away];
        }
      }
    }
    return best;
  }

  private fill(columns: Columns): void {
    this.model.set(columns.model);
    this.probability.set(columns.probability);
    this.version.set(columns.version);
    columns.review.forEach((needed, index) => (this.needed[index] = Number(needed)));
    columns.expert.forEach((expert, index) => this.judge(index, expert));
  }
}

const bucketKey = (column: number, row: number): number => Math.floor(row) * 65_536 + Math.floor(column);

/** Outlines by block of the slide, each block asked for once. */
export class OutlineStore {
  private readonly blocks = new Map<string, Map<number, number[]> | "asked">();

  constructor(private readonly caseId: string, private readonly arrived: () => void) {}

  /** Outlines in an area, by cell id, as far as they have come; asks for the rest. */
  *within(area: { x0: number; y0: number; x1: number; y1: number }): Generator<[number, number[]]> {
    const columns = range(Math.floor(area.x0 / BLOCK), Math.floor(area.x1 / BLOCK));
    const rows = range(Math.floor(area.y0 / BLOCK), Math.floor(area.y1 / BLOCK));
    for (const row of rows) {
      for (const column of columns) {
        if (row < 0 || column < 0) continue;
        const block = this.blocks.get(`${column} ${row}`);
        if (block === undefined) void this.ask(column, row);
        else if (block !== "asked") yield* block;
      }
    }
  }

  private async ask(column: number, row: number): Promise<void> {
    const key = `${column} ${row}`;
    this.blocks.set(key, "asked");
    const [x0, y0] = [column * BLOCK, row * BLOCK];
    const area = `x0=${x0}&y0=${y0}&x1=${x0 + BLOCK}&y1=${y0 + BLOCK}`;
    try {
      const answer = await getJson<{ outlines: Record<string, number[]> }>(
        `/api/cases/${encodeURIComponent(this.caseId)}/outlines?${area}`,
      );
      this.blocks.set(key, new Map(Object.entries(answer.outlines).map(([id, corners]) => [Number(id), corners])));
      this.arrived();
    } catch {
      this.blocks.delete(key); // asked again when it is next in view
    }
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, step) => from + step);
}

/** Cells, regions and tiles drawn over the slide on one canvas. */

import type { Selection } from "../gallery/selection";
import type { CellClass } from "../shared/api";
import { BLIND, codeOf } from "../shared/classes";
import { NONE, type CellTable, type OutlineStore } from "./cells";
import type { Mapping } from "./slide";
import { edgeOf, Stamps } from "./stamps";

export interface Areas {
  regions: number[][];
  counted: [number, number, number, number][];
  passed_over: [number, number, number, number][];
}

export interface Layers {
  cells: boolean;
  codes: boolean;
  regions: boolean;
  tiles: boolean;
  opacity: number;
}

/** Beyond this many slide pixels per screen pixel, or this many cells in view, a cell is a mark of one size. */
const OUTLINES_BELOW = 3;
const MOST_OUTLINES = 600;
const MOST_CODES = 400;
const MARGIN = 150; // slide pixels: half a large cell
const REGION = "#00a5a5";
const PASSED_OVER = "#5b6775";
const INK = "#16202b";
const TO_REVIEW = "#ffe3a3";

export interface Shown {
  layers: Layers;
  /** Classes that are not drawn. */
  hidden: ReadonlySet<number>;
  selection: Selection;
}

export class Overlay {
  private readonly context: CanvasRenderingContext2D;
  private readonly stamps: Stamps;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly cells: CellTable,
    private readonly outlines: OutlineStore,
    private readonly areas: Areas,
    private readonly classes: CellClass[],
    public shown: Shown,
  ) {
    this.context = canvas.getContext("2d", { willReadFrequently: true })!;
    this.stamps = new Stamps(classes);
  }

  draw(mapping: Mapping): void {
    const { layers } = this.shown;
    const scale = devicePixelRatio;
    const [width, height] = [Math.round(mapping.width * scale), Math.round(mapping.height * scale)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const { context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const area = visibleArea(mapping);
    const outlined = mapping.resolution < OUTLINES_BELOW && this.count(area) <= MOST_OUTLINES;
    if (layers.cells && !outlined) this.stamps.draw(context, this.cells, mapping, (shown) => this.shown.hidden.has(shown), layers.opacity);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.globalAlpha = layers.opacity;
    if (layers.tiles) this.drawTiles(mapping);
    if (layers.regions) this.drawRegions(mapping);
    if (layers.cells && outlined) this.drawOutlines(mapping, area);
    context.globalAlpha = 1;
    if (layers.cells) this.drawChosen(mapping);
  }

  isVisible(index: number): boolean {
    return this.shown.layers.cells && !this.shown.hidden.has(this.cells.shown[index]!);
  }

  /** Whether a cell reaches into an area, as far as its centre tells. */
  private isNear(index: number, { x0, y0, x1, y1 }: Area): boolean {
    const [x, y] = [this.cells.x[index]!, this.cells.y[index]!];
    return x > x0 - MARGIN && y > y0 - MARGIN && x < x1 + MARGIN && y < y1 + MARGIN;
  }

  private count({ x0, y0, x1, y1 }: Area): number {
    const { x, y, count } = this.cells;
    let inside = 0;
    for (let index = 0; index < count; index++) {
      if (x[index]! >= x0 && x[index]! < x1 && y[index]! >= y0 && y[index]! < y1) inside++;
    }
    return inside;
  }

  /** The edge and the colour of each outline; then the codes, which read without colour. */
  private drawOutlines(mapping: Mapping, area: Area): void {
    const { context } = this;
    const codes: [index: number, x: number, y: number][] = [];
    const thick = Math.min(3, Math.max(1.5, 1.6 / mapping.resolution));
    for (const [id, corners] of this.outlines.within(area)) {
      const index = this.cells.indexOf(id);
      if (index === undefined || !this.isVisible(index) || !this.isNear(index, area)) continue;
      const { color } = this.classes[this.cells.shown[index]!] ?? BLIND;
      const path = new Path2D(); // one for all of a class would be slower: painting takes time for all it spans
      const low = trace(path, mapping, corners);
      context.lineWidth = thick + 2;
      context.strokeStyle = edgeOf(color);
      context.stroke(path);
      context.lineWidth = thick;
      context.strokeStyle = color;
      context.stroke(path);
      codes.push([index, mapping.a * this.cells.x[index]! + mapping.c * this.cells.y[index]! + mapping.e, low]);
    }
    if (this.shown.layers.codes && codes.length <= MOST_CODES) this.drawCodes(codes);
  }

  private drawCodes(codes: [index: number, x: number, y: number][]): void {
    const { context } = this;
    context.font = "600 10px sans-serif";
    context.textAlign = "center";
    context.textBaseline = "top";
    context.lineWidth = 3;
    context.lineJoin = "round";
    for (const [index, x, y] of codes) {
      const one = this.classes[this.cells.shown[index]!];
      const text = `${one ? codeOf(one.name) : "?"}${this.cells.expert[index] === NONE ? "" : " ✓"}`;
      context.strokeStyle = this.cells.isOpen(index) ? TO_REVIEW : "#ffffff";
      context.strokeText(text, x, y + 2);
      context.fillStyle = INK;
      context.fillText(text, x, y + 2);
    }
  }

  private drawRegions(mapping: Mapping): void {
    const path = new Path2D();
    for (const corners of this.areas.regions) trace(path, mapping, corners);
    this.context.lineWidth = 2.5;
    this.context.strokeStyle = REGION;
    this.context.stroke(path);
  }

  private drawTiles(mapping: Mapping): void {
    const [counted, passedOver] = [new Path2D(), new Path2D()];
    for (const box of this.areas.counted) trace(counted, mapping, cornersOf(box));
    for (const box of this.areas.passed_over) trace(passedOver, mapping, cornersOf(box));
    this.context.lineWidth = 1;
    this.context.strokeStyle = REGION;
    this.context.stroke(counted);
    this.context.strokeStyle = PASSED_OVER;
    this.context.setLineDash([4, 4]);
    this.context.stroke(passedOver);
    this.context.setLineDash([]);
  }

  /** A ring around each chosen cell, a strong one around the one the keyboard is at. */
  private drawChosen(mapping: Mapping): void {
    const { chosen, cursor } = this.shown.selection;
    const radius = Math.max(9, 62 / mapping.resolution);
    const [rings, ring] = [new Path2D(), new Path2D()];
    for (const index of chosen) {
      const x = mapping.a * this.cells.x[index]! + mapping.c * this.cells.y[index]! + mapping.e;
      const y = mapping.b * this.cells.x[index]! + mapping.d * this.cells.y[index]! + mapping.f;
      if (x < -radius || y < -radius || x > mapping.width + radius || y > mapping.height + radius) continue;
      const path = index === cursor ? ring : rings;
      path.moveTo(x + radius, y);
      path.arc(x, y, radius, 0, 2 * Math.PI);
    }
    for (const [path, wide] of [[rings, 1.5], [ring, 2.5]] as const) {
      for (const [lineWidth, color] of [[wide * 2, "#ffffff"], [wide, INK]] as const) {
        this.context.lineWidth = lineWidth;
        this.context.strokeStyle = color;
        this.context.stroke(path);
      }
    }
  }
}

interface Area {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

/** Adds a polygon to a path; returns the lowest y it reaches on the screen. */
function trace(path: Path2D, mapping: Mapping, corners: readonly number[]): number {
  let low = -Infinity;
  for (let at = 0; at < corners.length; at += 2) {
    const x = mapping.a * corners[at]! + mapping.c * corners[at + 1]! + mapping.e;
    const y = mapping.b * corners[at]! + mapping.d * corners[at + 1]! + mapping.f;
    if (at === 0) path.moveTo(x, y);
    else path.lineTo(x, y);
    low = Math.max(low, y);
  }
  path.closePath();
  return low;
}

const cornersOf = ([x0, y0, x1, y1]: [number, number, number, number]): number[] => [x0, y0, x1, y0, x1, y1, x0, y1];

/** The slide's pixels on the screen, as a box around them. */
function visibleArea({ a, b, c, d, e, f, width, height }: Mapping): Area {
  const det = a * d - b * c;
  const corners = [[0, 0], [width, 0], [width, height], [0, height]].map(([px, py]) => [
    (d * (px! - e) - c * (py! - f)) / det,
    (a * (py! - f) - b * (px! - e)) / det,
  ]);
  const [xs, ys] = [corners.map((corner) => corner[0]!), corners.map((corner) => corner[1]!)];
  return { x0: Math.min(...xs), y0: Math.min(...ys), x1: Math.max(...xs), y1: Math.max(...ys) };
}

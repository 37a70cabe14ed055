/** Cells, regions and tiles drawn over the slide on one canvas. */

import type { CellTable, OutlineStore } from "./cells";
import type { Mapping } from "./slide";

export interface Areas {
  regions: number[][];
  counted: [number, number, number, number][];
  passed_over: [number, number, number, number][];
}

export interface Layers {
  cells: boolean;
  regions: boolean;
  tiles: boolean;
  opacity: number;
  /** By class: shown or not. */
  classes: boolean[];
}

/** Beyond this many slide pixels per screen pixel a cell is a dot. */
const OUTLINES_BELOW = 3;
const REGION = "#00a5a5";

export class Overlay {
  private readonly context: CanvasRenderingContext2D;
  /** A light edge makes dark colours visible on nuclei, a dark one light colours on the background. */
  private readonly edges: string[];
  layers: Layers;
  selected: number | undefined;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly cells: CellTable,
    private readonly outlines: OutlineStore,
    private readonly areas: Areas,
    private readonly colors: string[],
    layers: Layers,
  ) {
    this.context = canvas.getContext("2d")!;
    this.edges = colors.map((color) => (lightness(color) > 0.6 ? "rgb(0 0 0 / 55%)" : "rgb(255 255 255 / 75%)"));
    this.layers = layers;
  }

  draw(mapping: Mapping): void {
    const scale = devicePixelRatio;
    const [width, height] = [Math.round(mapping.width * scale), Math.round(mapping.height * scale)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, width, height);
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.context.globalAlpha = this.layers.opacity;
    if (this.layers.tiles) this.drawTiles(mapping);
    if (this.layers.regions) this.drawRegions(mapping);
    if (this.layers.cells) {
      if (mapping.resolution < OUTLINES_BELOW) this.drawOutlines(mapping);
      else this.drawDots(mapping);
    }
    this.context.globalAlpha = 1;
    this.drawSelected(mapping);
  }

  isVisible(index: number): boolean {
    return this.layers.cells && this.layers.classes[this.cells.shown[index]!] === true;
  }

  private drawDots(mapping: Mapping): void {
    const radius = Math.min(4, Math.max(1.2, 22 / mapping.resolution));
    const { context, cells } = this;
    this.layers.classes.forEach((visible, shown) => {
      if (!visible) return;
      context.fillStyle = this.colors[shown]!;
      context.beginPath();
      for (let index = 0; index < cells.count; index++) {
        if (cells.shown[index] !== shown) continue;
        const x = mapping.a * cells.x[index]! + mapping.c * cells.y[index]! + mapping.e;
        const y = mapping.b * cells.x[index]! + mapping.d * cells.y[index]! + mapping.f;
        if (x < -4 || y < -4 || x > mapping.width + 4 || y > mapping.height + 4) continue;
        context.moveTo(x + radius, y);
        context.arc(x, y, radius, 0, 2 * Math.PI);
      }
      context.fill();
    });
  }

  private drawOutlines(mapping: Mapping): void {
    const { context } = this;
    const thick = Math.min(3, Math.max(1.5, 1.6 / mapping.resolution));
    for (const [id, corners] of this.outlines.within(visibleArea(mapping))) {
      const index = this.cells.indexOf(id);
      if (index === undefined || !this.isVisible(index)) continue;
      this.trace(mapping, corners);
      const shown = this.cells.shown[index]!;
      context.lineWidth = thick + 2;
      context.strokeStyle = this.edges[shown]!;
      context.stroke();
      context.lineWidth = thick;
      context.strokeStyle = this.colors[shown]!;
      context.stroke();
    }
  }

  private drawRegions(mapping: Mapping): void {
    this.context.lineWidth = 2.5;
    this.context.strokeStyle = REGION;
    for (const corners of this.areas.regions) {
      this.trace(mapping, corners);
      this.context.stroke();
    }
  }

  private drawTiles(mapping: Mapping): void {
    this.context.lineWidth = 1;
    this.context.strokeStyle = REGION;
    for (const [x0, y0, x1, y1] of this.areas.counted) {
      this.trace(mapping, [x0, y0, x1, y0, x1, y1, x0, y1]);
      this.context.stroke();
    }
    this.context.strokeStyle = "#5b6775";
    this.context.setLineDash([4, 4]);
    for (const [x0, y0, x1, y1] of this.areas.passed_over) {
      this.trace(mapping, [x0, y0, x1, y0, x1, y1, x0, y1]);
      this.context.stroke();
    }
    this.context.setLineDash([]);
  }

  private drawSelected(mapping: Mapping): void {
    const index = this.selected === undefined ? undefined : this.cells.indexOf(this.selected);
    if (index === undefined) return;
    const x = mapping.a * this.cells.x[index]! + mapping.c * this.cells.y[index]! + mapping.e;
    const y = mapping.b * this.cells.x[index]! + mapping.d * this.cells.y[index]! + mapping.f;
    const radius = Math.max(14, 62 / mapping.resolution);
    for (const [lineWidth, color] of [[5, "#ffffff"], [2.5, "#16202b"]] as const) {
      this.context.lineWidth = lineWidth;
      this.context.strokeStyle = color;
      this.context.beginPath();
      this.context.arc(x, y, radius, 0, 2 * Math.PI);
      this.context.stroke();
    }
  }

  private trace(mapping: Mapping, corners: number[]): void {
    this.context.beginPath();
    for (let at = 0; at < corners.length; at += 2) {
      const x = mapping.a * corners[at]! + mapping.c * corners[at + 1]! + mapping.e;
      const y = mapping.b * corners[at]! + mapping.d * corners[at + 1]! + mapping.f;
      if (at === 0) this.context.moveTo(x, y);
      else this.context.lineTo(x, y);
    }
    this.context.closePath();
  }
}

/** The slide's pixels on the screen, as a box around them. */
function visibleArea({ a, b, c, d, e, f, width, height }: Mapping): { x0: number; y0: number; x1: number; y1: number } {
  const det = a * d - b * c;
  const corners = [[0, 0], [width, 0], [width, height], [0, height]].map(([px, py]) => [
    (d * (px! - e) - c * (py! - f)) / det,
    (a * (py! - f) - b * (px! - e)) / det,
  ]);
  const [xs, ys] = [corners.map((corner) => corner[0]!), corners.map((corner) => corner[1]!)];
  return { x0: Math.min(...xs), y0: Math.min(...ys), x1: Math.max(...xs), y1: Math.max(...ys) };
}

function lightness(color: string): number {
  const value = Number.parseInt(color.slice(1), 16);
  return (0.2126 * (value >> 16) + 0.7152 * ((value >> 8) & 255) + 0.0722 * (value & 255)) / 255;
}

/** Many cells as small marks, written straight into pixels: a hundred thousand take a few milliseconds. */

import type { CellClass } from "../shared/api";
import { BLIND, SHAPE_PATHS, shapeOf, type Shape } from "../shared/classes";
import { NONE, type CellTable } from "./cells";
import type { Mapping } from "./slide";

const LEAST_ALPHA = 96; // fainter pixels of a mark's edge are left out

/** The pixels of one mark around its centre, with their colour as canvas memory has it. */
interface Stamp {
  across: Int16Array;
  down: Int16Array;
  color: Uint32Array;
}

export class Stamps {
  private readonly made = new Map<string, Stamp>();
  private image: ImageData | undefined;

  constructor(private readonly classes: CellClass[]) {}

  /** Draws all cells that `hides` does not hide over what was on the canvas before. */
  draw(context: CanvasRenderingContext2D, cells: CellTable, mapping: Mapping, hides: (shown: number) => boolean, opacity: number): void {
    const { width, height } = context.canvas;
    if (this.image?.width !== width || this.image.height !== height) this.image = context.createImageData(width, height);
    const scale = width / mapping.width;
    const radius = Math.round(Math.min(4.5, Math.max(1.5, 24 / mapping.resolution)) * scale * 2) / 2;
    const stamps = [BLIND, ...this.classes]
      .map(({ color, lineage }, place) => (hides(place + NONE) ? undefined : this.stamp(color, shapeOf(lineage), radius, opacity)));
    const pixels = new Uint32Array(this.image.data.buffer);
    pixels.fill(0);
    const [a, b, c, d, e, f] = [mapping.a, mapping.b, mapping.c, mapping.d, mapping.e, mapping.f].map((value) => value * scale) as [number, number, number, number, number, number];
    const margin = Math.ceil(radius) + 1;
    for (let index = 0; index < cells.count; index++) {
      const stamp = stamps[cells.shown[index]! - NONE];
      if (!stamp) continue;
      const [x, y] = [cells.x[index]!, cells.y[index]!];
      const column = Math.round(a * x + c * y + e);
      const row = Math.round(b * x + d * y + f);
      if (column < margin || row < margin || column >= width - margin || row >= height - margin) continue;
      const at = row * width + column;
      for (let part = 0; part < stamp.color.length; part++) {
        pixels[at + stamp.down[part]! * width + stamp.across[part]!] = stamp.color[part]!;
      }
    }
    context.putImageData(this.image, 0, 0);
  }

  private stamp(color: string, shape: Shape, radius: number, opacity: number): Stamp {
    const key = `${color} ${shape} ${radius} ${opacity}`;
    const known = this.made.get(key);
    if (known) return known;
    const half = Math.ceil(radius) + 1;
    const side = 2 * half + 1;
    const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true })!;
    context.setTransform(radius / 6, 0, 0, radius / 6, half + 0.5 - radius, half + 0.5 - radius); // paths are 12 wide
    const path = new Path2D(SHAPE_PATHS[shape]);
    context.lineWidth = 9 / radius;
    context.strokeStyle = edgeOf(color);
    context.stroke(path);
    context.fillStyle = color;
    context.fill(path);
    const { data } = context.getImageData(0, 0, side, side);
    const kept = Array.from({ length: side * side }, (_, place) => place).filter((place) => data[place * 4 + 3]! >= LEAST_ALPHA);
    for (const place of kept) data[place * 4 + 3] = Math.round(data[place * 4 + 3]! * opacity);
    const colors = new Uint32Array(data.buffer);
    const stamp = {
      across: Int16Array.from(kept, (place) => (place % side) - half),
      down: Int16Array.from(kept, (place) => Math.floor(place / side) - half),
      color: Uint32Array.from(kept, (place) => colors[place]!),
    };
    this.made.set(key, stamp);
    return stamp;
  }
}

/** A light edge makes dark colours visible on nuclei, a dark one light colours on the background. */
export function edgeOf(color: string): string {
  const value = Number.parseInt(color.slice(1), 16);
  const lightness = (0.2126 * (value >> 16) + 0.7152 * ((value >> 8) & 255) + 0.0722 * (value & 255)) / 255;
  return lightness > 0.6 ? "rgb(0 0 0 / 55%)" : "rgb(255 255 255 / 75%)";
}

/** What is looked at, as the fragment of the address: `#slide`, `#slide&cell=12`, `#slide&x=100&y=200&r=1.5`. */

import type { Place } from "../viewer/slide";

export type Tab = "slide" | "cells" | "overview";

export interface At {
  tab: Tab;
  cell: number | undefined;
  place: Place | undefined;
}

export function readPlace(fragment: string): At {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const tab = (["slide", "cells", "overview"] as const).find((name) => given.has(name)) ?? "slide";
  const [x, y, resolution, cell] = ["x", "y", "r", "cell"].map((name) => number(given.get(name)));
  const place = x !== undefined && y !== undefined && resolution ? { x, y, resolution } : undefined;
  return { tab, cell, place };
}

export function writePlace(at: At): string {
  const parts: string[] = [at.tab];
  if (at.place) parts.push(`x=${at.place.x.toFixed(0)}`, `y=${at.place.y.toFixed(0)}`, `r=${at.place.resolution.toFixed(3)}`);
  if (at.cell !== undefined) parts.push(`cell=${at.cell}`);
  return `#${parts.join("&")}`;
}

function number(text: string | null): number | undefined {
  const value = text === null ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value : undefined;
}

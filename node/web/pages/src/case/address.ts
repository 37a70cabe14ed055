/**
 * What is looked at, as the fragment of the address: `#slide&x=100&y=200&r=1.5`, `#cells&cell=12&need&judged=open&classes=LY,PC`.
 *
 * A fragment stays in the browser. `?cell=12` before it is understood too, for links from elsewhere.
 */

import { useEffect, useState } from "preact/hooks";
import { EVERYTHING, type Filter } from "../gallery/arrangement";
import { SIDES } from "../gallery/Tools";
import { codeOf } from "../shared/classes";
import { NONE } from "../viewer/cells";
import type { Place } from "../viewer/slide";

export const TABS = ["cells", "slide", "overview"] as const;
export type Tab = (typeof TABS)[number];

export interface At {
  tab: Tab;
  /** The number of a cell. */
  cell: number | undefined;
  place: Place | undefined;
  filter: Filter;
  /** Side of the pictures in the gallery. */
  side: number;
}

/** Where the page is, and how it moves; `names` are the classes in the order of `/api/classes`. */
export function useAddress(names: readonly string[]): [At, (part: Partial<At>) => void] {
  const [at, setAt] = useState(() => readAt(location, names));
  useEffect(() => {
    const moved = () => setAt(readAt(location, names));
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, [names]);
  const change = (part: Partial<At>) =>
    setAt((before) => {
      const next = { ...before, ...part };
      history.replaceState(null, "", `${location.pathname}${writeAt(next, names)}`);
      return next;
    });
  return [at, change];
}

function readAt({ hash, search }: Location, names: readonly string[]): At {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const [x, y, resolution, side] = ["x", "y", "r", "size"].map((name) => number(given.get(name)));
  const shown = given.get("classes")?.split(",");
  const judged = given.get("judged");
  return {
    tab: TABS.find((name) => given.has(name)) ?? "cells",
    cell: number(given.get("cell") ?? new URLSearchParams(search).get("cell")),
    place: x !== undefined && y !== undefined && resolution ? { x, y, resolution } : undefined,
    filter: {
      hidden: shown ? new Set([NONE, ...names.keys()].filter((place) => !shown.includes(code(names[place])))) : EVERYTHING.hidden,
      needed: given.has("need"),
      judged: judged === "open" || judged === "done" ? judged : "any",
    },
    side: SIDES.find((size) => size === side) ?? 96,
  };
}

function writeAt({ tab, cell, place, filter, side }: At, names: readonly string[]): string {
  const parts: string[] = [tab];
  if (place) parts.push(`x=${place.x.toFixed(0)}`, `y=${place.y.toFixed(0)}`, `r=${place.resolution.toFixed(3)}`);
  if (filter.hidden.size) {
    parts.push(`classes=${[NONE, ...names.keys()].filter((number) => !filter.hidden.has(number)).map((number) => code(names[number])).join(",")}`);
  }
  if (filter.needed) parts.push("need");
  if (filter.judged !== "any") parts.push(`judged=${filter.judged}`);
  if (side !== 96) parts.push(`size=${side}`);
  if (cell !== undefined) parts.push(`cell=${cell}`);
  return `#${parts.join("&")}`;
}

const code = (name: string | undefined): string => (name === undefined ? "blind" : codeOf(name));

function number(text: string | null): number | undefined {
  const value = text === null ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** How a class is told apart without its colour: a code of two letters, and the shape of its lineage. */

import type { CellClass } from "./api";

export type Shape = "circle" | "triangle" | "square" | "diamond" | "cross" | "ring";

const SHAPES: [prefix: string, shape: Shape][] = [
  ["granulocytic", "circle"], ["monocytic", "triangle"], ["lymphoid", "square"], ["erythroid", "diamond"],
  ["blind", "ring"],
];

const CODES: Record<string, string> = {
  "myeloblast": "BL",
  "promyelocyte": "PM",
  "intermediate neutrophilic myelocyte": "MY",
  "late neutrophilic myelocyte": "MM",
  "band neutrophil": "BN",
  "segmented neutrophil": "SG",
  "eosinophil": "EO",
  "basophil": "BA",
  "promonocyte": "PO",
  "immature monocyte": "IM",
  "monocyte": "MO",
  "lymphocyte": "LY",
  "plasma cell": "PC",
  "early erythroblast": "E1",
  "intermediate erythroblast": "E2",
  "late erythroblast": "E3",
  "prolymphocyte": "PL",
  "atypical lymphocyte": "AL",
  "immature lymphocyte": "IL",
  "smudge cell": "SM",
  "apoptotic cell": "AP",
  "others": "OT",
};

/** How a cell is drawn whose class of the model is hidden until an expert chose one. */
export const BLIND = { name: "Blind review", color: "#6b7683", lineage: "blind" };

/** What a rejected cell becomes. */
export const ARTEFACT = "others";

export const codeOf = (name: string): string => CODES[name] ?? name.slice(0, 2).toUpperCase();

export const shapeOf = (lineage: string): Shape => SHAPES.find(([prefix]) => lineage.startsWith(prefix))?.[1] ?? "cross";

/** The outline of a shape in a box of 12, as an SVG path. */
export const SHAPE_PATHS: Record<Shape, string> = {
  circle: "M6 1a5 5 0 1 1 0 10a5 5 0 1 1 0-10z",
  triangle: "M6 .8L11.6 11H.4z",
  square: "M1.2 1.2h9.6v9.6H1.2z",
  diamond: "M6 .2L11.8 6L6 11.8L.2 6z",
  ring: "M6 .6a5.4 5.4 0 1 1 0 10.8a5.4 5.4 0 1 1 0-10.8zM6 3.4a2.6 2.6 0 1 0 0 5.2a2.6 2.6 0 1 0 0-5.2z",
  cross: "M3.2 1L6 3.8L8.8 1L11 3.2L8.2 6L11 8.8L8.8 11L6 8.2L3.2 11L1 8.8L3.8 6L1 3.2z",
};

const GROUPS: [title: string, lineages: string[]][] = [
  ["Granulocytic", ["granulocytic-neutrophil", "granulocytic-eosinophil", "granulocytic-basophil"]],
  ["Monocytic", ["monocytic"]],
  ["Lymphoid", ["lymphoid", "lymphoid-plasma"]],
  ["Erythroid", ["erythroid"]],
];

export interface Lineage {
  title: string;
  counted: boolean;
  /** Places in `/api/classes`. */
  members: number[];
}

/** The classes as a pathologist reads them: the counted ones by lineage, then those that are not part of the count. */
export function lineages(classes: CellClass[]): Lineage[] {
  const groups = GROUPS.map(([title, names]) => ({
    title,
    counted: true,
    members: places(classes, (one) => one.counted && names.includes(one.lineage)),
  }));
  groups.push({ title: "Not part of the count", counted: false, members: places(classes, (one) => !one.counted) });
  return groups.filter((group) => group.members.length > 0);
}

function places(classes: CellClass[], holds: (one: CellClass) => boolean): number[] {
  return classes.flatMap((one, place) => (holds(one) ? [place] : []));
}

/** The name where space is short. */
export const brief = (name: string): string => name.replace(/^intermediate /, "int. ");

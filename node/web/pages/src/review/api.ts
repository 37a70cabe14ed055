/** The review of a case, as `node/web/review.py` gives it. */

import { getJson, NodeError, sendJson, type Bundle, type Component } from "../shared/api";

export interface Count {
  total: number;
  components: Component[];
  me_ratio: number | null;
  me_definition: string;
  excluded: Record<string, number>;
}

export interface Alert {
  kind: "few_cells" | "excluded_lymphoid" | "blasts" | "rescreen" | "review";
  text: string;
  /** Empty when it is about no class. */
  class_name: string;
}

export interface Signature {
  by: string;
  full_name: string;
  at: string;
  revision: number;
  status: "F" | "C";
  reason: string;
}

export interface Review {
  run: number;
  /** Of the newest change. */
  version: number;
  revision: number;
  status: "P" | "F" | "C" | "X" | null;
  cells: number;
  /** Cells an expert must look at, and how many of them are open. */
  needed: number;
  open: number;
  reviewed: number;
  model: Count;
  expert: Count;
  alerts: Alert[];
  signed: Signature | null;
  changed_since_signed: boolean;
  /** Whether the case can be signed; who may is another question. */
  may_sign: boolean;
  blind: boolean;
  /** Cells whose class of the model is not shown yet; the counts leave them out. */
  hidden: number;
  bundle: Bundle | null;
  warnings: string[];
}

/** Why a cell must be looked at: bits of `need`. */
export const NEED = { probability: 1, lookAlike: 2, blind: 4, rescreen: 8 } as const;

export interface CellFacts {
  id: number;
  class_name: string | null;
  expert: string | null;
  probability: number | null;
  probabilities: Record<string, number>;
  box: [number, number, number, number];
  area_um2: number;
  diameter_um: number;
  /** Side of the square field the classifier saw, which `saliency` covers. */
  field_um: number;
  saliency: number[][] | null;
  history: { class_name: string | null; full_name: string; at: string }[];
  need: number;
  look_alikes: string[];
}

export interface Wish {
  cell: number;
  /** The version the change is made on. */
  seen: number;
  class_name: string | null;
}

export interface Made {
  cell: number;
  version: number;
  class_name: string | null;
}

export interface MadeBy extends Made {
  /** An account. */
  actor: string;
  full_name: string;
  at: string;
}

/** Someone else changed some of the cells first; nothing was stored. */
export class ConflictError extends NodeError {
  constructor(error: NodeError, readonly conflicts: MadeBy[]) {
    super(error.status, error.message, error.field, error.remedy, error.body);
  }
}

const root = (caseId: string): string => `/api/cases/${encodeURIComponent(caseId)}`;

export const readReview = (caseId: string, unattended = false): Promise<Review> =>
  getJson(`${root(caseId)}/review`, undefined, unattended);

export const readCell = (caseId: string, cell: number, signal: AbortSignal): Promise<CellFacts> =>
  getJson(`${root(caseId)}/cells/${cell}`, signal);

export const readChanges = (caseId: string, since: number): Promise<{ version: number; changes: MadeBy[] }> =>
  getJson(`${root(caseId)}/review/changes?since=${since}`, undefined, true);

export async function postChanges(
  caseId: string, run: number, changes: Wish[],
): Promise<{ version: number; changes: Made[]; review: Review }> {
  try {
    return await sendJson("POST", `${root(caseId)}/review/changes`, { run, changes });
  } catch (error) {
    const conflicts = error instanceof NodeError && error.status === 409 ? error.body["conflicts"] : undefined;
    if (Array.isArray(conflicts) && conflicts.length) throw new ConflictError(error as NodeError, conflicts as MadeBy[]);
    throw error;
  }
}

export const postSignature = (caseId: string, run: number, version: number, reason: string): Promise<Review> =>
  sendJson("POST", `${root(caseId)}/sign`, { run, version, ...(reason ? { reason } : {}) });

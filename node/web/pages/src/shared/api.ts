/** The node's JSON, as `node/web/api.py` gives it. */

export type CaseState =
  | "ordered" | "waiting" | "queued" | "running" | "delivering" | "reported" | "held" | "failed" | "cancelled";

export interface CaseRow {
  case_id: string;
  state: CaseState;
  priority: "S" | "A" | "R";
  accession_number: string;
  patient_id: string;
  patient_name: string;
  container_id: string;
  created_at: string;
  changed_at: string;
  cause: string;
  stage: string;
  progress: number;
  synthetic: boolean;
  alerts: string[];
  urgent: boolean;
}

export interface Worklist {
  rows: CaseRow[];
  total: number;
  counts: Partial<Record<CaseState, number>>;
}

export interface Patient {
  patient_id: string;
  issuer: string;
  name: string;
  birth_date: string | null;
  sex: string;
}

export interface EntityId {
  value: string;
  namespace: string;
}

export interface Order {
  patient: Patient;
  placer_order_number: EntityId | null;
  filler_order_number: EntityId | null;
  accession_number: string;
  container_ids: string[];
  specimen_ids: string[];
  specimen_type: string;
  test_code: string;
  test_name: string;
  priority: "S" | "A" | "R";
  collected_at: string | null;
  comments: string[];
}

export interface SlideInfo {
  study_instance_uid: string;
  series_instance_uid: string;
  container_identifier: string;
  specimen_identifier: string;
  accession_number: string;
  patient: Patient;
  size: [number, number];
  mpp: number;
  manufacturer: string;
  model_name: string;
  serial_number: string;
  acquired_at: string | null;
  synthetic: boolean;
}

export interface CaseEvent {
  at: string;
  state: CaseState;
  cause: string;
  actor: string;
}

export interface Delivery {
  destination: string;
  kind: string;
  state: string;
  attempts: number;
  last_error: string;
  changed_at: string;
  revision: number;
}

export interface FileLink {
  /** Whether it says what the model calls the cells, or counts them. */
  tells_classes: boolean;
  name: string;
  kind: string;
  media_type: string;
  revision: number;
  sop_instance_uid: string;
  series_instance_uid: string;
  size: number;
}

export type ActionName = "attach" | "accept" | "rerun" | "requeue" | "withdraw" | "cancel";

/** What can be done with a case now, by the person who asks. */
export interface Action {
  name: ActionName;
  label: string;
  effect: string;
  needs: ("slide" | "reason")[];
}

/** A slide that can be attached to a case. */
export interface FreeSlide {
  series_instance_uid: string;
  accession_number: string;
  container_id: string;
  patient_id: string;
  patient_name: string;
  received_at: string;
  problem: string;
  case_id: string | null;
}

export interface CaseDetail {
  row: CaseRow;
  order: Order | null;
  slides: SlideInfo[];
  status: "P" | "F" | "C" | "X" | null;
  revision: number;
  events: CaseEvent[];
  deliveries: Delivery[];
  files: FileLink[];
  actions: Action[];
}

export interface CellClass {
  name: string;
  icsh_name: string;
  lineage: string;
  counted: boolean;
  color: string;
}

export interface Component {
  name: string;
  count: number;
  percent: number;
  ci95: [number, number];
  flag: string;
}

/** Who is signed in. */
export interface Person {
  name: string;
  full_name: string;
  role: "viewer" | "reviewer" | "admin";
  demo: boolean;
}

/** Which locked model made a result, and the classes it cannot return. */
export interface Bundle {
  name: string;
  version: string;
  digest: string;
  unrecognised: string[];
}

/** The part of `result.json` the page of a case without a count reads. */
export interface NoResult {
  bundle: Bundle;
  warnings: string[];
  reason: string;
}

/** A refusal of the node: what is wrong, in which field, and the remedy; `body` is all it said. */
export class NodeError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly field: string,
    readonly remedy: string,
    readonly body: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

/** `unattended`: the page asks by itself, which must not keep a session open that nobody uses. */
export function getJson<T>(path: string, signal?: AbortSignal, unattended = false): Promise<T> {
  return ask(path, { ...(signal ? { signal } : {}), ...(unattended ? { headers: { "X-Unattended": "1" } } : {}) });
}

export function sendJson<T>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<T> {
  return ask(path, body === undefined ? { method } : { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

async function ask<T>(path: string, options: RequestInit): Promise<T> {
  const answer = await fetch(path, { ...options, headers: { Accept: "application/json", ...options.headers } }).catch((reason: Error) => {
    throw options.signal?.aborted ? reason : new Error("The node did not answer");
  });
  if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as T;
  if (answer.status === 401 && location.pathname !== "/signin") location.replace(signInUrl());
  const body = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
  const said = (name: string, otherwise: string) => (typeof body[name] === "string" ? body[name] : otherwise);
  throw new NodeError(answer.status, said("error", answer.statusText), said("field", ""), said("remedy", ""), body);
}

/** The sign-in page, which leads back here. */
export const signInUrl = (): string => `/signin?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`;

export function fileUrl(caseId: string, name: string, download = false): string {
  const path = `/api/cases/${encodeURIComponent(caseId)}/files/${encodeURIComponent(name)}`;
  return download ? `${path}?download=true` : path;
}

export const trainingDataUrl = (caseId: string): string => `/api/cases/${encodeURIComponent(caseId)}/training-data`;

export const caseUrl = (caseId: string): string => `/cases/${encodeURIComponent(caseId)}`;

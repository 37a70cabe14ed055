/** State, priority and progress of a case: always a word or a shape beside the colour. */

import type { CaseRow, CaseState } from "./api";
import { capital } from "./format";

const SHAPES: Record<CaseState, string> = {
  ordered: "M8 3.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9z",
  waiting: "M8 3.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM8 5.5V8l1.8 1.4",
  queued: "M3.5 5h9M3.5 8h9M3.5 11h9",
  running: "M5.5 3.5l6 4.5-6 4.5z",
  delivering: "M3 8h9M8.5 4.5L12 8l-3.5 3.5",
  reported: "M3.5 8.5l3 3 6-7",
  held: "M6 4v8M10 4v8",
  failed: "M4 4l8 8M12 4l-8 8",
  cancelled: "M4 8h8",
};

export const STATES = Object.keys(SHAPES) as CaseState[];

export function StateBadge({ state }: { state: CaseState }) {
  return (
    <span class={`state state-${state}`}>
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d={SHAPES[state]} /></svg>
      {capital(state)}
    </span>
  );
}

const PRIORITIES = { S: "STAT", A: "ASAP", R: "Routine" } as const;

export function PriorityTag({ priority }: { priority: CaseRow["priority"] }) {
  return <span class={`priority priority-${priority}`}>{PRIORITIES[priority]}</span>;
}

const STAGES: Record<string, string> = {
  quality: "Checking quality", regions: "Finding regions", tiles: "Choosing tiles", cells: "Finding cells",
  classes: "Classifying cells", count: "Counting", encode: "Writing results", deliver: "Delivering", sign: "Making the signed result",
};

export function Progress({ row }: { row: CaseRow }) {
  const done = Math.round(Math.min(1, Math.max(0, row.progress)) * 100);
  const label = STAGES[row.stage] ?? (row.stage ? capital(row.stage) : row.state === "delivering" ? "Delivering" : "Starting");
  return (
    <span class="progress">
      <span class="progress-track" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={done}>
        <span class="progress-fill" style={{ width: `${done}%` }} />
      </span>
      <span class="progress-text">{label} <span class="number">{done} %</span></span>
    </span>
  );
}

/** True while a bar says more than the state alone. */
export const isActive = (row: CaseRow): boolean => row.state === "running" || row.state === "delivering";

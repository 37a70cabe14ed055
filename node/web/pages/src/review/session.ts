/**
 * One reviewer at work on one case: changes show at once, are sent one after the other, and can be undone.
 *
 * A change carries the version of each cell it was made on. Where someone else was first the node stores nothing: the
 * cells go back, theirs are shown, and `conflict` asks what to do.
 */

import { useEffect, useState } from "preact/hooks";
import { CellTable, NONE } from "../viewer/cells";
import { ConflictError, postChanges, postSignature, readChanges, readReview, type MadeBy, type Review } from "./api";

const MOST_AT_ONCE = 10_000; // the node takes no more in one request

interface Move {
  index: number;
  /** Places in `/api/classes`; NONE is the model's. */
  from: number;
  to: number;
}

type Step = Move[];

export interface Conflict {
  step: Step;
  theirs: MadeBy[];
}

export class ReviewSession {
  conflict: Conflict | undefined;
  /** Why a change was not stored, or the case could not be read. */
  failure: Error | undefined;
  /** What others did, to be read out. */
  notice = "";
  private readonly undos: Step[] = [];
  private readonly redos: Step[] = [];
  private readonly pending = new Map<number, number>();
  private readonly watchers = new Set<() => void>();
  private work: Promise<void> = Promise.resolve();
  private awaited = 0;
  private refreshing = false;
  private synced: number;

  private constructor(
    private readonly caseId: string,
    readonly cells: CellTable,
    readonly names: readonly string[],
    public review: Review,
  ) {
    this.synced = review.version;
  }

  static async open(caseId: string, names: readonly string[]): Promise<ReviewSession> {
    const review = await readReview(caseId); // first: what changes while the cells are read comes again by `refresh`
    return new ReviewSession(caseId, await CellTable.load(caseId), names, review);
  }

  /** True while changes are on their way. */
  get saving(): boolean {
    return this.awaited > 0;
  }

  get canUndo(): boolean {
    return this.undos.length > 0;
  }

  get canRedo(): boolean {
    return this.redos.length > 0;
  }

  /** Sets the expert's class of some cells; the class they have already confirms it. */
  set(indices: Iterable<number>, to: number): void {
    const step = [...indices]
      .map((index) => ({ index, from: this.cells.expert[index]!, to }))
      .filter((move) => move.from !== move.to);
    this.make(step);
  }

  /** Confirms the class each of the cells has; a hidden one cannot be confirmed. */
  confirm(indices: Iterable<number>): void {
    const step = [...indices]
      .filter((index) => this.cells.expert[index] === NONE && this.cells.shown[index] !== NONE)
      .map((index) => ({ index, from: NONE, to: this.cells.shown[index]! }));
    this.make(step);
  }

  /** Undoes the last step; returns the cells it was about. */
  undo(): number[] {
    return this.replay(this.undos, this.redos);
  }

  redo(): number[] {
    return this.replay(this.redos, this.undos);
  }

  /** Ends a conflict: theirs stay and the rest of the step is made, or the whole step is made on top of theirs. */
  resolve(choice: "theirs" | "mine"): void {
    const conflict = this.conflict;
    if (!conflict) return;
    this.conflict = undefined;
    const taken = new Set(conflict.theirs.map((change) => change.cell));
    const again = conflict.step
      .filter((move) => choice === "mine" || !taken.has(this.cells.id[move.index]!))
      .map((move) => ({ ...move, from: this.cells.expert[move.index]! }))
      .filter((move) => move.from !== move.to);
    this.make(again);
    this.tell();
  }

  dismiss(): void {
    this.failure = undefined;
    this.notice = "";
    this.tell();
  }

  /** Takes in what other reviewers did; called when the node says that the case changed. */
  refresh(): void {
    if (this.refreshing) return;
    this.refreshing = true;
    this.enqueue(async () => {
      this.refreshing = false;
      const { version, changes } = await readChanges(this.caseId, this.synced);
      this.synced = Math.max(this.synced, version);
      const foreign = changes.filter((change) => this.takeIn(change));
      if (foreign.some((change) => this.isHidden(change.cell))) await this.reload();
      if (foreign.length) this.notice = said(foreign);
      await this.show(await readReview(this.caseId, true));
    });
  }

  /** Signs what is shown; resolves when the node has taken the signature. */
  async sign(reason: string): Promise<void> {
    await this.work;
    await this.show(await postSignature(this.caseId, this.review.run, this.review.version, reason));
    this.tell();
  }

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  private make(step: Step): void {
    for (let at = 0; at < step.length; at += MOST_AT_ONCE) {
      const part = step.slice(at, at + MOST_AT_ONCE);
      this.undos.push(part);
      this.send(part);
    }
    if (step.length) this.redos.length = 0;
  }

  private replay(from: Step[], to: Step[]): number[] {
    const step = from.pop();
    if (!step) return [];
    const back = step.map((move) => ({ ...move, from: move.to, to: move.from }));
    to.push(back);
    this.send(back);
    return step.map((move) => move.index);
  }

  private send(step: Step): void {
    for (const { index, to } of step) {
      this.cells.judge(index, to);
      this.pending.set(index, (this.pending.get(index) ?? 0) + 1);
    }
    this.notice = "";
    this.failure = undefined;
    this.enqueue(async () => {
      try {
        await this.store(step);
      } catch (error) {
        this.giveUp(step, error as Error);
      } finally {
        for (const { index } of step) this.release(index);
      }
    });
  }

  private async store(step: Step): Promise<void> {
    const { cells } = this;
    const wishes = step.map(({ index, to }) => ({
      cell: cells.id[index]!, seen: cells.version[index]!, class_name: to === NONE ? null : this.names[to]!,
    }));
    const answer = await postChanges(this.caseId, cells.run, wishes);
    for (const { cell, version } of answer.changes) cells.version[cells.indexOf(cell)!] = version;
    for (const { index, to } of step) if (this.pending.get(index) === 1) cells.judge(index, to);
    this.review = answer.review;
    if (step.some(({ index }) => cells.model[index] === NONE)) await this.reload();
  }

  /** Takes a step back that was not stored, and offers to make it again where someone was first. */
  private giveUp(step: Step, error: Error): void {
    for (const { index, from } of step) this.cells.judge(index, from);
    for (const stack of [this.undos, this.redos]) {
      const kept = stack.filter((other) => !other.some((move) => step.some(({ index }) => index === move.index)));
      stack.splice(0, stack.length, ...kept);
    }
    if (!(error instanceof ConflictError)) {
      this.failure = error;
      return;
    }
    for (const change of error.conflicts) {
      const index = this.cells.indexOf(change.cell)!;
      this.cells.judge(index, this.placeOf(change.class_name));
      this.cells.version[index] = change.version;
    }
    const { step: other = [], theirs = [] } = this.conflict ?? {};
    this.conflict = { step: [...other, ...step], theirs: [...theirs, ...error.conflicts] };
  }

  /** True when the change is news; a cell with an own change on the way keeps it until the node has answered. */
  private takeIn(change: MadeBy): boolean {
    const index = this.cells.indexOf(change.cell);
    if (index === undefined || this.cells.version[index]! >= change.version || this.pending.has(index)) return false;
    this.cells.version[index] = change.version;
    this.cells.judge(index, this.placeOf(change.class_name));
    return true;
  }

  /** Takes in a review; a signature shows what blind review still hid. */
  private async show(review: Review): Promise<void> {
    this.review = review;
    if (review.run === this.cells.run && review.hidden === 0 && this.cells.model.includes(NONE)) await this.reload();
  }

  private async reload(): Promise<void> {
    const same = await this.cells.refresh(this.caseId);
    if (!same) throw new Error("The case has been analysed again: reload the page");
  }

  private isHidden(cell: number): boolean {
    return this.cells.model[this.cells.indexOf(cell)!] === NONE;
  }

  private placeOf(name: string | null): number {
    return name === null ? NONE : this.names.indexOf(name);
  }

  private release(index: number): void {
    const left = this.pending.get(index)! - 1;
    if (left) this.pending.set(index, left);
    else this.pending.delete(index);
  }

  private enqueue(task: () => Promise<void>): void {
    this.awaited++;
    this.tell();
    this.work = this.work.then(task).catch((error: Error) => {
      this.failure = error;
    }).then(() => {
      this.awaited--;
      this.tell();
    });
  }

  private tell(): void {
    for (const watcher of this.watchers) watcher();
  }
}

/** Draws again with each change of the session; the number grows with each. */
export function useSession(session: ReviewSession | undefined): number {
  const [changes, setChanges] = useState(0);
  useEffect(() => session?.watch(() => setChanges((number) => number + 1)), [session]);
  return changes;
}

function said(changes: MadeBy[]): string {
  const people = [...new Set(changes.map((change) => change.full_name))].join(" and ");
  return `${people} changed ${changes.length === 1 ? "one cell" : `${changes.length} cells`}`;
}

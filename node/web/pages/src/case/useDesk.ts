/** What is looked at and chosen on the desk, and what can be done with it. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { arrange, byDoubt, type Arrangement, type Filter } from "../gallery/arrangement";
import { following, NOTHING, only, several, type Selection } from "../gallery/selection";
import { useSession, type ReviewSession } from "../review/session";
import type { CellClass } from "../shared/api";
import { ARTEFACT, lineages } from "../shared/classes";
import { useAddress, type At } from "./address";
import type { Actions } from "./shortcuts";

export interface Desk {
  at: At;
  change: (part: Partial<At>) => void;
  /** Grows with each change of the session. */
  changes: number;
  arrangement: Arrangement | undefined;
  selection: Selection;
  select: (selection: Selection) => void;
  /** The next or the previous cell in the order of the gallery. */
  step: (step: -1 | 1) => void;
  /** Gives cells a class, as a place in `/api/classes`, and goes on to the cell after them. */
  judge: (chosen: ReadonlySet<number>, to: number) => void;
  actions: Actions;
}

export function useDesk(classes: CellClass[], session: ReviewSession | undefined, editable: boolean): Desk {
  const changes = useSession(session);
  const names = useMemo(() => classes.map((one) => one.name), [classes]);
  const [at, change] = useAddress(names);
  const arrangement = useArrangement(session, classes, at.filter, changes);
  const [selection, setSelection] = useState<Selection>(NOTHING);
  const cells = session?.cells;

  useEffect(() => {
    const index = at.cell === undefined ? undefined : cells?.indexOf(at.cell);
    if (index !== selection.cursor) setSelection(index === undefined ? NOTHING : only(index));
  }, [cells, at.cell]);
  const select = (next: Selection) => {
    setSelection(next);
    change({ cell: next.cursor === undefined ? undefined : cells?.id[next.cursor] });
  };
  const step = (by: -1 | 1) => {
    if (!arrangement?.order.length) return;
    const place = selection.cursor === undefined ? -1 : arrangement.placeOf[selection.cursor]!;
    select(only(arrangement.order[Math.min(Math.max(place + by, 0), arrangement.order.length - 1)]!));
  };

  /** Does something to cells that moves them, and goes on to the cell after them. */
  const work = (chosen: ReadonlySet<number>, act: (review: ReviewSession) => void) => {
    if (!session || !editable || !chosen.size) return;
    const next = arrangement && following(arrangement, chosen);
    select(next === undefined ? NOTHING : only(next));
    act(session);
  };
  const judge = (chosen: ReadonlySet<number>, to: number) => {
    if (to >= 0) work(chosen, (review) => review.set(chosen, to));
  };
  const { chosen, cursor } = selection;
  const actions: Actions = {
    judge: (name) => judge(chosen, names.indexOf(name)),
    confirm: () => work(chosen, (review) => review.confirm(chosen)),
    reject: () => judge(chosen, names.indexOf(ARTEFACT)),
    undo: () => { if (session && editable) select(several(session.undo())); },
    redo: () => { if (session && editable) select(several(session.redo())); },
    clear: () => select(NOTHING),
    elsewhere: () => { if (cursor !== undefined) change({ tab: at.tab === "cells" ? "slide" : "cells" }); },
  };
  return { at, change, changes, arrangement, selection, select, step, judge, actions };
}

function useArrangement(session: ReviewSession | undefined, classes: CellClass[], filter: Filter, changes: number): Arrangement | undefined {
  const cells = session?.cells;
  const doubt = useMemo(() => cells && byDoubt(cells), [cells, cells?.revision]);
  const sequence = useMemo(() => lineages(classes).flatMap((group) => group.members), [classes]);
  return useMemo(() => cells && doubt && arrange(cells, doubt, sequence, filter), [cells, doubt, sequence, filter, changes]);
}

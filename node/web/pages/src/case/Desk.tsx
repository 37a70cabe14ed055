/** Where a case is reviewed: cells, slide and overview on the left, the count on the right, one cell below. */

import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { arrange, byDoubt, type Arrangement, type Filter } from "../gallery/arrangement";
import { Gallery } from "../gallery/Gallery";
import { following, NOTHING, only, several, type Selection } from "../gallery/selection";
import { Tools } from "../gallery/Tools";
import { ConflictDialog } from "../review/ConflictDialog";
import { CellPane } from "../review/CellPane";
import { CountPanel } from "../review/CountPanel";
import { keyCaps, storedLayout, storeLayout, type KeyLayout } from "../review/keys";
import { useSession, type ReviewSession } from "../review/session";
import { SignDialog } from "../review/SignDialog";
import type { CaseDetail, CellClass } from "../shared/api";
import { ARTEFACT, lineages } from "../shared/classes";
import { Refusal } from "../shared/Refusal";
import { usePerson } from "../shared/Session";
import { Viewer } from "../viewer/Viewer";
import { TABS, useAddress, type Tab } from "./address";
import { Overview } from "./Parts";
import { ReviewTools } from "./ReviewTools";
import { useReviewKeys } from "./shortcuts";

interface Props {
  detail: CaseDetail;
  classes: CellClass[];
  /** Whether there is a review, or will be as soon as it is read. */
  counted: boolean;
  session: ReviewSession | undefined;
  /** Stands in the place of the count when there is none. */
  instead: ComponentChildren;
}

const TITLES: Record<Tab, string> = { cells: "Cells", slide: "Slide", overview: "Overview" };

export function Desk({ detail, classes, counted, session, instead }: Props) {
  const changes = useSession(session);
  const person = usePerson();
  const names = useMemo(() => classes.map((one) => one.name), [classes]);
  const [at, change] = useAddress(names);
  const arrangement = useArrangement(session, classes, at.filter, changes);
  const [selection, setSelection] = useState<Selection>(NOTHING);
  const [layout, caps, setLayout] = useKeys();
  const [asking, setAsking] = useState(false);
  const [seenSlide, setSeenSlide] = useState(false);
  const cells = session?.cells;
  const editable = session !== undefined && person !== undefined && person.role !== "viewer";
  const tab = at.tab === "cells" && !counted ? "slide" : at.tab;
  if (tab === "slide" && !seenSlide) setSeenSlide(true);

  useEffect(() => {
    const index = at.cell === undefined ? undefined : cells?.indexOf(at.cell);
    if (index !== selection.cursor) setSelection(index === undefined ? NOTHING : only(index));
  }, [cells, at.cell]);

  const select = (next: Selection) => {
    setSelection(next);
    change({ cell: next.cursor === undefined ? undefined : cells?.id[next.cursor] });
  };
  const moveOn = (chosen: ReadonlySet<number>) => {
    const next = arrangement && following(arrangement, chosen);
    select(next === undefined ? NOTHING : only(next));
  };
  const judge = (chosen: ReadonlySet<number>, to: number) => {
    if (!editable || !chosen.size || to < 0) return;
    moveOn(chosen);
    session.set(chosen, to);
  };
  const actions = {
    judge: (name: string) => judge(selection.chosen, names.indexOf(name)),
    confirm: () => {
      if (!editable || !selection.chosen.size) return;
      moveOn(selection.chosen);
      session.confirm(selection.chosen);
    },
    reject: () => judge(selection.chosen, names.indexOf(ARTEFACT)),
    undo: () => { if (editable) select(several(session.undo())); },
    redo: () => { if (editable) select(several(session.redo())); },
    clear: () => select(NOTHING),
    elsewhere: () => { if (selection.cursor !== undefined) change({ tab: tab === "cells" ? "slide" : "cells" }); },
  };
  useReviewKeys(layout, actions);
  const stepTo = (step: -1 | 1) => {
    if (!arrangement?.order.length) return;
    const place = selection.cursor === undefined ? -1 : arrangement.placeOf[selection.cursor]!;
    const next = arrangement.order[Math.min(Math.max(place + step, 0), arrangement.order.length - 1)];
    if (next !== undefined) select(only(next));
  };
  const setHidden = (hidden: ReadonlySet<number>) => change({ filter: { ...at.filter, hidden } });

  return (
    <div class="desk">
      <section class="card workbench" aria-label="Slide and cells">
        <div class="bench-head">
          <div class="tabs" role="tablist">
            {TABS.filter((one) => counted || one !== "cells").map((one) => (
              <button key={one} type="button" role="tab" id={`tab-${one}`} aria-selected={tab === one} aria-controls="tab-panel" onClick={() => change({ tab: one })}>{TITLES[one]}</button>
            ))}
          </div>
          {session && <ReviewTools session={session} editable={editable} chosen={selection.chosen.size} actions={actions} />}
        </div>
        {session?.failure && (
          <div class="bench-failure">
            <Refusal error={session.failure} />
            <button type="button" class="button" onClick={() => session.dismiss()}>Close</button>
          </div>
        )}
        <div class="tab-panel" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`}>
          {tab === "overview" && <Overview detail={detail} />}
          {tab === "cells" && session && arrangement && (
            <div class="gallery-panel">
              <Tools filter={at.filter} side={at.side} shown={arrangement.order.length} all={session.cells.count} needed={session.review.needed} onFilter={(filter) => change({ filter })} onSide={(side) => change({ side })} />
              <Gallery caseId={detail.row.case_id} cells={session.cells} classes={classes} arrangement={arrangement} selection={selection} side={at.side} changes={changes} editable={editable} onSelect={select} onShow={() => change({ tab: "slide" })} />
            </div>
          )}
          {seenSlide && (session || !counted) && (
            <div class={tab === "slide" ? "slide-panel" : "slide-panel slide-away"}>
              <Viewer detail={detail} classes={classes} cells={cells} changes={changes} hidden={at.filter.hidden} selection={selection} active={tab === "slide"} start={at.place} onSelect={select} onStep={stepTo} onRest={(place) => change({ place })} />
            </div>
          )}
        </div>
        {session && selection.cursor !== undefined && tab !== "overview" && (
          <CellPane caseId={detail.row.case_id} cells={session.cells} classes={classes} index={selection.cursor} chosen={selection.chosen.size} elsewhere={tab === "cells" ? "Show on the slide" : "Show among the cells"} onElsewhere={actions.elsewhere} onClose={actions.clear} />
        )}
      </section>
      {session ? (
        <CountPanel
          review={session.review} classes={classes} layout={layout} caps={caps} hidden={at.filter.hidden}
          delivering={detail.row.state === "delivering"} editable={editable}
          onHidden={setHidden} onLayout={setLayout} onSign={() => setAsking(true)}
          onDrop={editable ? (ids, shown) => judge(new Set(ids.map((id) => session.cells.indexOf(id)!)), shown) : undefined}
          onNeeded={() => change({ tab: "cells", filter: { hidden: new Set(), needed: true, judged: "open" } })}
        />
      ) : instead}
      {session?.conflict && <ConflictDialog conflict={session.conflict} cells={session.cells} classes={classes} onChoose={(choice) => session.resolve(choice)} />}
      {asking && session && person && (
        <SignDialog detail={detail} classes={classes} session={session} person={person} onClose={() => setAsking(false)} onSigned={() => setAsking(false)} />
      )}
    </div>
  );
}

function useArrangement(session: ReviewSession | undefined, classes: CellClass[], filter: Filter, changes: number): Arrangement | undefined {
  const cells = session?.cells;
  const doubt = useMemo(() => cells && byDoubt(cells), [cells, cells?.revision]);
  const sequence = useMemo(() => lineages(classes).flatMap((group) => group.members), [classes]);
  return useMemo(() => cells && doubt && arrange(cells, doubt, sequence, filter), [cells, doubt, sequence, filter, changes]);
}

/** The layout of the class keys, kept in this browser, and what is printed on them. */
function useKeys(): [KeyLayout, Record<string, string>, (layout: KeyLayout) => void] {
  const [layout, setLayout] = useState(storedLayout);
  const [caps, setCaps] = useState<Record<string, string>>({});
  useEffect(() => void keyCaps(layout).then(setCaps), [layout]);
  const choose = (next: KeyLayout) => {
    storeLayout(next);
    setLayout(next);
  };
  return [layout, caps, choose];
}

/** Where a case is reviewed: cells, slide and overview on the left, the count on the right, one cell below. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Gallery } from "../gallery/Gallery";
import { Tools } from "../gallery/Tools";
import { CellPane } from "../review/CellPane";
import { ConflictDialog } from "../review/ConflictDialog";
import { CountPanel } from "../review/CountPanel";
import { keyCaps, storedLayout, storeLayout, type KeyLayout } from "../review/keys";
import type { ReviewSession } from "../review/session";
import { SignDialog } from "../review/SignDialog";
import type { CaseDetail, CellClass } from "../shared/api";
import { Refusal } from "../shared/Refusal";
import { usePerson } from "../shared/Session";
import { Viewer } from "../viewer/Viewer";
import { TABS, type Tab } from "./address";
import { Overview } from "./Parts";
import { ReviewTools } from "./ReviewTools";
import { useReviewKeys } from "./shortcuts";
import { useDesk, type Desk as Shown } from "./useDesk";

interface Props {
  detail: CaseDetail;
  classes: CellClass[];
  /** Whether there is a review, or will be as soon as it is read. */
  counted: boolean;
  session: ReviewSession | undefined;
  /** Stands in the place of the count when there is none. */
  instead: ComponentChildren;
}

export function Desk({ detail, classes, counted, session, instead }: Props) {
  const person = usePerson();
  const editable = session !== undefined && person !== undefined && person.role !== "viewer";
  const desk = useDesk(classes, session, editable);
  const [layout, caps, setLayout] = useKeys();
  const [asking, setAsking] = useState(false);
  useReviewKeys(layout, desk.actions);
  const { filter } = desk.at;
  return (
    <div class="desk">
      <Workbench detail={detail} classes={classes} counted={counted} session={session} editable={editable} desk={desk} />
      {session ? (
        <CountPanel
          review={session.review} classes={classes} layout={layout} caps={caps} hidden={filter.hidden}
          delivering={detail.row.state === "delivering"} editable={editable}
          onHidden={(hidden) => desk.change({ filter: { ...filter, hidden } })} onLayout={setLayout} onSign={() => setAsking(true)}
          onDrop={editable ? (ids, shown) => desk.judge(new Set(ids.map((id) => session.cells.indexOf(id)!)), shown) : undefined}
          onNeeded={() => desk.change({ tab: "cells", filter: { hidden: new Set(), needed: true, judged: "open" } })}
        />
      ) : instead}
      {session?.conflict && <ConflictDialog conflict={session.conflict} cells={session.cells} classes={classes} onChoose={(choice) => session.resolve(choice)} />}
      {asking && session && person && (
        <SignDialog detail={detail} classes={classes} session={session} person={person} onClose={() => setAsking(false)} onSigned={() => setAsking(false)} />
      )}
    </div>
  );
}

interface BenchProps extends Omit<Props, "instead"> {
  editable: boolean;
  desk: Shown;
}

const TITLES: Record<Tab, string> = { cells: "Cells", slide: "Slide", overview: "Overview" };

function Workbench({ detail, classes, counted, session, editable, desk }: BenchProps) {
  const { at, change, changes, arrangement, selection, select, actions } = desk;
  const [seenSlide, setSeenSlide] = useState(false); // it stays open behind the other tabs
  const withheld = (session?.review.hidden ?? 0) > 0;
  const tab = at.tab === "cells" && !counted ? "slide" : at.tab;
  if (tab === "slide" && !seenSlide) setSeenSlide(true);
  return (
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
        {tab === "overview" && <Overview detail={detail} withheld={withheld} />}
        {tab === "cells" && session && arrangement && (
          <div class="gallery-panel">
            <Tools filter={at.filter} side={at.side} shown={arrangement.order.length} all={session.cells.count} needed={session.review.needed} onFilter={(filter) => change({ filter })} onSide={(side) => change({ side })} />
            <Gallery caseId={detail.row.case_id} cells={session.cells} classes={classes} arrangement={arrangement} selection={selection} side={at.side} changes={changes} editable={editable} onSelect={select} onShow={() => change({ tab: "slide" })} />
          </div>
        )}
        {seenSlide && (session || !counted) && (
          <div class={tab === "slide" ? "slide-panel" : "slide-panel slide-away"}>
            <Viewer detail={detail} classes={classes} cells={session?.cells} withheld={withheld} changes={changes} hidden={at.filter.hidden} selection={selection} active={tab === "slide"} start={at.place} onSelect={select} onStep={desk.step} onRest={(place) => change({ place })} />
          </div>
        )}
      </div>
      {session && selection.cursor !== undefined && tab !== "overview" && (
        <CellPane caseId={detail.row.case_id} cells={session.cells} classes={classes} index={selection.cursor} chosen={selection.chosen.size} elsewhere={tab === "cells" ? "Show on the slide" : "Show among the cells"} onElsewhere={actions.elsewhere} onClose={actions.clear} />
      )}
    </section>
  );
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

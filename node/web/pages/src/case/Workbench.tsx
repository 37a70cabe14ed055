/** The slide, the cells and the overview of a case, one at a time; which one and where is in the address. */

import { useEffect, useState } from "preact/hooks";
import type { CaseDetail, CellClass } from "../shared/api";
import { CellTable } from "../viewer/cells";
import type { Place } from "../viewer/slide";
import { Viewer } from "../viewer/Viewer";
import { readPlace, writePlace, type Tab } from "./address";
import { Overview } from "./Parts";

const TABS: [Tab, string][] = [["slide", "Slide"], ["overview", "Overview"]];

export function Workbench({ detail, classes }: { detail: CaseDetail; classes: CellClass[] }) {
  const [at, setAt] = useState(() => readPlace(location.hash));
  const { cells, ready } = useCells(detail);
  useEffect(() => {
    const moved = () => setAt(readPlace(location.hash));
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const change = (part: Partial<typeof at>) => {
    const next = { ...at, ...part };
    setAt(next);
    history.replaceState(null, "", writePlace(next));
  };
  return (
    <section class="card workbench" aria-label="Slide and cells">
      <div class="tabs" role="tablist">
        {TABS.map(([tab, title]) => (
          <button key={tab} type="button" role="tab" id={`tab-${tab}`} aria-selected={at.tab === tab} aria-controls="tab-panel" onClick={() => change({ tab })}>{title}</button>
        ))}
      </div>
      <div class="tab-panel" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${at.tab}`}>
        {at.tab === "overview" && <Overview detail={detail} />}
        {at.tab === "slide" && ready && classes.length > 0 && (
          <Viewer
            detail={detail}
            classes={classes}
            cells={cells}
            selected={at.cell}
            start={at.place}
            onSelect={(cell) => change({ cell })}
            onRest={(place: Place) => change({ place })}
          />
        )}
      </div>
    </section>
  );
}

/** The cells of the case; none when it has not been counted. */
function useCells(detail: CaseDetail) {
  const [cells, setCells] = useState<CellTable>();
  const [ready, setReady] = useState(false);
  const counted = detail.files.some((file) => file.kind === "RESULT");
  useEffect(() => {
    if (!counted) return setReady(true);
    CellTable.load(detail.row.case_id).then(setCells, () => setCells(undefined)).finally(() => setReady(true));
    return undefined;
  }, [detail.row.case_id, counted, detail.revision]);
  return { cells, ready };
}

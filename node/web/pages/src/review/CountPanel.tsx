/** The count of the case: progress of the review, alerts, signature and the table. */

import type { ComponentChildren } from "preact";
import { allBut } from "../gallery/arrangement";
import type { CellClass } from "../shared/api";
import { count, dateTime } from "../shared/format";
import type { Alert, Review } from "./api";
import { CountTable } from "./CountTable";
import { LAYOUTS, type KeyLayout } from "./keys";

interface Props {
  review: Review;
  classes: CellClass[];
  layout: KeyLayout;
  caps: Record<string, string>;
  hidden: ReadonlySet<number>;
  /** Whether a result is being made or sent. */
  delivering: boolean;
  editable: boolean;
  onHidden: (hidden: Set<number>) => void;
  onLayout: (layout: KeyLayout) => void;
  onDrop: ((ids: number[], shown: number) => void) | undefined;
  onNeeded: () => void;
  onSign: () => void;
}

export function CountPanel(props: Props) {
  const { review, classes, hidden, layout } = props;
  const only = (names: string[]) => props.onHidden(allBut(classes.flatMap((one, place) => (names.includes(one.name) ? [place] : [])), classes.length));
  return (
    <section class="card count-panel" aria-labelledby="differential-title">
      <div class="count-head">
        <h2 id="differential-title">Differential count</h2>
        <label class="keys">
          Keys
          <select value={layout.id} onChange={(event) => props.onLayout(LAYOUTS.find((one) => one.id === event.currentTarget.value)!)}>
            {LAYOUTS.map((one) => <option key={one.id} value={one.id}>{one.title}</option>)}
          </select>
        </label>
        <Sign {...props} />
      </div>
      <Figures review={review} onNeeded={props.onNeeded} />
      <Alerts alerts={review.alerts} onClasses={only} />
      <div class="count-scroll" tabIndex={0} role="region" aria-label="Counts by class">
        <CountTable classes={classes} model={review.model} expert={review.expert} alerts={review.alerts} unseen={review.hidden} caps={props.caps} hidden={hidden} onHidden={props.onHidden} onDrop={props.onDrop} />
      </div>
    </section>
  );
}

function Sign({ review, delivering, editable, onSign }: Props) {
  const { signed, changed_since_signed: changed } = review;
  return (
    <>
      {signed && !changed && <span class="tag tag-good" title={`${dateTime(signed.at)}${signed.reason && `, ${signed.reason}`}`}>Signed by {signed.full_name || signed.by}{delivering && ", the result is on its way"}</span>}
      {signed && changed && <span class="tag tag-care">Changed since signed</span>}
      {review.may_sign && editable && (!signed || changed) && <button type="button" class="primary" onClick={onSign}>{signed ? "Sign correction…" : "Sign…"}</button>}
    </>
  );
}

function Figures({ review, onNeeded }: { review: Review; onNeeded: () => void }) {
  const { needed, open, model, expert } = review;
  const done = needed ? (needed - open) / needed : 1;
  return (
    <div class="figures">
      <p class="figure"><b class="number">{count(expert.total)}</b><span>cells counted</span></p>
      <p class="figure" title={`M:E = ${expert.me_definition}`}>
        <b class="number">{ratio(expert.me_ratio)}</b>
        <span>M:E{ratio(model.me_ratio) !== ratio(expert.me_ratio) && <span class="number"> (model {ratio(model.me_ratio)})</span>}</span>
      </p>
      <div class="figure review-progress">
        <span class="progress-track" role="progressbar" aria-label="Mandatory reviews" aria-valuemin={0} aria-valuemax={needed} aria-valuenow={needed - open}>
          <span class="progress-fill" style={{ width: `${done * 100}%` }} />
        </span>
        {open ? (
          <button type="button" class="link" onClick={onNeeded}><span class="number">{count(open)} of {count(needed)}</span> mandatory reviews open</button>
        ) : (
          <span>{needed ? `All ${count(needed)} mandatory reviews done` : "No mandatory review"}</span>
        )}
      </div>
    </div>
  );
}

/** The mandatory reviews have a bar of their own, and each class to be rescreened a mark in the table. */
function Alerts({ alerts, onClasses }: { alerts: Alert[]; onClasses: (names: string[]) => void }) {
  const unsure = alerts.filter((alert) => alert.kind === "rescreen").map((alert) => alert.class_name);
  const others = alerts.filter((alert) => alert.kind !== "rescreen" && alert.kind !== "review");
  if (!unsure.length && !others.length) return null;
  return (
    <ul class="alerts" aria-label="Alerts">
      {others.map((alert) => <Line key={alert.kind} bad={alert.kind === "blasts"}>{alert.text}</Line>)}
      {unsure.length > 0 && (
        <Line bad={false}>
          The model is unsure of {unsure.length === 1 ? unsure[0] : `${unsure.length} classes`} as a whole: look through all of {unsure.length === 1 ? "its" : "their"} cells.{" "}
          <button type="button" class="link" onClick={() => onClasses(unsure)}>Show them</button>
        </Line>
      )}
    </ul>
  );
}

function Line({ bad, children }: { bad: boolean; children: ComponentChildren }) {
  return (
    <li class={bad ? "alert-bad" : ""}>
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 2.2L14.6 13.6H1.4zM8 6.4v3.4M8 11.7v.1" /></svg>
      <span>{children}</span>
    </li>
  );
}

const ratio = (value: number | null): string => (value === null ? "–" : `${value.toFixed(1)} : 1`);

/** What is signed, by whom, and the reason when mandatory reviews are open. */

import { useState } from "preact/hooks";
import type { CaseDetail, CellClass, Person } from "../shared/api";
import { brief, codeOf, lineages } from "../shared/classes";
import { capital, count, percent, personName } from "../shared/format";
import { Refusal } from "../shared/Refusal";
import { Swatch } from "../shared/Swatch";
import { Dialog } from "../shared/Dialog";
import type { ReviewSession } from "./session";

interface Props {
  detail: CaseDetail;
  classes: CellClass[];
  session: ReviewSession;
  person: Person;
  onClose: () => void;
  onSigned: () => void;
}

export function SignDialog({ detail, classes, session, person, onClose, onSigned }: Props) {
  const { review } = session;
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const sign = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await session.sign(reason.trim());
      onSigned();
    } catch (refusal) {
      setError(refusal as Error);
      session.refresh();
      setBusy(false);
    }
  };
  const { row } = detail;
  return (
    <Dialog title={review.signed ? "Sign the corrected count" : "Sign the count"} onClose={onClose}>
      <form onSubmit={(event) => void sign(event)}>
        <p><strong>{personName(row.patient_name) || row.patient_id}</strong> <span class="number">{[row.patient_id, row.accession_number, row.container_id].filter(Boolean).join(" · ")}</span></p>
        <Summary session={session} classes={classes} />
        <p class="muted">
          Goes out as {review.signed ? "corrected (C)" : "final (F)"}: a verified structured report, annotations and segmentation with your classes, and the result to the LIS.
        </p>
        {review.alerts.filter((alert) => alert.kind !== "review" && alert.kind !== "rescreen").map((alert) => <p key={alert.text} class="notice">{alert.text}</p>)}
        {review.hidden > 0 && (
          <p class="notice">{count(review.hidden)} cells of the blind review have no class of an expert. Signed so, they count with the model's, and the figures that go out are not those above.</p>
        )}
        {review.open > 0 && (
          <label class="field">
            <span><strong class="number">{count(review.open)} of {count(review.needed)}</strong> mandatory reviews are open. To sign all the same, say why; the reason goes into the report.</span>
            <textarea required maxLength={500} rows={2} value={reason} onInput={(event) => setReason(event.currentTarget.value)} />
          </label>
        )}
        {error && <Refusal error={error} />}
        <p>You sign as <strong>{person.full_name || person.name}</strong>{person.demo && ", the demonstration's reviewer: not a person"}.</p>
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Back</button>
          <button type="submit" class="primary" disabled={busy || session.saving || (review.open > 0 && !reason.trim())}>{busy ? "Signing…" : "Sign"}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Summary({ session, classes }: { session: ReviewSession; classes: CellClass[] }) {
  const { expert, model, reviewed } = session.review;
  const rows = new Map(expert.components.map((row) => [row.name, row]));
  const changed = session.cells.expert.reduce((sum, expertClass, index) => sum + Number(expertClass >= 0 && expertClass !== session.cells.model[index]), 0);
  return (
    <>
      <p class="number">
        {count(expert.total)} cells counted (model {count(model.total)}), M:E {expert.me_ratio === null ? "–" : `${expert.me_ratio.toFixed(1)} : 1`}; {count(reviewed)} reviewed, {count(changed)} of them changed.
      </p>
      <ul class="sign-counts">
        {lineages(classes).filter((group) => group.counted).flatMap((group) => group.members).map((place) => {
          const one = classes[place]!;
          return <li key={place}><Swatch of={one} /><span class="code">{codeOf(one.name)}</span><span>{capital(brief(one.name))}</span><b class="number">{percent(rows.get(one.name)?.percent ?? 0)} %</b></li>;
        })}
      </ul>
    </>
  );
}

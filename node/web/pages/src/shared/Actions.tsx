/** What can be done with a case: a button for each action, and the dialog that asks for what it needs. */

import { useEffect, useState } from "preact/hooks";
import { getJson, NodeError, sendJson, type Action, type ActionName, type CaseDetail, type FreeSlide } from "./api";
import { Dialog } from "./Dialog";
import { dateTime, personName } from "./format";
import { Refusal } from "./Refusal";
import { StateBadge } from "./State";

interface ActionsProps {
  detail: CaseDetail;
  onDone: (detail: CaseDetail) => void;
}

/** The buttons; nothing when nothing can be done, or not by this person. */
export function Actions({ detail, onDone }: ActionsProps) {
  const [chosen, setChosen] = useState<ActionName>();
  if (!detail.actions.length) return null;
  return (
    <div class="actions" role="group" aria-label="What can be done">
      {detail.actions.map((action) => (
        <button key={action.name} type="button" class="button" onClick={() => setChosen(action.name)}>{action.label}</button>
      ))}
      {chosen && <ActionDialog caseId={detail.row.case_id} start={chosen} onClose={() => setChosen(undefined)} onDone={onDone} />}
    </div>
  );
}

interface DialogProps {
  caseId: string;
  start?: ActionName;
  onClose: () => void;
  onDone: (detail: CaseDetail) => void;
}

/** Why the case waits for a person, what can be done, and doing it. */
export function ActionDialog({ caseId, start, onClose, onDone }: DialogProps) {
  const [detail, setDetail] = useState<CaseDetail>();
  const [name, setName] = useState(start);
  const [error, setError] = useState<Error>();
  const path = `/api/cases/${encodeURIComponent(caseId)}`;
  const load = () => getJson<CaseDetail>(path).then(setDetail, setError);
  useEffect(() => void load(), [path]);
  const act = async (asked: Asked) => {
    setError(undefined);
    try {
      onDone(await sendJson<CaseDetail>("POST", `${path}/actions`, { ...asked, seen: detail!.events.length }));
      onClose();
    } catch (reason) {
      setError(reason as Error);
      if (reason instanceof NodeError && reason.status === 409) await load();
    }
  };
  const action = detail?.actions.find((one) => one.name === name) ?? detail?.actions[0];
  return (
    <Dialog title={`Case ${detail?.row.accession_number || caseId}`} onClose={onClose}>
      {detail && <Cause detail={detail} />}
      {error && <Refusal error={error} />}
      {detail && detail.actions.length > 1 && <Choice actions={detail.actions} chosen={action} onChoose={setName} />}
      {detail && action && <Ask key={action.name} action={action} detail={detail} onAct={act} onClose={onClose} />}
      {detail && !action && <Nothing onClose={onClose} />}
    </Dialog>
  );
}

function Cause({ detail: { row } }: { detail: CaseDetail }) {
  return (
    <div class="action-cause">
      <StateBadge state={row.state} /> <strong>{personName(row.patient_name) || row.patient_id}</strong> <span class="number muted">{row.container_id}</span>
      {row.cause && <p>{row.cause}</p>}
    </div>
  );
}

interface ChoiceProps {
  actions: Action[];
  chosen: Action | undefined;
  onChoose: (name: ActionName) => void;
}

function Choice({ actions, chosen, onChoose }: ChoiceProps) {
  return (
    <fieldset class="choice">
      <legend class="unseen">What to do</legend>
      {actions.map((one) => (
        <label key={one.name}>
          <input type="radio" name="action" checked={one === chosen} onChange={() => onChoose(one.name)} /> {one.label}
        </label>
      ))}
    </fieldset>
  );
}

interface Asked {
  name: ActionName;
  reason: string;
  slide: string;
}

interface AskProps {
  action: Action;
  detail: CaseDetail;
  onAct: (asked: Asked) => Promise<void>;
  onClose: () => void;
}

function Ask({ action, detail, onAct, onClose }: AskProps) {
  const [reason, setReason] = useState("");
  const [slide, setSlide] = useState("");
  const [busy, setBusy] = useState(false);
  const lacks = action.needs.includes("slide") && !slide;
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    await onAct({ name: action.name, reason: reason.trim(), slide });
    setBusy(false);
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <p class="muted">{action.effect}</p>
      {action.needs.includes("slide") && <SlideChoice patientId={detail.row.patient_id} chosen={slide} onChoose={setSlide} />}
      {action.needs.includes("reason") && (
        <label class="field">
          <span>Reason, kept with the case under your name</span>
          <textarea required maxLength={500} rows={2} value={reason} onInput={(event) => setReason(event.currentTarget.value)} />
        </label>
      )}
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>Back</button>
        <button type="submit" class="primary" disabled={busy || lacks}>{action.label}</button>
      </div>
    </form>
  );
}

function Nothing({ onClose }: { onClose: () => void }) {
  return (
    <>
      <p>Nothing needs to be done with this case now.</p>
      <div class="dialog-actions"><button type="button" onClick={onClose}>Close</button></div>
    </>
  );
}

interface SlideChoiceProps {
  patientId: string;
  chosen: string;
  onChoose: (series: string) => void;
}

function SlideChoice({ patientId, chosen, onChoose }: SlideChoiceProps) {
  const [search, setSearch] = useState("");
  const slides = useFreeSlides(search);
  return (
    <fieldset class="slides">
      <legend>Slide</legend>
      <input type="search" aria-label="Search slides" placeholder="Container, accession or patient" maxLength={128} value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
      {slides?.length === 0 && <p class="muted">{search ? "No slide without an order matches." : "No slide without an order has come. Scan and send it; it is then matched by itself, or stands here."}</p>}
      <ul>
        {slides?.map((slide) => (
          <li key={slide.series_instance_uid}>
            <label>
              <input type="radio" name="slide" checked={chosen === slide.series_instance_uid} onChange={() => onChoose(slide.series_instance_uid)} />
              <span class="number"><strong>{slide.container_id || slide.accession_number || "no container"}</strong> {slide.accession_number}</span>
              <span>{personName(slide.patient_name)} <span class="number muted">{slide.patient_id}</span></span>
              <span class={slide.patient_id === patientId ? "tag tag-good" : "tag tag-bad"}>{slide.patient_id === patientId ? "same patient" : "other patient"}</span>
              <span class="muted">{dateTime(slide.received_at)}{slide.problem && `; ${slide.problem}`}</span>
            </label>
          </li>
        ))}
      </ul>
    </fieldset>
  );
}

function useFreeSlides(search: string): FreeSlide[] | undefined {
  const [slides, setSlides] = useState<FreeSlide[]>();
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(() => {
      const path = `/api/slides?${new URLSearchParams({ free: "true", search })}`;
      getJson<FreeSlide[]>(path, controller.signal).then(setSlides, () => undefined);
    }, slides ? 200 : 0);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [search]);
  return slides;
}

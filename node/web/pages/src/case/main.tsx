/** The case page. */

import { render } from "preact";
import { useCallback, useEffect, useReducer, useState } from "preact/hooks";
import { Actions } from "../shared/Actions";
import { fileUrl, getJson, type CaseDetail, type CaseRow, type Bundle, type CellClass, type NoResult } from "../shared/api";
import { personName } from "../shared/format";
import { Frame } from "../shared/Frame";
import { Refusal } from "../shared/Refusal";
import { useCaseEvents } from "../shared/live";
import { usePerson } from "../shared/Session";
import { isActive, PriorityTag, Progress, StateBadge } from "../shared/State";
import { ReviewSession } from "../review/session";
import { Desk } from "./Desk";
import { Deliveries, Downloads, History, latest, Provenance, Warnings } from "./Parts";

const caseId = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const STATUS = { P: "Preliminary", F: "Final", C: "Corrected", X: "No result" } as const;

interface Shown {
  detail: CaseDetail;
  /** Of a slide that could not be counted. */
  noResult: NoResult | undefined;
}

function CasePage() {
  const { shown, error, reload, patch } = useCase();
  const classes = useAnswer<CellClass[]>("/api/classes");
  const opening = useReview(shown, classes);
  const { session } = opening;
  const live = useCaseEvents(
    (row) => {
      patch(row);
      if (row.case_id === caseId) session?.refresh();
    },
    () => {
      reload();
      session?.refresh();
    },
  );
  useEffect(() => session?.watch(() => {
    if (shown && session.review.revision > shown.detail.revision) reload();
  }), [session, shown?.detail.revision]);
  return (
    <Frame live={live}>
      {error && <Refusal error={error} />}
      {shown && classes ? <Body shown={shown} classes={classes} opening={opening} onActed={reload} /> : !error && <p class="loading">Loading the case…</p>}
    </Frame>
  );
}

/** The case, read again when its state changes. */
function useCase() {
  const [shown, setShown] = useState<Shown>();
  const [error, setError] = useState<Error>();
  const load = useCallback(async () => {
    try {
      const detail = await getJson<CaseDetail>(`/api/cases/${encodeURIComponent(caseId)}`);
      const file = detail.status === "X" ? latest(detail.files, "RESULT") : undefined;
      setShown({ detail, noResult: file && (await getJson<NoResult>(fileUrl(caseId, file.name))) });
      setError(undefined);
    } catch (reason) {
      setError(reason as Error);
    }
  }, []);
  useEffect(() => void load(), [load]);
  const patch = (row: CaseRow) => {
    if (row.case_id !== caseId) return;
    const moved = shown?.detail.row.state !== row.state;
    setShown((current) => current && { ...current, detail: { ...current.detail, row } });
    if (moved) void load();
  };
  return { shown, error, reload: () => void load(), patch };
}

/** What the node answers, once; undefined until then, and when it refuses. */
function useAnswer<T>(path: string): T | undefined {
  const [answer, setAnswer] = useState<T>();
  useEffect(() => {
    getJson<T>(path).then(setAnswer, () => undefined);
  }, [path]);
  return answer;
}

interface Opening {
  /** Whether there is something to review: the cells of the case were counted. */
  counted: boolean;
  session: ReviewSession | undefined;
  error: Error | undefined;
}

/** The review of a counted case, opened anew when it has been analysed again. */
function useReview(shown: Shown | undefined, classes: CellClass[] | undefined): Opening {
  const [session, setSession] = useState<ReviewSession>();
  const [error, setError] = useState<Error>();
  const [runs, again] = useReducer<number, void>((number) => number + 1, 0);
  const { status, row } = shown?.detail ?? {};
  const counted = Boolean(status && status !== "X" && row && row.state !== "queued" && row.state !== "running");
  useEffect(() => {
    setError(undefined);
    if (counted && classes) ReviewSession.open(caseId, classes.map((one) => one.name)).then(setSession, setError);
    else setSession(undefined);
  }, [counted, classes, runs]);
  useEffect(() => session?.watch(() => {
    if (session.review.run !== session.cells.run) again();
  }), [session]);
  return { counted: counted && !error, session, error };
}

interface BodyProps {
  shown: Shown;
  classes: CellClass[];
  opening: Opening;
  onActed: () => void;
}

function Body({ shown: { detail, noResult }, classes, opening, onActed }: BodyProps) {
  const { row } = detail;
  useEffect(() => {
    document.title = `${row.accession_number || row.case_id} · Marrow Node`;
  }, [row.accession_number, row.case_id]);
  const person = usePerson();
  const review = opening.session?.review;
  const [bundle, warnings] = [review?.bundle ?? noResult?.bundle, review?.warnings ?? noResult?.warnings];
  const told = review?.alerts.map((alert) => alert.text) ?? []; // beside the count
  const withheld = (review?.hidden ?? 0) > 0;
  const remarks = [...new Set([...(warnings ?? []), ...row.alerts])].filter((text) => !told.includes(text));
  const noCount = opening.error ? <Refusal error={opening.error} /> : <NoCount detail={detail} reason={noResult?.reason} opening={opening.counted} />;
  return (
    <div class="case">
      <div class="case-view">
        <Head detail={detail} withheld={withheld} onActed={onActed} />
        <Notices detail={detail} bundle={bundle} />
        {detail.slides.length > 0 ? <Desk detail={detail} classes={classes} counted={opening.counted} session={opening.session} instead={noCount} /> : noCount}
      </div>
      <div class="thirds">
        {bundle && <Warnings warnings={remarks} unrecognised={bundle.unrecognised} />}
        <Downloads caseId={row.case_id} files={detail.files} withheld={withheld} judged={person !== undefined && person.role !== "viewer" && (review?.reviewed ?? 0) > 0} />
        <Deliveries deliveries={detail.deliveries} />
        <Provenance detail={detail} bundle={bundle} />
        <History events={detail.events} />
      </div>
    </div>
  );
}

function Head({ detail, withheld, onActed }: { detail: CaseDetail; withheld: boolean; onActed: () => void }) {
  const { row, order, slides } = detail;
  const patient = order?.patient ?? slides[0]?.patient;
  const facts: [string, string | null | undefined][] = [
    ["Patient ID", row.patient_id],
    ["Born", patient?.birth_date],
    ["Sex", patient?.sex],
    ["Accession", row.accession_number],
    ["Container", row.container_id],
  ];
  const report = latest(detail.files, "PDF");
  return (
    <div class="head">
      <div class="who">
        <nav class="crumbs" aria-label="Breadcrumb"><a href="/">Worklist</a> / {row.accession_number || row.case_id}</nav>
        <h1>{personName(row.patient_name) || row.patient_id || "Patient unknown"}</h1>
      </div>
      <div class="marks">
        <StateBadge state={row.state} />
        {isActive(row) && <Progress row={row} />}
        <PriorityTag priority={row.priority} />
        {detail.status && <span class={detail.status === "F" || detail.status === "C" ? "tag tag-good" : "tag tag-care"}>{STATUS[detail.status]}</span>}
        {row.synthetic && <span class="tag tag-bad">Synthetic</span>}
      </div>
      <dl class="facts">
        {facts.filter(([, value]) => value).map(([term, value]) => <div key={term}><dt>{term}</dt><dd class="number">{value}</dd></div>)}
      </dl>
      <Actions detail={detail} onDone={onActed} />
      {report && !withheld && <a class="button" href={fileUrl(row.case_id, report.name, true)} download>Report (PDF)</a>}
    </div>
  );
}

function Notices({ detail, bundle }: { detail: CaseDetail; bundle: Bundle | undefined }) {
  const { row } = detail;
  return (
    <>
      {row.cause && (row.state === "held" || row.state === "failed" || row.state === "cancelled") && (
        <p class={row.state === "failed" ? "refusal cause-box" : "notice cause-box"} role="alert">{row.cause}</p>
      )}
      {bundle && (
        <p class="notice slim">
          <strong>Not for diagnostic use.</strong>{" "}
          {detail.status === "P" && "This result is preliminary: no expert has confirmed it. "}
          Model bundle {bundle.name} {bundle.version} is not validated for diagnosis at this site.
          {row.synthetic && " The slide is synthetic: it shows no patient."}
        </p>
      )}
    </>
  );
}

function NoCount({ detail, reason, opening }: { detail: CaseDetail; reason: string | undefined; opening: boolean }) {
  const why = opening ? "Loading the cells…" : (reason ?? (detail.status === "X" ? "This slide could not be counted." : "No count yet."));
  return (
    <section class="card no-count" aria-labelledby="differential-title">
      <h2 id="differential-title">Differential count</h2>
      <p class="no-overview">{why}</p>
    </section>
  );
}

render(<CasePage />, document.getElementById("page")!);

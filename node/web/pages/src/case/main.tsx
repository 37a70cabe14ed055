/** The case page. */

import { render } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { Actions } from "../shared/Actions";
import { fileUrl, getJson, type CaseDetail, type CaseRow, type CellClass, type Result } from "../shared/api";
import { personName } from "../shared/format";
import { Frame, Refusal } from "../shared/Frame";
import { useCaseEvents } from "../shared/live";
import { isActive, PriorityTag, Progress, StateBadge } from "../shared/State";
import { Differential } from "./Differential";
import { Workbench } from "./Workbench";
import { Deliveries, Downloads, History, latest, Provenance, Warnings } from "./Parts";

const caseId = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const STATUS = { P: "Preliminary", F: "Final", C: "Corrected", X: "No result" } as const;

interface Shown {
  detail: CaseDetail;
  result: Result | undefined;
}

function CasePage() {
  const { shown, error, reload, patch } = useCase();
  const classes = useClasses();
  const live = useCaseEvents(patch, reload);
  return (
    <Frame live={live}>
      <nav class="crumbs" aria-label="Breadcrumb"><a href="/">Worklist</a> / {shown?.detail.row.accession_number || caseId}</nav>
      {error && <Refusal error={error} />}
      {shown ? <Body shown={shown} classes={classes} onActed={reload} /> : !error && <p class="loading">Loading the case…</p>}
    </Frame>
  );
}

/** The case and its newest result, read again when its state changes. */
function useCase() {
  const [shown, setShown] = useState<Shown>();
  const [error, setError] = useState<Error>();
  const load = useCallback(async () => {
    try {
      const detail = await getJson<CaseDetail>(`/api/cases/${encodeURIComponent(caseId)}`);
      const file = latest(detail.files, "RESULT");
      const result = file && (await getJson<Result>(fileUrl(caseId, file.name)));
      setShown({ detail, result });
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

function useClasses(): CellClass[] {
  const [classes, setClasses] = useState<CellClass[]>([]);
  useEffect(() => {
    getJson<CellClass[]>("/api/classes").then(setClasses, () => setClasses([]));
  }, []);
  return classes;
}

function Body({ shown: { detail, result }, classes, onActed }: { shown: Shown; classes: CellClass[]; onActed: () => void }) {
  const { row } = detail;
  useEffect(() => {
    document.title = `${row.accession_number || row.case_id} · Marrow Node`;
  }, [row.accession_number, row.case_id]);
  const unrecognised = result?.bundle.unrecognised ?? [];
  return (
    <div class="stack">
      <Head detail={detail} />
      <Notices detail={detail} result={result} />
      <Actions detail={detail} onDone={onActed} />
      {isActive(row) && <section class="card running" aria-label="Progress"><StateBadge state={row.state} /><Progress row={row} /></section>}
      <div class="columns">
        {detail.slides.length > 0 && <Workbench detail={detail} classes={classes} />}
        {result?.differential ? <Differential differential={result.differential} classes={classes} /> : <NoCount detail={detail} result={result} />}
      </div>
      <div class="thirds">
        {result && <Warnings result={result} unrecognised={unrecognised} />}
        <Downloads caseId={row.case_id} files={detail.files} />
        <Deliveries deliveries={detail.deliveries} />
        <Provenance detail={detail} result={result} />
        <History events={detail.events} />
      </div>
    </div>
  );
}

function Head({ detail }: { detail: CaseDetail }) {
  const { row, order, slides } = detail;
  const patient = order?.patient ?? slides[0]?.patient;
  const facts: [string, string | null | undefined][] = [
    ["Patient ID", row.patient_id],
    ["Born", patient?.birth_date],
    ["Sex", patient?.sex],
    ["Accession", row.accession_number],
    ["Container", row.container_id],
  ];
  return (
    <div class="head">
      <div>
        <h1>{personName(row.patient_name) || row.patient_id || "Patient unknown"}</h1>
        <div class="marks">
          <StateBadge state={row.state} />
          <PriorityTag priority={row.priority} />
          {detail.status && <span class={detail.status === "F" ? "tag tag-good" : "tag tag-care"}>{STATUS[detail.status]}</span>}
          {row.synthetic && <span class="tag tag-bad">Synthetic</span>}
          {row.alerts.map((alert) => <span key={alert} class="tag tag-care">{alert}</span>)}
        </div>
      </div>
      <dl class="facts">
        {facts.filter(([, value]) => value).map(([term, value]) => <div key={term}><dt>{term}</dt><dd class="number">{value}</dd></div>)}
      </dl>
    </div>
  );
}

function Notices({ detail, result }: { detail: CaseDetail; result: Result | undefined }) {
  const { row } = detail;
  return (
    <>
      {row.cause && (row.state === "held" || row.state === "failed" || row.state === "cancelled") && (
        <p class={row.state === "failed" ? "refusal cause-box" : "notice cause-box"} role="alert">{row.cause}</p>
      )}
      {result && (
        <p class="notice">
          <strong>Not for diagnostic use.</strong>{" "}
          {detail.status === "P" && "This result is preliminary: no expert has confirmed it. "}
          Model bundle {result.bundle.name} {result.bundle.version} is not validated for diagnosis at this site.
          {row.synthetic && " The slide is synthetic: it shows no patient."}
        </p>
      )}
    </>
  );
}

function NoCount({ detail, result }: { detail: CaseDetail; result: Result | undefined }) {
  return (
    <section class="card" aria-labelledby="differential-title">
      <h2 id="differential-title">Differential count</h2>
      <p class="no-overview">{result?.reason ?? (detail.status === "X" ? "This slide could not be counted." : "No count yet.")}</p>
    </section>
  );
}

render(<CasePage />, document.getElementById("page")!);

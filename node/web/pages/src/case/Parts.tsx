/** The smaller cards of the case page. */

import { fileUrl, trainingDataUrl, type Bundle, type CaseDetail, type CaseEvent, type Delivery, type FileLink } from "../shared/api";
import { bytes, count, dateTime, exactTime } from "../shared/format";
import { StateBadge } from "../shared/State";

/** Why some files cannot be had yet. */
const WITHHELD = "Blind review: shown once an expert has chosen the class of each cell whose class is hidden.";

export function Overview({ detail, withheld }: { detail: CaseDetail; withheld: boolean }) {
  const picture = latest(detail.files, "OVERVIEW");
  return (
    <>
      {withheld ? (
        <p class="no-overview">{WITHHELD}</p>
      ) : picture ? (
        <figure>
          <div class="overview">
            <a href={fileUrl(detail.row.case_id, picture.name)}>
              <img src={fileUrl(detail.row.case_id, picture.name)} alt="The slide with the countable region outlined and each classified cell marked in the colour of its class" />
            </a>
          </div>
          <figcaption class="overview-note">Countable region outlined, cells in the colours of the table. Select the picture for full size.</figcaption>
        </figure>
      ) : (
        <p class="no-overview">No picture yet: it is drawn when the slide has been analysed.</p>
      )}
    </>
  );
}

export function Warnings({ warnings, unrecognised }: { warnings: string[]; unrecognised: string[] }) {
  return (
    <section class="card" aria-labelledby="warnings-title">
      <h2 id="warnings-title">Warnings</h2>
      {warnings.length > 0 || unrecognised.length > 0 ? (
        <ul class="warnings card-body">
          {warnings.map((warning) => <Warning key={warning}>{warning}</Warning>)}
          {unrecognised.length > 0 && <Warning>This bundle cannot recognise: {unrecognised.join(", ")}.</Warning>}
        </ul>
      ) : (
        <p class="card-body muted">No warning.</p>
      )}
    </section>
  );
}

function Warning({ children }: { children: preact.ComponentChildren }) {
  return (
    <li>
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 2.2L14.6 13.6H1.4zM8 6.4v3.4M8 11.7v.1" /></svg>
      <span>{children}</span>
    </li>
  );
}

export function History({ events }: { events: CaseEvent[] }) {
  return (
    <section class="card" aria-labelledby="history-title">
      <h2 id="history-title">History</h2>
      <ol class="timeline scroll" tabIndex={0} aria-labelledby="history-title">
        {[...events].reverse().map((event, index) => (
          <li key={index}>
            <time class="number" dateTime={event.at}>{exactTime(event.at)}</time>
            <StateBadge state={event.state} />
            <span class="why">{event.cause} <span class="muted">{event.actor && `(${event.actor})`}</span></span>
          </li>
        ))}
      </ol>
    </section>
  );
}

const DELIVERY_TAGS: Record<string, string> = { sent: "tag tag-good", refused: "tag tag-bad", dead: "tag tag-bad", pending: "tag" };

export function Deliveries({ deliveries }: { deliveries: Delivery[] }) {
  return (
    <section class="card" aria-labelledby="deliveries-title">
      <h2 id="deliveries-title">Deliveries</h2>
      {deliveries.length ? (
        <table class="plain">
          <thead><tr><th scope="col">To</th><th scope="col">State</th><th scope="col">Attempts</th><th scope="col">When</th></tr></thead>
          <tbody>
            {deliveries.map((one) => (
              <tr key={`${one.destination} ${one.kind} ${one.revision}`}>
                <th scope="row">{one.destination} <span class="muted">{one.kind}</span></th>
                <td><span class={DELIVERY_TAGS[one.state] ?? "tag"}>{one.state}</span>{one.last_error && <div class="muted">{one.last_error}</div>}</td>
                <td class="number">{one.attempts}</td>
                <td class="number">{dateTime(one.changed_at)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <p class="card-body muted">Nothing was sent: no result yet, or the site has configured no PACS and no LIS.</p>
      )}
    </section>
  );
}

const KINDS: Record<string, string> = {
  SEG: "Segmentation", ANN: "Cell annotations", SR: "Structured report", SR3D: "Regions (3D SR)", ORU: "HL7 result",
  SEGROI: "Regions", RESULT: "Result as JSON", OVERVIEW: "Overview picture", GEOJSON: "Cells for QuPath", PDF: "Report", PDFDCM: "Report as DICOM", KO: "Withdrawal note",
};

interface DownloadsProps {
  caseId: string;
  files: FileLink[];
  /** Whether files that tell classes cannot be had yet. */
  withheld: boolean;
  /** Whether the cells that experts judged can be had, to train with. */
  judged: boolean;
}

export function Downloads({ caseId, files, withheld, judged }: DownloadsProps) {
  return (
    <section class="card" aria-labelledby="downloads-title">
      <h2 id="downloads-title">Objects</h2>
      {files.length || judged ? (
        <table class="plain">
          <thead><tr><th scope="col">Object</th><th scope="col">File</th><th scope="col">Size</th></tr></thead>
          <tbody>
            {files.map((file) => (
              <tr key={file.name}>
                <th scope="row">{KINDS[file.kind] ?? file.kind}</th>
                <td>{withheld && file.tells_classes ? <span class="muted" title={WITHHELD}>{file.name} (blind review)</span> : <a href={fileUrl(caseId, file.name, true)} download>{file.name}</a>}{file.sop_instance_uid && <div class="uid muted number">{file.sop_instance_uid}</div>}</td>
                <td class="number">{bytes(file.size)}</td>
              </tr>
            ))}
            {judged && (
              <tr>
                <th scope="row">Cells that experts judged, to train with</th>
                <td><a href={trainingDataUrl(caseId)} download>{caseId}-cells.zip</a></td>
                <td />
              </tr>
            )}
          </tbody>
        </table>
      ) : (
        <p class="card-body muted">None yet.</p>
      )}
    </section>
  );
}

export function Provenance({ detail, bundle }: { detail: CaseDetail; bundle: Bundle | undefined }) {
  const slide = detail.slides[0];
  const order = detail.order;
  return (
    <section class="card" aria-labelledby="provenance-title">
      <h2 id="provenance-title">Order, slide and model</h2>
      <dl class="provenance card-body">
        {order?.test_name && <Fact term="Test">{order.test_name}</Fact>}
        {order?.placer_order_number && <Fact term="Placer order">{order.placer_order_number.value}</Fact>}
        {order?.specimen_type && <Fact term="Specimen">{order.specimen_type}</Fact>}
        {order?.collected_at && <Fact term="Collected">{dateTime(order.collected_at)}</Fact>}
        {order?.comments.map((comment) => <Fact key={comment} term="Comment">{comment}</Fact>)}
        {slide && <Fact term="Slide">{count(slide.size[0])} × {count(slide.size[1])} px, {slide.mpp.toFixed(3)} µm/px</Fact>}
        {slide && <Fact term="Scanner">{[slide.manufacturer, slide.model_name, slide.serial_number].filter(Boolean).join(" ") || "not stated"}</Fact>}
        {slide?.acquired_at && <Fact term="Scanned">{dateTime(slide.acquired_at)}</Fact>}
        {slide && <Fact term="Study UID"><span class="uid number">{slide.study_instance_uid}</span></Fact>}
        {bundle && <Fact term="Model bundle">{bundle.name} {bundle.version}</Fact>}
        {bundle && <Fact term="Bundle digest"><span class="uid number">{bundle.digest}</span></Fact>}
      </dl>
    </section>
  );
}

function Fact({ term, children }: { term: string; children: preact.ComponentChildren }) {
  return <><dt>{term}</dt><dd>{children}</dd></>;
}

/** The newest file of a kind. */
export function latest(files: FileLink[], kind: string): FileLink | undefined {
  return files.filter((file) => file.kind === kind).sort((a, b) => b.revision - a.revision)[0];
}

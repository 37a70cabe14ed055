/** One cell: its picture with the explanation over it, probabilities, measurements and history. */

import { useEffect, useState } from "preact/hooks";
import { sheetUrl } from "../gallery/sheets";
import type { CellClass } from "../shared/api";
import { codeOf } from "../shared/classes";
import { capital, exactTime, percent } from "../shared/format";
import { Refusal } from "../shared/Refusal";
import { Swatch } from "../shared/Swatch";
import type { CellTable } from "../viewer/cells";
import { NEED, readCell, type CellFacts } from "./api";
import { HeatMap } from "./HeatMap";

const PICTURE = 160;
const BARS = 6;

interface Props {
  caseId: string;
  cells: CellTable;
  classes: CellClass[];
  /** Row of the cell table. */
  index: number;
  chosen: number;
  /** The name of the button that leads to the other view of the cell. */
  elsewhere: string;
  onElsewhere: () => void;
  onClose: () => void;
}

export function CellPane(props: Props) {
  const { caseId, cells, classes, index, chosen } = props;
  const { facts, error } = useFacts(caseId, cells, index);
  const one = classes[cells.shown[index]!];
  return (
    <section class="cell-pane" aria-label={`Cell ${cells.id[index]}`}>
      <Explained caseId={caseId} cells={cells} index={index} facts={facts} />
      <div class="cell-class">
        <h3>
          {one ? <><Swatch of={one} />{capital(one.name)}</> : "Class hidden"}
          <span class="muted number"> cell {cells.id[index]}{chosen > 1 && `, one of ${chosen} chosen`}</span>
        </h3>
        {error && <Refusal error={error} />}
        {facts && <Judgement facts={facts} classes={classes} />}
        {facts && <Probabilities facts={facts} classes={classes} />}
      </div>
      <div class="cell-more">
        <div class="cell-actions">
          <button type="button" class="button" onClick={props.onElsewhere}>{props.elsewhere} <kbd>⇧⏎</kbd></button>
          <button type="button" class="button plain-button" aria-label="Close the cell" onClick={props.onClose}>×</button>
        </div>
        {facts && (
          <>
            <dl class="measures">
              <div><dt>Area</dt><dd class="number">{facts.area_um2.toFixed(0)} µm²</dd></div>
              <div><dt>Diameter</dt><dd class="number">{facts.diameter_um.toFixed(1)} µm</dd></div>
              <div><dt>Place</dt><dd class="number">{cells.x[index]}, {cells.y[index]}</dd></div>
            </dl>
            <Past facts={facts} />
          </>
        )}
      </div>
    </section>
  );
}

function Explained({ caseId, cells, index, facts }: { caseId: string; cells: CellTable; index: number; facts: CellFacts | undefined }) {
  const { url, fieldUm } = useCrop(caseId, cells, index);
  const [shown, setShown] = useState(false);
  const [opacity, setOpacity] = useState(0.6);
  const saliency = facts?.saliency;
  return (
    <div class="explained">
      <div class="crop">
        {url && <img src={url} width={PICTURE} height={PICTURE} alt={`Picture of cell ${cells.id[index]}, ${fieldUm} µm wide`} />}
        {shown && saliency && facts && fieldUm > 0 && <HeatMap grid={saliency} share={facts.field_um / fieldUm} opacity={opacity} />}
        {fieldUm > 0 && <span class="crop-scale" style={{ width: `${(10 / fieldUm) * 100}%` }}>10 µm</span>}
      </div>
      <div class="heat-tools">
        <label class="check"><input type="checkbox" checked={shown} disabled={!saliency} onChange={(event) => setShown(event.currentTarget.checked)} />Explain</label>
        <input type="range" min="10" max="100" aria-label="Opacity of the explanation" disabled={!shown || !saliency} value={opacity * 100} onInput={(event) => setOpacity(Number(event.currentTarget.value) / 100)} />
      </div>
    </div>
  );
}

function Judgement({ facts, classes }: { facts: CellFacts; classes: CellClass[] }) {
  const reasons = [
    facts.need & NEED.probability && "probability below the limit",
    facts.need & NEED.lookAlike && `look-alike${facts.look_alikes.length ? `: ${facts.look_alikes.join(", ")}` : ""}`,
    facts.need & NEED.blind && "blind review",
    facts.need & NEED.rescreen && "class to be rescreened",
  ].filter(Boolean);
  const model = classes.find((one) => one.name === facts.class_name);
  return (
    <p class="judgement">
      {model ? <>Model: <span class="code">{codeOf(model.name)}</span> {model.name} <span class="number">{percent((facts.probability ?? 0) * 100)} %</span></> : "The model's class is shown once you have chosen one."}
      {reasons.length > 0 && <span class={facts.expert ? "tag" : "tag tag-care"}>{facts.expert ? "reviewed" : "review"}: {reasons.join("; ")}</span>}
    </p>
  );
}

function Probabilities({ facts, classes }: { facts: CellFacts; classes: CellClass[] }) {
  const likeliest = classes
    .map((one) => ({ one, share: facts.probabilities[one.name] ?? 0 }))
    .sort((one, other) => other.share - one.share)
    .slice(0, BARS)
    .filter(({ share }) => share > 0);
  return (
    <ul class="probabilities" aria-label="Probabilities of the model">
      {likeliest.map(({ one, share }) => (
        <li key={one.name}>
          <span class="code">{codeOf(one.name)}</span>
          <span class="probability-name">{capital(one.name)}</span>
          <svg aria-hidden="true"><rect width="100%" height="10" class="probability-track" /><rect width={`${share * 100}%`} height="10" fill={one.color} class="bar-fill" /></svg>
          <span class="number">{percent(share * 100)}</span>
        </li>
      ))}
    </ul>
  );
}

function Past({ facts }: { facts: CellFacts }) {
  if (!facts.history.length) return <p class="muted cell-past">No expert has judged this cell.</p>;
  return (
    <ol class="cell-past" aria-label="History of the cell" tabIndex={0}>
      {[...facts.history].reverse().map((change) => (
        <li key={change.at}><strong>{change.class_name ?? "back to the model"}</strong> {change.full_name} <time class="muted number" dateTime={change.at}>{exactTime(change.at)}</time></li>
      ))}
    </ol>
  );
}

/** What the node knows of a cell; read again when the cell is judged. */
function useFacts(caseId: string, cells: CellTable, index: number): { facts: CellFacts | undefined; error: Error | undefined } {
  const [state, setState] = useState<{ id?: number; facts?: CellFacts; error?: Error }>({});
  const [id, version] = [cells.id[index]!, cells.version[index]!];
  useEffect(() => {
    const stop = new AbortController();
    readCell(caseId, id, stop.signal).then(
      (facts) => setState({ id, facts }),
      (error: Error) => stop.signal.aborted || setState({ id, error }),
    );
    return () => stop.abort();
  }, [caseId, id, version]);
  return state.id === id ? { facts: state.facts, error: state.error } : { facts: undefined, error: undefined };
}

/** The picture of one cell and how wide a field it shows. */
function useCrop(caseId: string, cells: CellTable, index: number): { url: string | undefined; fieldUm: number } {
  const [crop, setCrop] = useState<{ index: number; url: string; fieldUm: number }>();
  useEffect(() => {
    const stop = new AbortController();
    let url: string | undefined;
    const load = async () => {
      const side = Math.min(256, Math.round(PICTURE * devicePixelRatio));
      const answer = await fetch(sheetUrl(caseId, cells, [index], side), { signal: stop.signal });
      if (!answer.ok) return;
      const picture = await answer.blob();
      if (stop.signal.aborted) return;
      url = URL.createObjectURL(picture);
      setCrop({ index, url, fieldUm: Number(answer.headers.get("X-Field-Um")) });
    };
    load().catch(() => undefined); // a cell without a picture still has its figures
    return () => {
      stop.abort();
      if (url) URL.revokeObjectURL(url);
    };
  }, [caseId, cells, index]);
  return crop?.index === index ? crop : { url: undefined, fieldUm: 0 };
}

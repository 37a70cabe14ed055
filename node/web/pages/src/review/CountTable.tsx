/** The model's and the expert's count side by side; each row is also the legend, the filter and the key of its class. */

import { useState } from "preact/hooks";
import { allBut } from "../gallery/arrangement";
import { carriedCells, carriesCells } from "../gallery/drag";
import type { CellClass, Component } from "../shared/api";
import { BLIND, brief, codeOf, lineages, type Lineage } from "../shared/classes";
import { capital, count, percent } from "../shared/format";
import { Swatch } from "../shared/Swatch";
import { NONE } from "../viewer/cells";
import type { Alert, Count } from "./api";

interface Props {
  classes: CellClass[];
  model: Count;
  expert: Count;
  alerts: Alert[];
  /** Cells that are in neither count: blind review. */
  unseen: number;
  /** What is printed on the key of each class. */
  caps: Record<string, string>;
  hidden: ReadonlySet<number>;
  onHidden: (hidden: Set<number>) => void;
  /** Cells dropped on a class. */
  onDrop: ((ids: number[], shown: number) => void) | undefined;
}

const COLUMNS = ["eye", "code", "name", "key", "model", "model-percent", "expert", "expert-percent", "limits", "chart"];

export function CountTable(props: Props) {
  const { classes, model, expert, hidden, onHidden } = props;
  const groups = lineages(classes);
  const rows = new Map(classes.map((one) => [one.name, rowOf(one, model, expert)]));
  const top = scaleTop(expert.components, model.components);
  return (
    <table class={Math.max(model.total, expert.total) < 10_000 ? "counts" : "counts counts-large"}>
      <caption class="unseen">Sixteen classes with the model's count, the expert's count, percentage and 95 % confidence limits; then the classes that are not part of the count</caption>
      <colgroup>{COLUMNS.map((name) => <col key={name} class={`col-${name}`} />)}</colgroup>
      <thead>
        <tr>
          <th scope="col" class="eye">
            <input type="checkbox" aria-label="Show all classes" checked={hidden.size === 0} ref={(box) => { if (box) box.indeterminate = hidden.size > 0 && hidden.size <= classes.length; }} onChange={() => onHidden(hidden.size ? new Set() : allBut([], classes.length))} />
          </th>
          <th scope="col" colSpan={2}>Class</th>
          <th scope="col"><span class="unseen">Key</span></th>
          <th scope="col" colSpan={2} class="right">Model, %</th>
          <th scope="col" colSpan={2} class="right">Expert, %</th>
          <th scope="col" class="right">95 % limits</th>
          <th scope="col" class="chart axis"><span class="unseen">Histogram</span><Axis top={top} /></th>
        </tr>
      </thead>
      {groups.map((group) => (
        <tbody key={group.title}>
          <GroupHead group={group} rows={group.members.map((place) => rows.get(classes[place]!.name)!)} />
          {group.members.map((place) => <Row key={place} {...props} place={place} row={rows.get(classes[place]!.name)!} top={top} />)}
        </tbody>
      ))}
      {props.unseen > 0 && <tbody><BlindRow unseen={props.unseen} hidden={hidden} onHidden={onHidden} /></tbody>}
      <tfoot>
        <tr>
          <td /><th scope="row" colSpan={3}>All counted cells</th>
          <td class="right number">{count(model.total)}</td><td class="right number muted">{model.total ? "100.0" : "–"}</td>
          <td class="right number">{count(expert.total)}</td><td class="right number">{expert.total ? "100.0" : "–"}</td>
          <td /><td />
        </tr>
      </tfoot>
    </table>
  );
}

interface RowValues {
  model: number;
  expert: number;
  /** Absent for classes that are not part of the count. */
  before: Component | undefined;
  now: Component | undefined;
}

function rowOf(one: CellClass, model: Count, expert: Count): RowValues {
  const of = (counted: Count) => counted.components.find((row) => row.name === one.name);
  const [before, now] = [of(model), of(expert)];
  const cells = (row: Component | undefined, counted: Count) => row?.count ?? counted.excluded[one.name] ?? 0;
  return { model: cells(before, model), expert: cells(now, expert), before, now };
}

function GroupHead({ group, rows }: { group: Lineage; rows: RowValues[] }) {
  const sum = (of: (row: RowValues) => number) => rows.reduce((total, row) => total + of(row), 0);
  return (
    <tr class="group">
      <td /><th scope="rowgroup" colSpan={3}>{group.title}</th>
      <td class="right number">{count(sum((row) => row.model))}</td>
      <td class="right number">{group.counted && percent(sum((row) => row.before?.percent ?? 0))}</td>
      <td class="right number">{count(sum((row) => row.expert))}</td>
      <td class="right number">{group.counted && percent(sum((row) => row.now?.percent ?? 0))}</td>
      <td /><td />
    </tr>
  );
}

function Row({ classes, place, row, top, alerts, caps, hidden, onHidden, onDrop }: Props & { place: number; row: RowValues; top: number }) {
  const one = classes[place]!;
  const [over, setOver] = useState(false);
  const solo = hidden.size === classes.length && !hidden.has(place);
  const alert = alerts.find((each) => each.class_name === one.name);
  const { now, before } = row;
  const show = (visible: boolean) => {
    const next = new Set(hidden);
    if (visible) next.delete(place);
    else next.add(place);
    onHidden(next);
  };
  return (
    <tr
      data-class={one.name}
      class={`${row.expert || row.model ? "" : "zero"}${row.model !== row.expert ? " differs" : ""}${over ? " drop" : ""}`}
      onDragOver={(event) => { if (onDrop && carriesCells(event)) { event.preventDefault(); setOver(true); } }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => { event.preventDefault(); setOver(false); onDrop?.(carriedCells(event), place); }}
    >
      <td class="eye"><input type="checkbox" aria-label={`Show ${one.name}`} checked={!hidden.has(place)} onChange={(event) => show(event.currentTarget.checked)} /></td>
      <td class="code"><Swatch of={one} />{codeOf(one.name)}</td>
      <th scope="row" title={one.icsh_name}>
        <button type="button" class="class-name" aria-pressed={solo} title={solo ? "Show all classes" : `Show only: ${one.name}`} onClick={() => onHidden(solo ? new Set() : allBut([place], classes.length))}>{capital(brief(one.name))}</button>
        {now?.flag && <Flag text={now.flag} why={alert?.text ?? now.flag} />}
      </th>
      <td><kbd>{caps[one.name]}</kbd></td>
      <td class="right number model">{count(row.model)}</td>
      <td class="right number model">{before && percent(before.percent)}</td>
      <td class="right number expert">{count(row.expert)}</td>
      <td class="right number expert">{now && percent(now.percent)}</td>
      <td class="right number limits">{now && `${percent(now.ci95[0])}–${percent(now.ci95[1])}`}</td>
      <td class="chart">{now && before && <Bar now={now} before={before} top={top} color={one.color} />}</td>
    </tr>
  );
}

/** The cells that are in no class yet. */
function BlindRow({ unseen, hidden, onHidden }: Pick<Props, "unseen" | "hidden" | "onHidden">) {
  const show = (visible: boolean) => onHidden(new Set(visible ? [...hidden].filter((place) => place !== NONE) : [...hidden, NONE]));
  return (
    <tr class="group">
      <td class="eye"><input type="checkbox" aria-label="Show blind review" checked={!hidden.has(NONE)} onChange={(event) => show(event.currentTarget.checked)} /></td>
      <td class="code"><Swatch of={BLIND} />?</td>
      <th scope="row" colSpan={2}>{BLIND.name}</th>
      <td class="right number">{count(unseen)}</td>
      <td colSpan={5} class="muted">in no class until an expert chose one</td>
    </tr>
  );
}

function Flag({ text, why }: { text: string; why: string }) {
  return (
    <span class="flag" title={why}>
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 2.2L14.6 13.6H1.4zM8 6.4v3.4M8 11.7v.1" /></svg>
      <span class="unseen">{text}</span>
    </span>
  );
}

/** The expert's bar with a whisker from limit to limit, and a notch at the model's percentage; the figures say the same. */
function Bar({ now, before, top, color }: { now: Component; before: Component; top: number; color: string }) {
  const at = (value: number) => `${(Math.min(value, top) / top) * 100}%`;
  const [low, high] = now.ci95;
  return (
    <svg aria-hidden="true">
      {ticks(top).map((tick) => <line key={tick} class="grid-line" x1={at(tick)} x2={at(tick)} y1="0" y2="18" />)}
      <rect class="bar-fill" x="0" y="4" width={at(now.percent)} height="10" fill={color} />
      {now.count > 0 && <line class="whisker" x1={at(low)} x2={at(high)} y1="9" y2="9" />}
      {before.count !== now.count && <line class="notch" x1={at(before.percent)} x2={at(before.percent)} y1="1" y2="17" />}
    </svg>
  );
}

function Axis({ top }: { top: number }) {
  return <svg aria-hidden="true"><text x="0" y="11">0</text><text class="axis-end" x="100%" y="11">{top}</text></svg>;
}

/** The end of the scale: the next multiple of ten above the highest limit, at most 100 %. */
function scaleTop(...counts: Component[][]): number {
  const highest = Math.max(10, ...counts.flat().map((row) => (row.count ? row.ci95[1] : 0)));
  return Math.min(100, Math.ceil(highest / 10) * 10);
}

function ticks(top: number): number[] {
  const step = top <= 20 ? 10 : top <= 50 ? 20 : 50;
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, index) => index * step);
}

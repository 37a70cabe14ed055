/** The differential count: a table whose last column is its histogram, so that each bar stands by its figures. */

import type { CellClass, Component, Result } from "../shared/api";
import { capital, count, percent } from "../shared/format";
import { Swatch } from "../shared/Swatch";

type Count = NonNullable<Result["differential"]>;

const GROUPS: [title: string, lineages: string[]][] = [
  ["Granulocytic", ["granulocytic-neutrophil", "granulocytic-eosinophil", "granulocytic-basophil"]],
  ["Monocytic", ["monocytic"]],
  ["Lymphoid", ["lymphoid", "lymphoid-plasma"]],
  ["Erythroid", ["erythroid"]],
];

export function Differential({ differential, classes }: { differential: Count; classes: CellClass[] }) {
  const known = new Map(classes.map((one) => [one.name, one]));
  const top = scaleTop(differential.components);
  const groups = GROUPS.map(([title, lineages]) => ({
    title,
    rows: differential.components.filter((row) => lineages.includes(known.get(row.name)?.lineage ?? "")),
  }));
  const grouped = new Set(groups.flatMap((group) => group.rows));
  const rest = differential.components.filter((row) => !grouped.has(row));
  if (rest.length) groups.push({ title: "Other", rows: rest });
  return (
    <section class="card" aria-labelledby="differential-title">
      <h2 id="differential-title">Differential count</h2>
      <Figures differential={differential} />
      <div class="differential">
        <table>
          <caption class="unseen">Sixteen classes with count, percentage and 95 % confidence limits</caption>
          <thead>
            <tr>
              <th scope="col">Class</th>
              <th scope="col" class="right">Cells</th>
              <th scope="col" class="right">%</th>
              <th scope="col" class="right">95 % limits</th>
              <th scope="col" class="chart axis"><span class="unseen">Histogram</span><Axis top={top} /></th>
            </tr>
          </thead>
          {groups.filter((group) => group.rows.length).map((group) => (
            <tbody key={group.title}>
              <GroupHead title={group.title} rows={group.rows} />
              {group.rows.map((row) => <Row key={row.name} row={row} top={top} cellClass={known.get(row.name)} />)}
            </tbody>
          ))}
          <tfoot>
            <tr>
              <th scope="row">All counted cells</th>
              <td class="right number">{count(differential.total)}</td>
              <td class="right number">{differential.total ? "100.0" : "–"}</td>
              <td /><td />
            </tr>
          </tfoot>
        </table>
      </div>
    </section>
  );
}

function Figures({ differential }: { differential: Count }) {
  const ratio = differential.me_ratio;
  return (
    <div class="figures">
      <p class="figure"><b class="number">{count(differential.total)}</b><span>nucleated cells counted</span></p>
      <p class="figure">
        <b class="number">{ratio === null ? "–" : `${ratio.toFixed(1)} : 1`}</b>
        <span>myeloid : erythroid{ratio === null && ", no erythroid cell counted"}</span>
      </p>
      {differential.me_definition && <p class="figure"><span>M:E = {differential.me_definition}</span></p>}
    </div>
  );
}

function GroupHead({ title, rows }: { title: string; rows: Component[] }) {
  const cells = rows.reduce((sum, row) => sum + row.count, 0);
  const share = rows.reduce((sum, row) => sum + row.percent, 0);
  return (
    <tr class="group">
      <th scope="rowgroup">{title}</th>
      <td class="right number">{count(cells)}</td>
      <td class="right number">{percent(share)}</td>
      <td /><td />
    </tr>
  );
}

function Row({ row, top, cellClass }: { row: Component; top: number; cellClass: CellClass | undefined }) {
  const color = cellClass?.color ?? "#5b6775";
  return (
    <tr class={row.count ? "" : "zero"}>
      <th scope="row" title={cellClass?.icsh_name}>
        <Swatch color={color} />{capital(row.name)}
        {row.flag && <> <span class="tag tag-care">{row.flag}</span></>}
      </th>
      <td class="right number">{count(row.count)}</td>
      <td class="right number">{percent(row.percent)}</td>
      <td class="right number limits">{percent(row.ci95[0])} – {percent(row.ci95[1])}</td>
      <td class="chart"><Bar row={row} top={top} color={color} /></td>
    </tr>
  );
}

/** A bar of `percent` with a whisker from limit to limit; the figures beside it say the same. */
function Bar({ row, top, color }: { row: Component; top: number; color: string }) {
  const at = (value: number) => `${(Math.min(value, top) / top) * 100}%`;
  const [low, high] = row.ci95;
  return (
    <svg aria-hidden="true">
      {ticks(top).map((tick) => <line key={tick} class="grid-line" x1={at(tick)} x2={at(tick)} y1="0" y2="22" />)}
      <rect x="0" y="5" width={at(row.percent)} height="12" fill={color} />
      {row.count > 0 && (
        <>
          <line class="whisker" x1={at(low)} x2={at(high)} y1="11" y2="11" />
          <line class="whisker" x1={at(low)} x2={at(low)} y1="8" y2="14" />
          <line class="whisker" x1={at(high)} x2={at(high)} y1="8" y2="14" />
        </>
      )}
    </svg>
  );
}

function Axis({ top }: { top: number }) {
  return (
    <svg aria-hidden="true">
      {ticks(top).map((tick) => <text key={tick} x={`${(tick / top) * 100}%`} y="11">{tick}</text>)}
    </svg>
  );
}

/** The end of the scale: the next multiple of ten above the highest limit, at most 100 %. */
function scaleTop(components: Component[]): number {
  const highest = Math.max(10, ...components.map((row) => (row.count ? row.ci95[1] : 0)));
  return Math.min(100, Math.ceil(highest / 10) * 10);
}

function ticks(top: number): number[] {
  const step = top <= 20 ? 5 : top <= 50 ? 10 : 20;
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, index) => index * step);
}

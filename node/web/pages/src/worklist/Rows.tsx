/** The table of the worklist. */

import { caseUrl, type CaseRow, type CaseState } from "../shared/api";
import { age, ago, exactTime, personName } from "../shared/format";
import { isActive, PriorityTag, Progress, StateBadge } from "../shared/State";
import type { ListQuery, SortKey } from "./query";

interface Column {
  title: string;
  sort?: SortKey;
}

const COLUMNS: Column[] = [
  { title: "Priority", sort: "priority" },
  { title: "Accession", sort: "accession" },
  { title: "Patient", sort: "patient" },
  { title: "Container" },
  { title: "State", sort: "state" },
  { title: "Age", sort: "age" },
  { title: "Changed", sort: "changed" },
  { title: "Alerts, cause and remedy" },
];

interface Props {
  rows: CaseRow[];
  query: ListQuery;
  now: number;
  onSort: (sort: SortKey) => void;
  onAct: ((caseId: string) => void) | undefined;
}

const FOR_A_PERSON: CaseState[] = ["held", "failed"];
const MAY_NEED_ONE: CaseState[] = ["ordered", "waiting"];

export function Rows({ rows, query, now, onSort, onAct }: Props) {
  return (
    <table>
      <caption class="unseen">Cases, one a row</caption>
      <thead>
        <tr>
          {COLUMNS.map((column) => <Head key={column.title} column={column} query={query} onSort={onSort} />)}
          {onAct && <th scope="col"><span>To do</span></th>}
        </tr>
      </thead>
      <tbody>{rows.map((row) => <Row key={row.case_id} row={row} now={now} onAct={onAct} />)}</tbody>
    </table>
  );
}

function Head({ column, query, onSort }: { column: Column; query: ListQuery; onSort: (sort: SortKey) => void }) {
  const { sort, title } = column;
  if (!sort) return <th scope="col"><span>{title}</span></th>;
  const active = query.sort === sort;
  return (
    <th scope="col" aria-sort={active ? (query.descending ? "descending" : "ascending") : "none"}>
      <button type="button" onClick={() => onSort(sort)}>
        {title}<span class="arrow" aria-hidden="true">{active ? (query.descending ? "↓" : "↑") : ""}</span>
      </button>
    </th>
  );
}

function Row({ row, now, onAct }: Pick<Props, "now" | "onAct"> & { row: CaseRow }) {
  return (
    <tr class={`row-${row.state}`} data-case={row.case_id}>
      <td>
        {row.urgent && <span class="tag tag-bad urgent">Urgent</span>}
        <PriorityTag priority={row.priority} />
      </td>
      <td class="number"><a class="open" href={caseUrl(row.case_id)}>{row.accession_number || row.case_id}</a></td>
      <td class="patient">{personName(row.patient_name) || "—"}<small class="number">{row.patient_id}</small></td>
      <td class="number fixed">{row.container_id || "—"}</td>
      <td class="state-cell">
        <StateBadge state={row.state} />
        {isActive(row) && <Progress row={row} />}
      </td>
      <td class="number fixed" title={exactTime(row.created_at)}>{age(row.created_at, now)}</td>
      <td class="number fixed" title={exactTime(row.changed_at)}>{ago(row.changed_at, now)}</td>
      <td class="cause">
        {row.alerts.map((alert) => <span key={alert} class="tag tag-care">{alert}</span>)}
        {row.synthetic && <span class="tag">Synthetic</span>}
        {row.cause && <span class="text" title={row.cause}>{row.cause}</span>}
      </td>
      {onAct && <td class="act">{actButton(row, onAct)}</td>}
    </tr>
  );
}

/** Held and failed cases wait for a person; for those that wait for a slide or an order, one may step in. */
function actButton(row: CaseRow, onAct: (caseId: string) => void) {
  const waits = FOR_A_PERSON.includes(row.state);
  if (!waits && !MAY_NEED_ONE.includes(row.state)) return null;
  return (
    <button type="button" class={waits ? "button" : "link"} aria-label={`Decide on ${row.accession_number || row.case_id}`} onClick={() => onAct(row.case_id)}>
      Decide…
    </button>
  );
}

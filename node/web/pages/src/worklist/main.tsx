/** The worklist page. */

import { render } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ActionDialog } from "../shared/Actions";
import { getJson, type CaseRow, type CaseState, type Worklist } from "../shared/api";
import { count } from "../shared/format";
import { Frame, Refusal } from "../shared/Frame";
import { useCaseEvents, useNow } from "../shared/live";
import { usePerson } from "../shared/Session";
import { StateBadge, STATES } from "../shared/State";
import { apiPath, PAGE_SIZE, readAddress, writeAddress, type ListQuery, type SortKey } from "./query";
import { Rows } from "./Rows";

const REFRESH_AFTER_MS = 700; // so often at most, however many cases come and go

function WorklistPage() {
  const [query, setQuery] = useState(() => readAddress(location.search));
  const { list, error, reload, patch } = useWorklist(query);
  const now = useNow();
  const live = useCaseEvents(patch, reload);
  const person = usePerson();
  const [acting, setActing] = useState<string>();

  const change = (part: Partial<ListQuery>, replace = false) => {
    const next = { ...query, page: 0, ...part };
    history[replace ? "replaceState" : "pushState"](null, "", writeAddress(next));
    setQuery(next);
  };
  useEffect(() => {
    const back = () => setQuery(readAddress(location.search));
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  const sortBy = (sort: SortKey) => change({ sort, descending: query.sort === sort && !query.descending });

  return (
    <Frame live={live}>
      <div class="tools">
        <h1>Worklist</h1>
        <Search value={query.search} onSearch={(search) => change({ search }, true)} />
      </div>
      <StateFilter counts={list?.counts ?? {}} chosen={query.state} onChoose={(state) => change({ state })} />
      {error && <Refusal error={error} />}
      {list && (
        <>
          <div class="card worklist">
            {list.rows.length ? <Rows rows={list.rows} query={query} now={now} onSort={sortBy} onAct={person && person.role !== "viewer" ? setActing : undefined} /> : <Empty query={query} />}
          </div>
          <Pages query={query} list={list} onPage={(page) => change({ page })} />
        </>
      )}
      {acting && <ActionDialog caseId={acting} onClose={() => setActing(undefined)} onDone={(detail) => patch(detail.row)} />}
    </Frame>
  );
}

/** The rows of `query`, read again when it changes or when a case comes, goes or moves to another state. */
function useWorklist(query: ListQuery) {
  const [list, setList] = useState<Worklist>();
  const [error, setError] = useState<Error>();
  const path = apiPath(query);
  const asked = useRef<AbortController | undefined>(undefined);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);

  const read = useCallback(async (unattended: boolean) => {
    asked.current?.abort();
    const controller = (asked.current = new AbortController());
    try {
      setList(await getJson<Worklist>(path, controller.signal, unattended));
      setError(undefined);
    } catch (reason) {
      if (!controller.signal.aborted) setError(reason as Error);
    }
  }, [path]);
  const newest = useRef(read);
  newest.current = read;
  useEffect(() => void read(false), [read]);
  useEffect(() => () => clearTimeout(timer.current), []);

  const patch = (row: CaseRow) => {
    const shown = list?.rows.find((other) => other.case_id === row.case_id);
    if (shown) {
      setList((current) => current && { ...current, rows: current.rows.map((other) => (other.case_id === row.case_id ? row : other)) });
    }
    if (timer.current || (shown?.state === row.state && shown.urgent === row.urgent)) return;
    timer.current = setTimeout(() => {
      timer.current = undefined;
      void newest.current(true);
    }, REFRESH_AFTER_MS);
  };
  return { list, error, reload: () => void read(true), patch };
}

function Search({ value, onSearch }: { value: string; onSearch: (search: string) => void }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      if (event.key !== "/" || event.target instanceof HTMLInputElement) return;
      event.preventDefault();
      field.current?.focus();
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  return (
    <div class="search" role="search">
      <input
        ref={field}
        type="search"
        aria-label="Search"
        aria-keyshortcuts="/"
        placeholder="Accession, patient or container"
        maxLength={128}
        value={value}
        onInput={(event) => onSearch(event.currentTarget.value)}
      />
      {!value && <kbd aria-hidden="true">/</kbd>}
    </div>
  );
}

interface FilterProps {
  counts: Worklist["counts"];
  chosen: CaseState | "";
  onChoose: (state: CaseState | "") => void;
}

function StateFilter({ counts, chosen, onChoose }: FilterProps) {
  const all = Object.values(counts).reduce((sum, number) => sum + number, 0);
  const shown = STATES.filter((state) => counts[state] || state === chosen);
  return (
    <div class="states" role="group" aria-label="Filter by state">
      <button type="button" aria-pressed={chosen === ""} onClick={() => onChoose("")}>All <span class="number">{count(all)}</span></button>
      {shown.map((state) => (
        <button key={state} type="button" aria-pressed={chosen === state} onClick={() => onChoose(state)}>
          <StateBadge state={state} /> <span class="number">{count(counts[state] ?? 0)}</span>
        </button>
      ))}
    </div>
  );
}

function Empty({ query }: { query: ListQuery }) {
  if (query.search || query.state) return <p class="empty">No case matches. Clear the search or choose another state.</p>;
  return <p class="empty">No case yet. Send an order by MLLP or a slide by C-STORE, and it appears here.</p>;
}

function Pages({ query, list, onPage }: { query: ListQuery; list: Worklist; onPage: (page: number) => void }) {
  const first = query.page * PAGE_SIZE;
  const last = Math.min(first + list.rows.length, list.total);
  return (
    <nav class="pages" aria-label="Pages">
      <span class="where number">{list.total ? `${count(first + 1)}–${count(last)} of ${count(list.total)}` : ""}</span>
      <button type="button" disabled={query.page === 0} onClick={() => onPage(query.page - 1)}>Previous</button>
      <button type="button" disabled={last >= list.total} onClick={() => onPage(query.page + 1)}>Next</button>
    </nav>
  );
}

render(<WorklistPage />, document.getElementById("page")!);

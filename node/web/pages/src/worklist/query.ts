/** What the worklist shows, kept in the address so that a link and the back button lead to the same list. */

import type { CaseState } from "../shared/api";
import { STATES } from "../shared/State";

export type SortKey = "priority" | "age" | "state" | "accession" | "patient" | "changed";

export interface ListQuery {
  search: string;
  state: CaseState | "";
  sort: SortKey;
  descending: boolean;
  page: number; // from 0
}

export const PAGE_SIZE = 50;
const SORTS: SortKey[] = ["priority", "age", "state", "accession", "patient", "changed"];

export function readAddress(address: string): ListQuery {
  const given = new URLSearchParams(address);
  const page = Number.parseInt(given.get("page") ?? "1", 10);
  return {
    search: given.get("search") ?? "",
    state: STATES.find((state) => state === given.get("state")) ?? "",
    sort: SORTS.find((sort) => sort === given.get("sort")) ?? "priority",
    descending: given.get("descending") === "true",
    page: Number.isFinite(page) && page > 0 ? page - 1 : 0,
  };
}

export function writeAddress(query: ListQuery): string {
  const kept = new URLSearchParams();
  if (query.search) kept.set("search", query.search);
  if (query.state) kept.set("state", query.state);
  if (query.sort !== "priority") kept.set("sort", query.sort);
  if (query.descending) kept.set("descending", "true");
  if (query.page) kept.set("page", String(query.page + 1));
  const text = kept.toString();
  return text ? `/?${text}` : "/";
}

export function apiPath(query: ListQuery): string {
  const asked = new URLSearchParams({
    sort: query.sort,
    descending: String(query.descending),
    offset: String(query.page * PAGE_SIZE),
    limit: String(PAGE_SIZE),
  });
  if (query.search) asked.set("search", query.search);
  if (query.state) asked.set("state", query.state);
  return `/api/worklist?${asked}`;
}

/** Cases as they change, by server-sent events. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { CaseRow } from "./api";

/**
 * Calls `onCase` for each changed row and `onReturn` when the stream comes back after a break, for then changes were
 * missed. Returns whether the stream is open.
 */
export function useCaseEvents(onCase: (row: CaseRow) => void, onReturn: () => void): boolean {
  const [open, setOpen] = useState(false);
  const handlers = useRef({ onCase, onReturn });
  handlers.current = { onCase, onReturn };
  useEffect(() => {
    const source = new EventSource("/api/events");
    let broken = false;
    source.addEventListener("open", () => {
      setOpen(true);
      if (broken) handlers.current.onReturn();
      broken = false;
    });
    source.addEventListener("error", () => {
      setOpen(false);
      broken = true;
    });
    source.addEventListener("case", (event) => {
      handlers.current.onCase(JSON.parse((event as MessageEvent<string>).data) as CaseRow);
    });
    return () => source.close();
  }, []);
  return open;
}

/** The time, renewed every half minute, for ages. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 30_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

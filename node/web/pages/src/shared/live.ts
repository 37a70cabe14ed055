/** Cases as they change, by server-sent events. */

import { useEffect, useRef, useState } from "preact/hooks";
import { getJson, type CaseRow } from "./api";

const SHOWN_EVERY_MS = 250; // changes come in bursts of thousands; the newest of each case is enough
const TRIED_AGAIN_AFTER_MS = 3000;

/**
 * Calls `onCase` for each changed row and `onReturn` when the stream comes back after a break, for then changes were
 * missed. Returns whether the stream is open. A page that nobody sees listens to nothing: a browser has only six
 * connections to the node for all its tabs.
 */
export function useCaseEvents(onCase: (row: CaseRow) => void, onReturn: () => void): boolean {
  const [open, setOpen] = useState(false);
  const handlers = useRef({ onCase, onReturn });
  handlers.current = { onCase, onReturn };
  useEffect(() => {
    const listener = new Listener(setOpen, (row) => handlers.current.onCase(row), () => handlers.current.onReturn());
    const seen = () => (document.hidden ? listener.stop() : listener.start());
    document.addEventListener("visibilitychange", seen);
    seen();
    return () => {
      document.removeEventListener("visibilitychange", seen);
      listener.stop();
    };
  }, []);
  return open;
}

class Listener {
  private source: EventSource | undefined;
  private broken = false;
  private again: ReturnType<typeof setTimeout> | undefined;
  private readonly changed = new Map<string, CaseRow>();
  private flushing = false;

  constructor(
    private readonly onOpen: (open: boolean) => void,
    private readonly onCase: (row: CaseRow) => void,
    private readonly onReturn: () => void,
  ) {}

  start(): void {
    if (this.source) return;
    const source = (this.source = new EventSource("/api/events"));
    source.addEventListener("open", () => {
      this.onOpen(true);
      if (this.broken) this.onReturn();
      this.broken = false;
    });
    source.addEventListener("error", () => {
      this.onOpen(false);
      this.broken = true;
      if (source.readyState === EventSource.CLOSED) this.refused();
    });
    source.addEventListener("case", (event) => this.take(JSON.parse((event as MessageEvent<string>).data) as CaseRow));
  }

  stop(): void {
    clearTimeout(this.again);
    if (!this.source) return;
    this.source.close();
    this.source = undefined;
    this.broken = true;
  }

  /** The browser gives up after a refusal. When nobody is signed in any more, asking who is leads to the sign-in page. */
  private refused(): void {
    this.stop();
    this.again = setTimeout(() => this.start(), TRIED_AGAIN_AFTER_MS);
    getJson("/api/session", undefined, true).catch(() => undefined);
  }

  private take(row: CaseRow): void {
    this.changed.set(row.case_id, row);
    if (this.flushing) return;
    this.flushing = true;
    setTimeout(() => {
      this.flushing = false;
      const rows = [...this.changed.values()];
      this.changed.clear();
      for (const one of rows) this.onCase(one);
    }, SHOWN_EVERY_MS);
  }
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

/** The keys of the review, wherever on the page the focus is. */

import { useEffect, useRef } from "preact/hooks";
import { classOfKey, type KeyLayout } from "../review/keys";

export interface Actions {
  judge: (name: string) => void;
  confirm: () => void;
  reject: () => void;
  undo: () => void;
  redo: () => void;
  clear: () => void;
  /** The same cell in the other view. */
  elsewhere: () => void;
}

/** Nothing is done while a dialog is open, in fields that take text, and where Enter presses what has the focus. */
export function useReviewKeys(layout: KeyLayout, actions: Actions): void {
  const latest = useRef({ layout, actions });
  latest.current = { layout, actions };
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.defaultPrevented || takesText(event.target) || document.querySelector("dialog[open]")) return;
      const action = actionOf(event, latest.current.layout, latest.current.actions);
      if (!action) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

function actionOf(event: KeyboardEvent, layout: KeyLayout, actions: Actions): (() => void) | undefined {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return event.shiftKey ? actions.redo : actions.undo;
    return key === "y" ? actions.redo : undefined;
  }
  if (key === "enter" && event.shiftKey) return actions.elsewhere;
  if (key === "enter") return pressesByEnter(event.target) ? undefined : actions.confirm;
  if (key === "delete" || key === "backspace") return actions.reject;
  if (key === "escape") return actions.clear;
  const name = classOfKey(layout, event);
  return name === undefined ? undefined : () => actions.judge(name);
}

const takesText = (target: EventTarget | null): boolean =>
  target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement ||
  (target instanceof HTMLInputElement && target.type !== "checkbox" && target.type !== "range");

const pressesByEnter = (target: EventTarget | null): boolean => target instanceof Element && target.closest("button, a, summary") !== null;

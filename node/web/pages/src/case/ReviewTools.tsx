/** What can be done with the chosen cells, and what became of it. */

import type { ReviewSession } from "../review/session";
import { count } from "../shared/format";
import type { Actions } from "./shortcuts";

interface Props {
  session: ReviewSession;
  editable: boolean;
  chosen: number;
  actions: Actions;
}

export function ReviewTools({ session, editable, chosen, actions }: Props) {
  return (
    <div class="review-tools">
      <span class="review-state" role="status">{session.saving ? "Saving…" : session.notice}</span>
      {editable && (
        <div class="review-buttons" role="toolbar" aria-label="Chosen cells">
          <span class="chosen number muted">{chosen ? `${count(chosen)} chosen` : ""}</span>
          <button type="button" class="button" disabled={!chosen} onClick={actions.confirm} title="The shown class is right">Confirm <kbd>⏎</kbd></button>
          <button type="button" class="button" disabled={!chosen} onClick={actions.reject} title="Not a cell to count: becomes “others”">Artefact <kbd>Del</kbd></button>
          <button type="button" class="button" disabled={!session.canUndo} onClick={actions.undo} aria-label="Undo" title="Undo (Ctrl+Z)">↶</button>
          <button type="button" class="button" disabled={!session.canRedo} onClick={actions.redo} aria-label="Redo" title="Redo (Ctrl+Y)">↷</button>
        </div>
      )}
    </div>
  );
}

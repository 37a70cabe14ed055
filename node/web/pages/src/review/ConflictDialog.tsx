/** Someone else was first: who changed what, and whether theirs stay. */

import type { CellClass } from "../shared/api";
import { exactTime } from "../shared/format";
import { Swatch } from "../shared/Swatch";
import { NONE, type CellTable } from "../viewer/cells";
import { Dialog } from "../shared/Dialog";
import type { Conflict } from "./session";

const LISTED = 8;

interface Props {
  conflict: Conflict;
  cells: CellTable;
  classes: CellClass[];
  onChoose: (choice: "theirs" | "mine") => void;
}

export function ConflictDialog({ conflict, cells, classes, onChoose }: Props) {
  const { theirs, step } = conflict;
  const people = [...new Set(theirs.map((change) => change.full_name))].join(" and ");
  const wished = new Map(step.map((move) => [cells.id[move.index]!, move.to]));
  const named = (name: string | null) => classes.find((one) => one.name === name);
  const rest = theirs.length - LISTED;
  const others = step.length - theirs.length;
  return (
    <Dialog title={`${people} changed ${theirs.length === 1 ? "this cell" : "these cells"} first`} onClose={() => onChoose("theirs")}>
      <table class="plain">
        <thead><tr><th scope="col">Cell</th><th scope="col">Theirs</th><th scope="col">By, at</th><th scope="col">Yours</th></tr></thead>
        <tbody>
          {theirs.slice(0, LISTED).map((change) => (
            <tr key={change.cell}>
              <th scope="row" class="number">{change.cell}</th>
              <td><ClassName of={named(change.class_name)} /></td>
              <td>{change.full_name} <span class="muted number">{exactTime(change.at)}</span></td>
              <td><ClassName of={classes[wished.get(change.cell) ?? NONE]} /></td>
            </tr>
          ))}
        </tbody>
      </table>
      {rest > 0 && <p class="muted">and {rest} more</p>}
      <p>
        {others > 0 && `Nothing was stored yet: your change of ${others === 1 ? "one other cell" : `${others} other cells`} is made with either choice. `}
        Theirs stay unless you set yours again.
      </p>
      <div class="dialog-actions">
        <button type="button" onClick={() => onChoose("mine")}>Set mine again</button>
        <button type="button" class="primary" onClick={() => onChoose("theirs")}>Take theirs</button>
      </div>
    </Dialog>
  );
}

function ClassName({ of }: { of: CellClass | undefined }) {
  return of ? <><Swatch of={of} /> {of.name}</> : <span class="muted">the model's class</span>;
}

/** What of the cells is shown, and how large. */

import { count } from "../shared/format";
import { EVERYTHING, type Filter } from "./arrangement";

export const SIDES = [72, 96, 128, 176] as const;

interface Props {
  filter: Filter;
  side: number;
  /** Cells that pass the filter, and all. */
  shown: number;
  all: number;
  needed: number;
  onFilter: (filter: Filter) => void;
  onSide: (side: number) => void;
}

const JUDGED: [Filter["judged"], string][] = [["any", "All"], ["open", "Not reviewed"], ["done", "Reviewed"]];

export function Tools({ filter, side, shown, all, needed, onFilter, onSide }: Props) {
  const narrowed = filter.hidden.size > 0 || filter.needed || filter.judged !== "any";
  return (
    <div class="gallery-tools">
      <div class="segments" role="group" aria-label="Reviewed or not">
        {JUDGED.map(([judged, title]) => (
          <button key={judged} type="button" aria-pressed={filter.judged === judged} onClick={() => onFilter({ ...filter, judged })}>{title}</button>
        ))}
      </div>
      <label class="check">
        <input type="checkbox" checked={filter.needed} onChange={(event) => onFilter({ ...filter, needed: event.currentTarget.checked })} />
        Needs review <span class="number muted">{count(needed)}</span>
      </label>
      <span class="gallery-shown muted">
        <span class="number">{narrowed ? `${count(shown)} of ${count(all)}` : `${count(all)} cells`}</span>
        {narrowed && <button type="button" class="link" onClick={() => onFilter(EVERYTHING)}>Show all</button>}
      </span>
      <label class="size">
        Size
        <input type="range" min="0" max={SIDES.length - 1} step="1" value={SIDES.indexOf(side as (typeof SIDES)[number])} onInput={(event) => onSide(SIDES[Number(event.currentTarget.value)]!)} />
      </label>
    </div>
  );
}

/** Which overlays are drawn, how strongly, and for which classes. */

import { useRef, useState } from "preact/hooks";
import type { CellClass } from "../shared/api";
import { capital, count } from "../shared/format";
import { Swatch } from "../shared/Swatch";
import type { CellTable } from "./cells";
import type { Layers } from "./overlay";
import type { Segments } from "./slide";

interface Props {
  classes: CellClass[];
  cells: CellTable | undefined;
  layers: Layers;
  segments: () => Promise<Segments | undefined>;
  onChange: (layers: Layers) => void;
}

export function LayerPanel({ classes, cells, layers, segments, onChange }: Props) {
  const [open, setOpen] = useState(true);
  const toggleSegments = useSegmentLayer(classes, segments, layers);
  const set = (part: Partial<Layers>) => onChange({ ...layers, ...part });
  const setClass = (index: number, visible: boolean) =>
    set({ classes: layers.classes.map((shown, other) => (other === index ? visible : shown)) });
  const all = layers.classes.every(Boolean);
  const counts = countByClass(cells, classes.length);
  return (
    <div class={open ? "layers" : "layers layers-closed"}>
      <button type="button" class="layers-head" aria-expanded={open} onClick={() => setOpen(!open)}>Overlays</button>
      {open && (
        <div class="layers-body">
          <Toggle label="Cells" checked={layers.cells} onChange={(cells) => set({ cells })} />
          <Toggle label="Regions" checked={layers.regions} onChange={(regions) => set({ regions })} />
          <Toggle label="Tiles" checked={layers.tiles} onChange={(tiles) => set({ tiles })} />
          <Toggle label="Segmentation" checked={toggleSegments.on} onChange={toggleSegments.set} />
          <label class="layers-opacity">
            Opacity
            <input type="range" min="10" max="100" value={layers.opacity * 100} onInput={(event) => set({ opacity: Number(event.currentTarget.value) / 100 })} />
          </label>
          <fieldset>
            <legend>Classes</legend>
            <button type="button" class="link" onClick={() => set({ classes: layers.classes.map(() => !all) })}>{all ? "None" : "All"}</button>
            {classes.map((one, index) => counts[index]! > 0 && (
              <label key={one.name}>
                <input type="checkbox" checked={layers.classes[index] === true} onChange={(event) => setClass(index, event.currentTarget.checked)} />
                <Swatch color={one.color} />
                <span class="layers-name">{capital(one.name)}</span>
                <span class="number muted">{count(counts[index]!)}</span>
              </label>
            ))}
          </fieldset>
        </div>
      )}
    </div>
  );
}

/** The SEG of the case: its segments follow the visible classes. */
function useSegmentLayer(classes: CellClass[], segments: () => Promise<Segments | undefined>, layers: Layers) {
  const [on, setOn] = useState(false);
  const loaded = useRef<Segments | undefined>(undefined);
  const apply = (visible: boolean) =>
    classes.forEach((one, index) => loaded.current?.show(one.name, visible && layers.classes[index] === true, layers.opacity * 0.6));
  if (on) apply(true);
  const set = (visible: boolean) => {
    setOn(visible);
    if (loaded.current) return apply(visible);
    void segments().then((found) => {
      loaded.current = found;
      apply(visible);
    });
  };
  return { on, set };
}

function Toggle({ label, checked, onChange }: { label: string; checked: boolean; onChange: (checked: boolean) => void }) {
  return (
    <label>
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.currentTarget.checked)} />
      {label}
    </label>
  );
}

function countByClass(cells: CellTable | undefined, classes: number): number[] {
  const counts = Array.from({ length: classes }, () => 0);
  cells?.shown.forEach((shown) => counts[shown]!++);
  return counts;
}

/** Which overlays are drawn, and how strongly; which classes is chosen in the table of the count. */

import { useRef, useState } from "preact/hooks";
import type { CellClass } from "../shared/api";
import type { Layers } from "./overlay";
import type { Segments } from "./slide";

interface Props {
  classes: CellClass[];
  hidden: ReadonlySet<number>;
  layers: Layers;
  /** Absent while they may not be shown. */
  segments: (() => Promise<Segments | undefined>) | undefined;
  onChange: (layers: Layers) => void;
}

const TOGGLES: [keyof Omit<Layers, "opacity">, string][] = [["cells", "Cells"], ["codes", "Codes"], ["regions", "Regions"], ["tiles", "Tiles"]];

export function LayerPanel({ classes, hidden, layers, segments, onChange }: Props) {
  const segmentation = useSegmentLayer(classes, segments, hidden, layers);
  return (
    <div class="layers" role="group" aria-label="Overlays">
      {TOGGLES.map(([name, title]) => (
        <Toggle key={name} label={title} checked={layers[name]} onChange={(shown) => onChange({ ...layers, [name]: shown })} />
      ))}
      {segments && <Toggle label="Segmentation" checked={segmentation.on} onChange={segmentation.set} />}
      <label>
        Opacity
        <input type="range" min="10" max="100" value={layers.opacity * 100} onInput={(event) => onChange({ ...layers, opacity: Number(event.currentTarget.value) / 100 })} />
      </label>
    </div>
  );
}

/** The SEG of the case: its segments follow the visible classes. */
function useSegmentLayer(
  classes: CellClass[], segments: Props["segments"], hidden: ReadonlySet<number>, layers: Layers,
) {
  const [on, setOn] = useState(false);
  const loaded = useRef<Segments | undefined>(undefined);
  const apply = (visible: boolean) =>
    classes.forEach((one, place) => loaded.current?.show(one.name, visible && !hidden.has(place), layers.opacity * 0.6));
  if (on) apply(true);
  const set = (visible: boolean) => {
    setOn(visible);
    if (loaded.current) return apply(visible);
    void segments?.().then((found) => {
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

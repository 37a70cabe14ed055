/** The slide with its overlays. */

import { useEffect, useRef, useState } from "preact/hooks";
import { NOTHING, only, toggled, type Selection } from "../gallery/selection";
import { getJson, type CaseDetail, type CellClass } from "../shared/api";
import { Refusal } from "../shared/Refusal";
import { OutlineStore, type CellTable } from "./cells";
import { LayerPanel } from "./LayerPanel";
import { Overlay, type Areas, type Layers, type Shown } from "./overlay";
import type { Place, Segments, SlideView } from "./slide";

interface Props {
  detail: CaseDetail;
  classes: CellClass[];
  cells: CellTable | undefined;
  /** Whether blind review still hides classes, which the segmentation tells. */
  withheld: boolean;
  /** Grows when cells change. */
  changes: number;
  hidden: ReadonlySet<number>;
  selection: Selection;
  /** Whether the slide is what is looked at now. */
  active: boolean;
  /** Where to begin; the whole slide when absent. */
  start: Place | undefined;
  onSelect: (selection: Selection) => void;
  /** The next or the previous cell in the order of the gallery. */
  onStep: (step: -1 | 1) => void;
  onRest: (place: Place) => void;
}

interface Opened {
  slide: SlideView;
  overlay: Overlay | undefined;
}

const CELL_RESOLUTION = 0.6; // slide pixels per screen pixel when a cell is jumped to
const LAYERS: Layers = { cells: true, codes: true, regions: true, tiles: false, opacity: 0.9 };

export function Viewer(props: Props) {
  const { detail, classes, cells, hidden, selection, active } = props;
  const target = useRef<HTMLDivElement>(null);
  const [opened, setOpened] = useState<Opened>();
  const [error, setError] = useState<Error>();
  const [layers, setLayers] = useState(LAYERS);
  const [bare, setBare] = useState(false); // all overlays off for a moment, by one key
  const latest = useRef(props);
  latest.current = props;
  const shown: Shown = { layers: bare ? { ...layers, cells: false, regions: false, tiles: false } : layers, hidden, selection };
  const { study, series } = uidsOf(detail);

  useEffect(() => {
    let slide: SlideView | undefined;
    let closed = false;
    const open = async () => {
      const { SlideView: Slide } = await import("./slide");
      slide = await Slide.open(target.current!, { study, series });
      if (closed) return slide.close();
      const overlay = cells && (await makeOverlay(detail.row.case_id, cells, classes, slide, shown));
      if (props.start) slide.go(props.start, false);
      slide.onRest((place) => latest.current.onRest(place));
      slide.onClick((x, y, adding) => {
        const reach = Math.max(40, 8 * (slide!.place()?.resolution ?? 1));
        const index = overlay && cells?.nearest(x, y, reach, (candidate) => overlay.isVisible(candidate));
        const { selection: before, onSelect } = latest.current;
        if (index === undefined) onSelect(adding ? before : NOTHING);
        else onSelect(adding ? toggled(before, index) : only(index));
      });
      setOpened({ slide, overlay });
      return undefined;
    };
    open().catch(setError);
    const resizing = new ResizeObserver(() => slide?.resized());
    resizing.observe(target.current!);
    return () => {
      closed = true;
      resizing.disconnect();
      slide?.close();
    };
  }, [study, series, cells]);

  useEffect(() => {
    if (!opened?.overlay) return;
    opened.overlay.shown = shown;
    opened.slide.redraw();
  }, [opened, layers, bare, hidden, selection, props.changes]);

  useEffect(() => {
    if (opened && cells && active && selection.cursor !== undefined) approach(opened.slide, cells, selection.cursor);
  }, [opened, active, selection.cursor]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (!opened || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "PageDown" || event.key === "PageUp") props.onStep(event.key === "PageDown" ? 1 : -1);
    else if (event.key === " ") setBare(!bare);
    else if (!moveByKey(event, opened.slide)) return;
    event.preventDefault();
  };
  return (
    <div class="viewer">
      <div class="viewer-slide" ref={target} tabIndex={0} role="application" aria-label="Slide: arrow keys move, plus and minus zoom, 0 shows the whole slide, page down and up go to the next and the previous cell, space hides the overlays" onKeyDown={onKeyDown} />
      {error && <div class="viewer-error"><Refusal error={error} /></div>}
      {opened && (
        <>
          <div class="viewer-tools" role="toolbar" aria-label="Zoom">
            <button type="button" aria-label="Zoom in" onClick={() => opened.slide.zoom(1.6)}>+</button>
            <button type="button" aria-label="Zoom out" onClick={() => opened.slide.zoom(1 / 1.6)}>−</button>
            <button type="button" aria-label="Whole slide" onClick={() => opened.slide.fit()}>⤢</button>
          </div>
          <LayerPanel classes={classes} hidden={hidden} layers={layers} onChange={setLayers} segments={props.withheld ? undefined : segmentsOf(opened.slide, detail, classes)} />
        </>
      )}
    </div>
  );
}

const STEPS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function moveByKey({ key }: KeyboardEvent, slide: SlideView): boolean {
  const step = STEPS[key];
  if (step) slide.pan(...step);
  else if (key === "+" || key === "=") slide.zoom(1.6);
  else if (key === "-") slide.zoom(1 / 1.6);
  else if (key === "0") slide.fit();
  else return false;
  return true;
}

/** Moves to a cell that is out of view or too small to be judged. */
function approach(slide: SlideView, cells: CellTable, index: number): void {
  const [x, y] = [cells.x[index]!, cells.y[index]!];
  const area = slide.area();
  const resolution = slide.place()?.resolution ?? CELL_RESOLUTION;
  const near = area && x > area.x0 && x < area.x1 && y > area.y0 && y < area.y1 && resolution <= 2;
  if (!near) slide.go({ x, y, resolution: Math.min(resolution, CELL_RESOLUTION) });
}

/** The SEG of the newest revision, read when it is first wanted. */
function segmentsOf(slide: SlideView, detail: CaseDetail, classes: CellClass[]): () => Promise<Segments | undefined> {
  const colors = new Map(classes.map((one) => [one.name.toLowerCase(), rgb(one.color)]));
  const file = detail.files.find((one) => one.kind === "SEG" && one.revision === detail.revision);
  return async () => file && slide.addSegments(file.series_instance_uid, (label) => colors.get(label.toLowerCase()) ?? [0, 165, 165]);
}

async function makeOverlay(
  caseId: string, cells: CellTable, classes: CellClass[], slide: SlideView, shown: Shown,
): Promise<Overlay> {
  const areas = await getJson<Areas>(`/api/cases/${encodeURIComponent(caseId)}/areas`);
  const outlines = new OutlineStore(caseId, () => slide.redraw());
  const canvas = slide.addCanvas();
  canvas.className = "viewer-overlay";
  canvas.ariaHidden = "true";
  const overlay = new Overlay(canvas, cells, outlines, areas, classes, shown);
  slide.onFrame((mapping) => overlay.draw(mapping));
  slide.redraw();
  return overlay;
}

function uidsOf(detail: CaseDetail): { study: string; series: string } {
  const slide = detail.slides[0]!;
  return { study: slide.study_instance_uid, series: slide.series_instance_uid };
}

function rgb(color: string): [number, number, number] {
  const value = Number.parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

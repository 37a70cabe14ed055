/** The slide with its overlays. */

import { useEffect, useRef, useState } from "preact/hooks";
import { getJson, type CaseDetail, type CellClass } from "../shared/api";
import { Refusal } from "../shared/Frame";
import { OutlineStore, type CellTable } from "./cells";
import { LayerPanel } from "./LayerPanel";
import { Overlay, type Areas, type Layers } from "./overlay";
import type { Place, Segments, SlideView } from "./slide";

interface Props {
  detail: CaseDetail;
  classes: CellClass[];
  cells: CellTable | undefined;
  selected: number | undefined;
  /** Where to begin; the whole slide when absent. */
  start: Place | undefined;
  onSelect: (id: number | undefined) => void;
  onRest: (place: Place) => void;
}

interface Opened {
  slide: SlideView;
  overlay: Overlay | undefined;
}

const CELL_RESOLUTION = 0.6; // slide pixels per screen pixel when a cell is jumped to

export function Viewer({ detail, classes, cells, selected, start, onSelect, onRest }: Props) {
  const target = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [opened, setOpened] = useState<Opened>();
  const [error, setError] = useState<Error>();
  const [layers, setLayers] = useState<Layers>(() => allLayers(classes.length));
  const handlers = useRef({ onSelect, onRest });
  handlers.current = { onSelect, onRest };
  const { study, series } = uidsOf(detail);

  useEffect(() => {
    let slide: SlideView | undefined;
    let closed = false;
    const open = async () => {
      const { SlideView: Slide } = await import("./slide");
      slide = await Slide.open(target.current!, { study, series });
      if (closed) return slide.close();
      const overlay = cells && (await makeOverlay(detail.row.case_id, canvas.current!, cells, classes, slide, layers));
      if (start) slide.go(start, false);
      slide.onRest((place) => handlers.current.onRest(place));
      slide.onClick((x, y) => {
        const reach = Math.max(40, 8 * (slide!.place()?.resolution ?? 1));
        const index = overlay && cells?.nearest(x, y, reach, (candidate) => overlay.isVisible(candidate));
        handlers.current.onSelect(index === undefined ? undefined : cells!.id[index]);
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
    opened.overlay.layers = layers;
    opened.overlay.selected = selected;
    opened.slide.redraw();
  }, [opened, layers, selected]);

  useEffect(() => {
    const index = selected === undefined ? undefined : cells?.indexOf(selected);
    if (!opened || index === undefined) return;
    const [x, y] = [cells!.x[index]!, cells!.y[index]!];
    const area = opened.slide.area();
    const resolution = opened.slide.place()?.resolution ?? CELL_RESOLUTION;
    const near = area && x > area.x0 && x < area.x1 && y > area.y0 && y < area.y1 && resolution <= 2;
    if (!near) opened.slide.go({ x, y, resolution: Math.min(resolution, CELL_RESOLUTION) });
  }, [opened, selected]);

  return (
    <div class="viewer">
      <div class="viewer-slide" ref={target} tabIndex={0} role="application" aria-label="Slide: drag or use the arrow keys to move, plus and minus to zoom, 0 for the whole slide" onKeyDown={(event) => opened && onKey(event, opened.slide)} />
      <canvas class="viewer-overlay" ref={canvas} aria-hidden="true" />
      {error && <div class="viewer-error"><Refusal error={error} /></div>}
      {opened && (
        <>
          <div class="viewer-tools" role="toolbar" aria-label="Zoom">
            <button type="button" aria-label="Zoom in" onClick={() => opened.slide.zoom(1.6)}>+</button>
            <button type="button" aria-label="Zoom out" onClick={() => opened.slide.zoom(1 / 1.6)}>−</button>
            <button type="button" aria-label="Whole slide" onClick={() => opened.slide.fit()}>⤢</button>
          </div>
          <LayerPanel classes={classes} cells={cells} layers={layers} onChange={setLayers} segments={segmentsOf(opened.slide, detail, classes)} />
        </>
      )}
    </div>
  );
}

const STEPS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event: KeyboardEvent, slide: SlideView): void {
  const step = STEPS[event.key];
  if (step) slide.pan(...step);
  else if (event.key === "+" || event.key === "=") slide.zoom(1.6);
  else if (event.key === "-") slide.zoom(1 / 1.6);
  else if (event.key === "0") slide.fit();
  else return;
  event.preventDefault();
}

/** The SEG of the newest revision, read when it is first wanted. */
function segmentsOf(slide: SlideView, detail: CaseDetail, classes: CellClass[]): () => Promise<Segments | undefined> {
  const colors = new Map(classes.map((one) => [one.name.toLowerCase(), rgb(one.color)]));
  const file = detail.files.find((one) => one.kind === "SEG" && one.revision === detail.revision);
  return async () => file && slide.addSegments(file.series_instance_uid, (label) => colors.get(label.toLowerCase()) ?? [0, 165, 165]);
}

async function makeOverlay(
  caseId: string, canvas: HTMLCanvasElement, cells: CellTable, classes: CellClass[], slide: SlideView, layers: Layers,
): Promise<Overlay> {
  const areas = await getJson<Areas>(`/api/cases/${encodeURIComponent(caseId)}/areas`);
  const outlines = new OutlineStore(caseId, () => slide.redraw());
  const overlay = new Overlay(canvas, cells, outlines, areas, classes.map((one) => one.color), layers);
  slide.onFrame((mapping) => overlay.draw(mapping));
  slide.redraw();
  return overlay;
}

function allLayers(classes: number): Layers {
  return { cells: true, regions: true, tiles: false, opacity: 0.9, classes: Array.from({ length: classes }, () => true) };
}

function uidsOf(detail: CaseDetail): { study: string; series: string } {
  const slide = detail.slides[0]!;
  return { study: slide.study_instance_uid, series: slide.series_instance_uid };
}

function rgb(color: string): [number, number, number] {
  const value = Number.parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Every cell as a picture, by class; only what is in view is in the document. */

import { useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import type { CellClass } from "../shared/api";
import { ARTEFACT, BLIND, codeOf } from "../shared/classes";
import { capital, count } from "../shared/format";
import { Swatch } from "../shared/Swatch";
import { NONE, type CellTable } from "../viewer/cells";
import type { Arrangement } from "./arrangement";
import { startDrag } from "./drag";
import { Grid, HEAD, type Placed } from "./grid";
import { afterKey } from "./keyboard";
import { useMarquee } from "./marquee";
import { extended, only, several, toggled, type Selection } from "./selection";
import { SheetStore, type Picture } from "./sheets";

const GAP = 6;
const MARGIN = 12;
const OVERSCAN = 1; // windows of pictures fetched ahead
const LARGEST_PICTURE = 256;

interface Props {
  caseId: string;
  cells: CellTable;
  classes: CellClass[];
  arrangement: Arrangement;
  selection: Selection;
  /** Largest side of a tile, in pixels. */
  side: number;
  /** Grows when cells change. */
  changes: number;
  editable: boolean;
  onSelect: (selection: Selection) => void;
  /** Shows a cell on the slide. */
  onShow: (index: number) => void;
}

export function Gallery(props: Props) {
  const { cells, arrangement, selection, onSelect, onShow } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const { width, height, top } = useWindow(scroller);
  const columns = Math.max(1, Math.ceil((width - 2 * MARGIN + GAP) / (props.side + GAP)));
  const side = Math.max(1, Math.floor((width - 2 * MARGIN + GAP) / columns) - GAP); // fills the row
  const grid = useMemo(() => new Grid(arrangement, columns, side + GAP), [arrangement, columns, side]);
  const sheets = useSheets(props.caseId, cells, props.side);
  const shown = grid.within(top - side, top + height + side);

  useLayoutEffect(() => {
    const near = grid.within(top - OVERSCAN * height, top + (1 + OVERSCAN) * height);
    const members = (parts: typeof near) => parts.flatMap(({ group, from, to }) => group.members.slice(from, to));
    sheets.want([...members(shown), ...members(near)]);
  }, [sheets, grid, top, height]);

  const reveal = useCallback((index: number | undefined) => {
    const at = index === undefined ? undefined : grid.topOf(index);
    const element = scroller.current;
    if (at === undefined || !element || !height) return;
    if (at - HEAD < element.scrollTop) element.scrollTop = at - HEAD - GAP;
    else if (at + side + GAP > element.scrollTop + height) element.scrollTop = at + side + GAP - height;
  }, [grid, height, side]);
  useLayoutEffect(() => reveal(selection.cursor), [reveal, selection.cursor]);

  const marquee = useMarquee(scroller, (rectangle, besides) => {
    const inside = { ...rectangle, x0: rectangle.x0 - MARGIN, x1: rectangle.x1 - MARGIN };
    onSelect(several(grid.touched(inside, side), besides ? selection.chosen : []));
  });
  const onClick = (event: MouseEvent) => {
    const index = indexOf(event.target);
    if (index === undefined) return;
    if (event.shiftKey) onSelect(extended(arrangement, selection, index));
    else onSelect(event.ctrlKey || event.metaKey ? toggled(selection, index) : only(index));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const next = afterKey(event, grid, arrangement, selection, Math.max(1, Math.floor(height / (side + GAP)) - 1));
    if (next === undefined) return;
    event.preventDefault();
    onSelect(next);
  };
  const cursor = selection.cursor;
  return (
    <div
      class="gallery"
      ref={scroller}
      role="listbox"
      tabIndex={0}
      aria-multiselectable
      aria-label="Cells by class, the most doubtful first: arrow keys move, shift extends, space chooses"
      aria-activedescendant={cursor !== undefined && arrangement.placeOf[cursor]! >= 0 ? `cell-${cells.id[cursor]}` : undefined}
      onClick={onClick}
      onDblClick={(event) => { const index = indexOf(event.target); if (index !== undefined) onShow(index); }}
      onKeyDown={onKeyDown}
      onPointerDown={marquee.begin}
      onDragStart={(event) => {
        const index = indexOf(event.target);
        if (index === undefined || !props.editable) return event.preventDefault();
        const carried = selection.chosen.has(index) ? selection : only(index);
        if (carried !== selection) onSelect(carried);
        startDrag(event, [...carried.chosen].map((chosen) => cells.id[chosen]!));
      }}
    >
      <div class="gallery-all" role="presentation" style={{ height: `${grid.height}px` }}>
        {shown.map(({ group, from, to }) => (
          <GroupView key={group.shown} {...props} side={side} group={group} from={from} to={to} columns={columns} sheets={sheets} />
        ))}
        {marquee.shown && (
          <div class="marquee" role="presentation" style={{ left: `${marquee.shown.x0}px`, top: `${marquee.shown.y0}px`, width: `${marquee.shown.x1 - marquee.shown.x0}px`, height: `${marquee.shown.y1 - marquee.shown.y0}px` }} />
        )}
      </div>
      {!arrangement.order.length && <p class="gallery-empty">No cell matches: show more classes, or all reviews.</p>}
    </div>
  );
}

interface GroupProps extends Props {
  group: Placed;
  from: number;
  to: number;
  columns: number;
  sheets: SheetStore;
}

function GroupView({ group, from, to, columns, sheets, ...props }: GroupProps) {
  const { cells, classes, selection, side, onSelect } = props;
  const one = classes[group.shown];
  const name = one ? capital(one.name) : `${BLIND.name}: choose the class first`;
  const open = group.members.reduce((sum, index) => sum + Number(cells.isOpen(index)), 0);
  const last = group.first + group.members.length;
  return (
    <div class="gallery-group" role="group" aria-label={name} style={{ top: `${group.top}px`, height: `${group.height}px` }}>
      <div class="gallery-head" aria-hidden="true">
        <Swatch of={one ?? BLIND} />
        {one && <span class="code">{codeOf(one.name)}</span>}
        <span class="gallery-name">{name}</span>
        <span class="number muted">{count(group.members.length)}</span>
        {open > 0 && <span class="gallery-open">{count(open)} to review</span>}
        <span class="link" onClick={() => onSelect(several(group.members))}>Choose all</span>
      </div>
      {group.members.slice(from, to).map((index, ordinal) => (
        <Tile
          key={cells.id[index]}
          {...props}
          index={index}
          left={MARGIN + ((from + ordinal) % columns) * (side + GAP)}
          top={HEAD + Math.floor((from + ordinal) / columns) * (side + GAP)}
          picture={sheets.picture(index)}
          chosen={selection.chosen.has(index)}
          place={group.first + from + ordinal + 1}
          total={last}
        />
      ))}
    </div>
  );
}

interface TileProps extends Props {
  index: number;
  left: number;
  top: number;
  picture: Picture | undefined | null;
  chosen: boolean;
  place: number;
  total: number;
}

function Tile({ cells, classes, selection, side, editable, index, left, top, picture, chosen, place, arrangement }: TileProps) {
  const [model, expert] = [cells.model[index]!, cells.expert[index]!];
  const open = cells.isOpen(index);
  const changed = expert !== NONE && model !== NONE && expert !== model;
  const kind = `tile${chosen ? " tile-chosen" : ""}${selection.cursor === index ? " tile-cursor" : ""}${open ? " tile-open" : ""}`;
  return (
    <div
      id={`cell-${cells.id[index]}`}
      data-index={index}
      class={kind}
      role="option"
      aria-selected={chosen}
      aria-posinset={place}
      aria-setsize={arrangement.order.length}
      aria-label={spoken(cells, classes, index)}
      draggable={editable}
      style={{ left: `${left}px`, top: `${top}px`, width: `${side}px`, height: `${side}px` }}
    >
      {picture && <span class="tile-picture" style={backgroundOf(picture)} />}
      {picture === null && <span class="tile-none">no picture</span>}
      {expert === NONE && model !== NONE && <span class={open ? "tile-note tile-doubt number" : "tile-note number"}>{wholePercent(cells, index)}</span>}
      {changed && <span class="tile-note tile-from">{codeOf(classes[model]!.name)}→</span>}
      {expert !== NONE && <svg class="tile-done" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7.2" /><path d={classes[expert]?.name === ARTEFACT && changed ? "M5 5l6 6M11 5l-6 6" : "M4.4 8.4l2.4 2.4 4.8-5.4"} /></svg>}
      {open && <span class="tile-corner" />}
    </div>
  );
}

function backgroundOf({ url, column, row, columns, rows }: Picture): Record<string, string> {
  const across = columns > 1 ? (100 * column) / (columns - 1) : 0;
  const down = rows > 1 ? (100 * row) / (rows - 1) : 0;
  return { backgroundImage: `url(${url})`, backgroundSize: `${columns * 100}% ${rows * 100}%`, backgroundPosition: `${across}% ${down}%` };
}

/** Rounded down, so that what is below a limit also looks so; a float of 0.58 times 100 is a little less than 58. */
const wholePercent = (cells: CellTable, index: number): number => Math.floor(cells.probability[index]! * 100 + 1e-4);

function spoken(cells: CellTable, classes: CellClass[], index: number): string {
  const [model, expert] = [cells.model[index]!, cells.expert[index]!];
  const parts = [`Cell ${cells.id[index]}`, classes[cells.shown[index]!]?.name ?? "class hidden"];
  if (expert !== NONE) parts.push("reviewed");
  else if (model !== NONE) parts.push(`${wholePercent(cells, index)} %`);
  if (cells.isOpen(index)) parts.push("to review");
  return parts.join(", ");
}

function indexOf(target: EventTarget | null): number | undefined {
  const tile = target instanceof Element ? target.closest<HTMLElement>("[data-index]") : null;
  return tile ? Number(tile.dataset["index"]) : undefined;
}

/** What part of the gallery is in view. */
function useWindow(scroller: { current: HTMLDivElement | null }): { width: number; height: number; top: number } {
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const element = scroller.current!;
    const measure = () => setSize({ width: element.clientWidth, height: element.clientHeight });
    const moved = () => setTop(element.scrollTop);
    measure();
    const resizing = new ResizeObserver(measure);
    resizing.observe(element);
    element.addEventListener("scroll", moved, { passive: true });
    return () => {
      resizing.disconnect();
      element.removeEventListener("scroll", moved);
    };
  }, []);
  return { ...size, top };
}

/** The pictures at one size; draws again as they come. */
function useSheets(caseId: string, cells: CellTable, side: number): SheetStore {
  const [, arrived] = useReducer<number, void>((number) => number + 1, 0);
  const pixels = Math.min(LARGEST_PICTURE, Math.round(side * devicePixelRatio));
  const sheets = useMemo(() => new SheetStore(caseId, cells, pixels, () => arrived()), [caseId, cells, pixels]);
  useEffect(() => () => sheets.close(), [sheets]);
  return sheets;
}
